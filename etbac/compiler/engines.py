"""From a chain's segments to a set of engines: sources in the number formats asked for, each built or found again."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from etbac.backends import registry
from etbac.backends.interface import Arrays, Backend, BuildOptions
from etbac.compiler.serialization import Stored, add_models
from etbac.contract import SegmentContract, TensorSpec
from etbac.engine_dir import EngineDir, EngineEntry, EngineSet, Writer, signature
from etbac.engine_dir.names import folder_of_set, without_hash
from etbac.errors import BackendRefusal, EngineDirError, EtbacError, InputError, UsageError
from etbac.formats import formats_of, typed
from etbac.passes.exit_model import Segment
from etbac.runtime import inputs as checking

FP32 = "fp32"
TIMING = "timing"


@dataclass(frozen=True)
class EngineOptions:
    """Which engines to build.

    `keep_fp32`: exit ids, and `last`, whose segments stay in fp32, as in "1,last". `fallback`: a segment that the
    backend refuses runs on ONNX Runtime instead. `calibration`: real inputs by name from which int8 takes its ranges.
    `dims`: (smallest, usual, largest) of dynamic dimensions beside the batch, by name. `offline`: what ONNX Runtime
    makes of a source when it loads it is made now, for this processor and version.
    """

    backend: str = registry.DEFAULT
    dtype: str = FP32
    keep_fp32: str | None = None
    fallback: bool = False
    calibration: Arrays | None = None
    dims: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    offline: bool = False

    @property
    def are_portable(self) -> bool:
        """Whether the portable sources are all that is needed."""
        return (self.backend, self.dtype, self.offline) == (registry.DEFAULT, FP32, False)


@dataclass(frozen=True)
class Built:
    """What became of one engine: found again (`miss` is None), or built in `seconds`, `miss` saying why.

    `is_code`: it is more than its source. `refusal`: why the backend could not build it, where ONNX Runtime runs it
    instead.
    """

    stem: str
    backend: str
    bytes: int
    is_code: bool
    miss: str | None = None
    seconds: float = 0.0
    refusal: str | None = None


def require_possible(options: EngineOptions, exit_ids: Sequence[int], inputs: tuple[TensorSpec, ...]) -> None:
    """Raise what can be known before any work is done: UsageError for a backend, format or exit that there is not,
    InputError for `calibration` that does not fit the model's `inputs`, EtbacError where the backend cannot build here
    or its engines cannot be signed.
    """
    backend = registry.get(options.backend)
    backend.device(options.dtype)
    if "int8" in formats_of(options.dtype, options.keep_fp32, exit_ids) and options.calibration is not None:
        try:
            checking.check(inputs, options.calibration)
        except InputError as error:
            raise InputError(f"inputs for the ranges of int8: {error}") from None
    if options.offline and backend.name != registry.DEFAULT:
        raise UsageError(f"--offline is for backend {registry.DEFAULT}, not for {backend.name}")
    found = backend.available()
    if not found.usable:
        raise EtbacError(f"backend {backend.name} cannot build here: {found.sentence}")
    if options.offline or not backend.runs_sources:
        signature.sign(b"")  # without a key there is an error now, not after minutes of building


def build_engines(
    writer: Writer,
    portable: Sequence[Stored],
    segments: Sequence[Segment],
    max_batch: int,
    options: EngineOptions,
) -> tuple[str, list[Built]]:
    """Add a set of engines to the directory: the name of its list, and what became of each engine.

    `portable`: the fp32 sources of `segments`, then the full model's; they have been added. `options` are possible.
    Raises BackendRefusal for an operator.
    """
    backend = registry.get(options.backend)
    device = backend.device(options.dtype)
    formats = formats_of(options.dtype, options.keep_fp32, [segment.contract.exit_id for segment in segments])
    folder = folder_of_set(backend.name, device, options.dtype)
    *sources, full = portable
    contracts, sources = _in_formats(writer, segments, sources, formats, folder, backend, options)

    with tempfile.TemporaryDirectory() as scratch:
        builder = _Builder(writer, backend, folder, max_batch, options, Path(scratch))
        outcomes = [builder.build(source, format_) for source, format_ in zip(sources, formats, strict=True)]
        outcomes.append(builder.build(full, FP32))
        builder.keep_timings()
    *entries, whole = (entry for entry, _ in outcomes)
    files = writer.added_in(folder)
    engines = EngineSet(backend.name, device, options.dtype, contracts, tuple(entries), whole, files)
    return writer.add_set(engines.signed()), [outcome for _, outcome in outcomes]


def _in_formats(
    writer: Writer,
    segments: Sequence[Segment],
    sources: Sequence[Stored],
    formats: Sequence[str],
    folder: str,
    backend: Backend,
    options: EngineOptions,
) -> tuple[tuple[SegmentContract, ...], list[Stored]]:
    """The segments' contracts and sources in their formats; those that stay as they are keep their portable source."""
    if set(formats) == {FP32}:
        return tuple(segment.contract for segment in segments), list(sources)
    made = typed(segments, formats, options.calibration, backend.int8_options())
    changed = [
        place
        for place, (segment, format_) in enumerate(zip(made, formats, strict=True))
        if format_ != FP32 or segment.contract != segments[place].contract
    ]
    stored = add_models(writer, [(f"segment-{place:02d}", made[place].model) for place in changed], folder)
    result = list(sources)
    for place, source in zip(changed, stored, strict=True):
        result[place] = source
    return tuple(segment.contract for segment in made), result


class _Builder:
    """Builds sources one by one, unless the set in the directory has the same engine already."""

    def __init__(
        self, writer: Writer, backend: Backend, folder: str, max_batch: int, options: EngineOptions, scratch: Path
    ) -> None:
        self._writer, self._backend, self._folder, self._scratch = writer, backend, folder, scratch
        self._fallback = options.fallback
        timings = scratch / f"{TIMING}.cache"
        self._options = BuildOptions(FP32, max_batch, options.dims, timings, options.offline)
        self._before = _set_before(writer, folder)
        self._take_timings()

    def build(self, source: Stored, format_: str) -> tuple[EngineEntry, Built]:
        """The engine of one source, found again or built; a refused one is left to ONNX Runtime where that may be."""
        stem = Path(without_hash(source.file)[0]).name
        options = replace(self._options, dtype=format_)
        made_for = dict(self._backend.made_for(options))
        miss = self._find(stem, source, made_for)
        if isinstance(miss, EngineEntry):
            if not miss.is_code:
                entry = replace(miss, format=format_, source=source.file, engine=source.file)
                return entry, Built(stem, entry.backend, self._size(entry.engine), entry.is_code)
            entry = replace(miss, format=format_, source=source.file)
            self._writer.keep(entry.engine)
            return entry, Built(stem, entry.backend, self._size(entry.engine), entry.is_code)
        begun = time.perf_counter()
        try:
            path = self._writer.path / source.file
            engine = self._backend.build(path, options, self._scratch)
        except BackendRefusal as refusal:
            if not self._fallback:
                raise
            entry = self._on_onnxruntime(source, options)
            return entry, Built(stem, entry.backend, self._size(source.file), False, miss, refusal=str(refusal))
        name = source.file if engine.path == path else self._add(stem, engine.path)
        entry = EngineEntry(source.key, format_, source.file, self._backend.name, name, made_for)
        return entry, Built(stem, entry.backend, self._size(name), entry.is_code, miss, time.perf_counter() - begun)

    def keep_timings(self) -> None:
        """Store what the builder has timed, for the next build."""
        timings = self._options.timing_cache
        if timings is not None and timings.exists():
            self._writer.add_file(f"{self._folder}/{TIMING}", ".cache", timings)

    def _take_timings(self) -> None:
        engines, reason = self._before or (None, None)
        for name in engines.files if engines is not None and reason is None else ():
            if without_hash(name) == (f"{self._folder}/{TIMING}", ".cache"):
                shutil.copyfile(self._writer.path / name, self._scratch / f"{TIMING}.cache")

    def _find(self, stem: str, source: Stored, made_for: Mapping[str, str]) -> EngineEntry | str:
        """The same engine of the set before; otherwise why there is none."""
        if self._before is None:
            return "not built before"
        engines, reason = self._before
        old = next((entry for entry in engines.entries() if _stem(entry) == stem), None)
        if old is None:
            return "not built before"
        if reason is not None:
            return reason
        if old.key != source.key:
            return "the segment has changed" if stem != "full" else "the full model has changed"
        if old.backend != self._backend.name:
            return f"ran on {old.backend} before"
        if not (old.is_code or self._backend.runs_sources):
            return "not built before"
        return _difference(old.made_for, made_for) or old

    def _on_onnxruntime(self, source: Stored, options: BuildOptions) -> EngineEntry:
        backend = registry.get(registry.DEFAULT)
        backend.device(options.dtype)
        made_for = dict(backend.made_for(options))
        return EngineEntry(source.key, options.dtype, source.file, backend.name, source.file, made_for)

    def _add(self, stem: str, path: Path) -> str:
        name = self._writer.add_file(f"{self._folder}/{stem}", path.suffix, path)
        path.unlink()
        return name

    def _size(self, name: str) -> int:
        return (self._writer.path / name).stat().st_size


def _set_before(writer: Writer, folder: str) -> tuple[EngineSet, str | None] | None:
    """The set of that folder that is in the directory, and why its engines cannot be taken over, if so."""
    if writer.manifest is None:
        return None
    before = EngineDir(writer.path, writer.manifest)
    try:
        found = [engines for engines in before.engine_sets().values() if engines.folder == folder]
        if not found:
            return None
        for name in found[0].files:
            before.check(name)
    except EngineDirError:
        return None
    return found[0], None if found[0].is_built_here() else "not built here"


def _stem(entry: EngineEntry) -> str:
    return Path(without_hash(entry.source)[0]).name


def _difference(before: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """The first field that differs, in words."""
    for name in {**now, **before}:
        if before.get(name) != now.get(name):
            return f"{name} was {before.get(name, 'not given')}, is {now.get(name, 'not given')}"
    return None
