"""Which engines a directory is run with here: those in force, those asked for, or the portable sources."""

from __future__ import annotations

from dataclasses import dataclass, field

from etbac.backends import registry
from etbac.backends.interface import MAX_BATCH, Backend, BuildOptions, Engine
from etbac.contract import SegmentContract
from etbac.engine_dir import EngineDir, EngineEntry, EngineSet
from etbac.errors import EngineDirError, EtbacError, UsageError

FP32 = "fp32"


@dataclass(frozen=True)
class Selection:
    """Engines to run, all checked but the full model's.

    `device`: where they run here, whatever they were built for. `contracts` and `engines`: the segments'. `sources`:
    the files that they were built from. `full` is opened from the directory's file `full_file`. `note`: a sentence
    where these are not the engines in force, and why.
    """

    backend: str
    device: str
    dtype: str
    contracts: tuple[SegmentContract, ...]
    engines: tuple[Engine, ...]
    full: Engine
    full_file: str
    sources: tuple[str, ...]
    note: str | None = field(default=None, compare=False)


def select(
    engine_dir: EngineDir, backend: str | None = None, dtype: str | None = None, trust: bool = False
) -> Selection:
    """The engines of that backend and dtype, by default those in force.

    Where those in force cannot be used here (another version, processor or GPU, a missing package, or built by
    somebody else and not `trust`ed), the portable sources stand in for them and `note` says so; engines that were asked
    for are an EtbacError instead. A wrong hash is an EngineDirError always.
    """
    if backend is None and dtype is None:
        return _in_force(engine_dir, trust)
    name, dtype = backend or registry.DEFAULT, dtype or FP32
    chosen = registry.get(name)
    found = chosen.available()
    if not found.usable:
        raise EtbacError(f"--backend {name} cannot run here: {found.sentence}")
    chosen.device(dtype)
    engines = _find(engine_dir, name, dtype, trust)
    if chosen.runs_sources and dtype == FP32:
        return portable(engine_dir, name) if engines is None else _or_portable(engine_dir, engines, chosen, trust)
    if engines is None:
        raise UsageError(_no_such_engines(engine_dir, name, dtype))
    reason = _unfit(engine_dir, engines, trust)
    if reason is not None:
        raise EtbacError(f"{engines.folder} cannot run here: {reason}")
    return _of_set(engine_dir, engines)


def portable(engine_dir: EngineDir, backend: str = registry.DEFAULT) -> Selection:
    """The portable fp32 sources, on a backend that runs them as they are."""
    return _portable(engine_dir, registry.get(backend))


def _in_force(engine_dir: EngineDir, trust: bool) -> Selection:
    default = registry.get(registry.DEFAULT)
    if engine_dir.manifest.engines is None:
        return _portable(engine_dir, default)
    engines = engine_dir.read_set(engine_dir.manifest.engines)
    return _or_portable(engine_dir, _find(engine_dir, engines.backend, engines.dtype, trust) or engines, default, trust)


def _or_portable(engine_dir: EngineDir, engines: EngineSet, backend: Backend, trust: bool) -> Selection:
    reason = _unfit(engine_dir, engines, trust)
    if reason is None:
        return _of_set(engine_dir, engines)
    _check(engine_dir, engines)
    note = f"{engines.folder} is not used ({reason}): the portable fp32 sources run on {backend.name}"
    return _portable(engine_dir, backend, note)


def _unfit(engine_dir: EngineDir, engines: EngineSet, trust: bool) -> str | None:
    """Why these engines cannot be used here; None where they can."""
    for entry in engines.entries():
        try:
            backend = registry.get(entry.backend)
        except UsageError as error:
            return str(error)
        found = backend.available()
        if not found.usable:
            return f"backend {entry.backend}: {found.sentence}"
        reason = backend.unfit(entry.made_for)
        if reason is not None:
            return reason
        largest = entry.made_for.get(MAX_BATCH, engine_dir.manifest.max_batch)
        if int(largest) < engine_dir.manifest.max_batch:
            return f"built for batches of up to {largest}, and this chain runs up to {engine_dir.manifest.max_batch}"
    if not trust and not engines.is_built_here():
        return "its engines are code that was not built with your key; --trust uses them"
    return None


def _portable(engine_dir: EngineDir, backend: Backend, note: str | None = None) -> Selection:
    manifest = engine_dir.manifest
    options = BuildOptions(max_batch=manifest.max_batch)

    def engine(file: str) -> Engine:
        return backend.build(engine_dir.path / file, options, engine_dir.path)

    return Selection(
        backend=backend.name,
        device=backend.device(FP32),
        dtype=FP32,
        contracts=tuple(entry.contract for entry in manifest.segments),
        engines=tuple(engine(entry.file) for entry in manifest.segments),
        full=engine(manifest.full),
        full_file=manifest.full,
        sources=tuple(entry.file for entry in manifest.segments),
        note=note,
    )


def _of_set(engine_dir: EngineDir, engines: EngineSet) -> Selection:
    _check(engine_dir, engines)
    for entry in engines.entries():
        if not (entry.is_code or registry.get(entry.backend).runs_sources):
            file = engine_dir.path / entry.engine
            raise EngineDirError(f"{file} is no engine of {entry.backend}. Rebuild with: {engine_dir.rebuild}")

    def engine(entry: EngineEntry) -> Engine:
        return Engine(entry.backend, engines.device, entry.format, engine_dir.path / entry.engine)

    return Selection(
        backend=engines.backend,
        device=registry.get(engines.backend).device(engines.dtype),
        dtype=engines.dtype,
        contracts=engines.contracts,
        engines=tuple(map(engine, engines.segments)),
        full=engine(engines.full),
        full_file=engines.full.engine,
        sources=tuple(entry.source for entry in engines.segments),
    )


def _check(engine_dir: EngineDir, engines: EngineSet) -> None:
    """All files of the set but the full model's engine, which is checked when it is asked for."""
    engine_dir.check_all(name for name in engines.files if name != engines.full.engine)


def _find(engine_dir: EngineDir, backend: str, dtype: str, trust: bool) -> EngineSet | None:
    """Of several devices' sets one that can be used here, rather the one in force, rather one for this very device."""
    sets = {name: e for name, e in engine_dir.engine_sets().items() if (e.backend, e.dtype) == (backend, dtype)}
    if len(sets) < 2:
        return next(iter(sets.values()), None)
    here = registry.get(backend).device(dtype)

    def rank(name: str) -> tuple[bool, bool, bool]:
        unfit = _unfit(engine_dir, sets[name], trust) is not None
        return unfit, name != engine_dir.manifest.engines, sets[name].device != here

    return sets[min(sets, key=rank)]


def _no_such_engines(engine_dir: EngineDir, backend: str, dtype: str) -> str:
    there = ", ".join(sorted(engines.folder for engines in engine_dir.engine_sets().values())) or "no built ones"
    return (
        f"{engine_dir.path} has no engines of backend {backend} in {dtype}; it has {there}, and the portable sources. "
        f"Build them: {engine_dir.rebuild} --backend {backend} --dtype {dtype}"
    )
