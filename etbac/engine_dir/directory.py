"""Opening an engine directory: nothing in it is run before all of it has been compared with what was built."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from etbac.contract import SCHEMA_VERSION, Manifest, Plan
from etbac.engine_dir import names, sealed
from etbac.engine_dir.engine_set import SCHEMA_VERSION as SET_SCHEMA_VERSION
from etbac.engine_dir.engine_set import EngineSet
from etbac.errors import EngineDirError, EtbacError

T = TypeVar("T")
WEIGHTS = ".bin"
_BLOCK = 1 << 20


@dataclass(frozen=True)
class EngineDir:
    """A compiled chain on disk: the directory and its table of contents."""

    path: Path
    manifest: Manifest

    @staticmethod
    def open(path: Path | str) -> EngineDir:
        """Read the manifest and check every file that a chain is loaded from, and the plan in force.

        Raises EngineDirError: no such directory, incomplete, changed, or from another schema version. What only some
        commands read (the full model, profiles) is checked by `check` when they do.
        """
        path = Path(path)

        def opened() -> EngineDir:
            with EngineDir.opening(path) as engine_dir:
                return engine_dir

        return unless_rebuilt(path, opened)

    @staticmethod
    @contextmanager
    def opening(path: Path) -> Iterator[EngineDir]:
        """As `open`, with the weights, which take the longest, compared while the caller loads engines.

        Leaving waits for them: what was loaded is only to be run afterwards. Where they differ, that is the error
        raised, whatever the caller met with.
        """
        engine_dir = EngineDir(path, parse_manifest(read_manifest_bytes(path), path))
        needed = engine_dir._needed_to_run()
        weights = [name for name in needed if name.endswith(WEIGHTS)]
        with ThreadPoolExecutor() as pool:
            compared = [pool.submit(engine_dir.check, name) for name in weights]
            engine_dir.check_all(name for name in needed if name not in weights)
            read_readings(path)
            try:
                yield engine_dir
            finally:
                for each in compared:
                    each.result()

    @cached_property
    def plan(self) -> Plan | None:
        """The plan in force, or None."""
        if self.manifest.plan is None:
            return None
        return Plan.from_json(json.loads(self.check(self.manifest.plan).read_bytes()))

    @property
    def segment_hashes(self) -> tuple[str, ...]:
        """SHA-256 of every segment's file, in the order of the chain; each file names its weights by hash."""
        return tuple(self.manifest.files[entry.file] for entry in self.manifest.segments)

    @property
    def rebuild(self) -> str:
        """The command line that makes this directory again."""
        return _rebuild_command(self.path, self.manifest)

    def check(self, name: str) -> Path:
        """The path of a file of the manifest, compared with its hash just now; an EngineDirError if it differs."""
        path = self.path / name
        expected = self.manifest.files.get(name)
        if expected is None:
            raise EngineDirError(f"{self.path} has no file {name}. Rebuild with: {self.rebuild}")
        try:
            found = sha256_of(path)
        except FileNotFoundError:
            raise EngineDirError(f"{path} is missing. Rebuild with: {self.rebuild}") from None
        if found != expected:
            raise EngineDirError(
                f"{path} has changed since it was built (SHA-256 {expected[:8]}… expected, {found[:8]}… found). "
                f"Rebuild with: {self.rebuild}"
            )
        return path

    def check_all(self, names: Iterable[str]) -> None:
        """`check` each, several at a time; the first of `names` that differs is reported."""
        with ThreadPoolExecutor() as pool:
            for _ in pool.map(self.check, names):
                pass

    def find(self, stem: str, suffix: str) -> str | None:
        """The file of that name but for its hash, as in ("profiles/onnxruntime-cpu-fp32", ".json"); None if absent."""
        for name in self.manifest.files:
            if names.without_hash(name) == (stem, suffix):
                return name
        return None

    def read_plan(self, name: str) -> Plan | None:
        """The plan written as `name` (`<backend>-<device>-<dtype>`), in force or not; None where there is none."""
        file = self.find(f"plans/{name}", ".json")
        return None if file is None else Plan.from_json(json.loads(self.check(file).read_bytes()))

    def read_profile(self, name: str) -> dict[str, Any] | None:
        """The JSON profile written as `name` (`<backend>-<device>-<dtype>`); None where there is none."""
        file = self.find(f"profiles/{name}", ".json")
        if file is None:
            return None
        profile: dict[str, Any] = json.loads(self.check(file).read_bytes())
        return profile

    def engine_sets(self) -> dict[str, EngineSet]:
        """Every set of engines, by the name of its file; the engines themselves are not yet checked."""
        return {name: self.read_set(name) for name in self.manifest.files if names.is_set(name)}

    def read_set(self, name: str) -> EngineSet:
        """The set of engines written as `name`, whose files have the hashes that it lists itself: these are signed, the
        manifest's are not. Raises EngineDirError if the list has changed, or is of another schema version."""
        data = json.loads(self.check(name).read_bytes())
        if data.get("schema") != SET_SCHEMA_VERSION:
            raise EngineDirError(
                f"{self.path / name} has schema version {data.get('schema')}; this etbac reads version "
                f"{SET_SCHEMA_VERSION}. Rebuild with: {self.rebuild}"
            )
        engines = EngineSet.from_json(data)
        strange = next(self._not_as_listed(engines), None)
        if strange is not None:
            raise EngineDirError(
                f"{self.path / strange} is not the one that {name} lists. Rebuild with: {self.rebuild}"
            )
        return engines

    def read_samples(self) -> dict[str, npt.NDArray[Any]]:
        """The directory's own inputs, by input name."""
        with np.load(self.check(self.manifest.samples), allow_pickle=False) as samples:
            return dict(samples)

    def readings(self) -> dict[str, int]:
        """How often each certify set, by its hash, has been read for this directory."""
        return {name: len(levels) for name, levels in read_readings(self.path).items()}

    def _not_as_listed(self, engines: EngineSet) -> Iterator[str]:
        known = {name for name in self.manifest.files if names.in_root(name)} | set(engines.files)
        yield from (name for name, sha256 in engines.files.items() if self.manifest.files.get(name) != sha256)
        for entry in engines.entries():
            if entry.engine not in (engines.files if entry.is_code else known):
                yield entry.engine
            if entry.source not in known:
                yield entry.source

    def _needed_to_run(self) -> list[str]:
        plan = [] if self.manifest.plan is None else [self.manifest.plan]
        return [name for name in self.manifest.files if names.in_root(name) and name != self.manifest.full] + plan


def unless_rebuilt(path: Path, attempt: Callable[[], T]) -> T:
    """What `attempt` gives, made again if it failed while another command rebuilt the directory."""
    data = read_manifest_bytes(path)
    try:
        return attempt()
    except EtbacError:
        if read_manifest_bytes(path) == data:
            raise
        return unless_rebuilt(path, attempt)


def read_manifest_bytes(path: Path) -> bytes:
    try:
        return (path / names.MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        pass
    make = f"Make one with: etbac compile MODEL{_engine_dir_option(path)}"
    if not path.exists():
        raise EngineDirError(f"{path}: there is no such engine directory. {make}")
    if not path.is_dir():
        raise EngineDirError(f"{path} is a file, not an engine directory. {make}")
    raise EngineDirError(
        f"{path} is no engine directory: it has no {names.MANIFEST}, so no compile has finished there. {make}"
    )


def parse_manifest(data: bytes, path: Path) -> Manifest:
    file = path / names.MANIFEST
    rebuild = f"Rebuild with: etbac compile MODEL{_engine_dir_option(path)}"
    try:
        fields = sealed.parse(data, file)
        schema = fields.get("schema")
        if schema != SCHEMA_VERSION:
            raise EngineDirError(f"{path} has schema version {schema}; this etbac reads version {SCHEMA_VERSION}")
        sealed.check(data, file)
    except EngineDirError as error:
        raise EngineDirError(f"{error}. {rebuild}") from None
    try:
        manifest = Manifest.from_json(fields)
    except KeyError as error:
        raise EngineDirError(f"{file} lacks the field {error}: another version of etbac wrote it. {rebuild}") from None
    strange = [name for name in manifest.files if not names.is_hashed(name)]
    if strange:
        raise EngineDirError(f"{file} lists {strange[0]!r}, which no engine directory holds. {rebuild}")
    return manifest


def read_readings(path: Path) -> dict[str, list[float | None]]:
    """The levels of the readings of each set, by its hash; None for those that an older version counted alone."""
    file = path / names.READINGS
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return {}
    try:
        fields = sealed.parse(data, file)
        sealed.check(data, file)
    except EngineDirError as error:
        raise EngineDirError(
            f"{error}. It counts how often data were read to certify: restore it, or compile into a new directory "
            "and certify with data that were not read before"
        ) from None
    return {
        str(set_hash): [None] * spent if isinstance(spent, int) else list(spent)
        for set_hash, spent in fields["readings"].items()
    }


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    digest = hashlib.sha256()
    block = memoryview(bytearray(_BLOCK))
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(block):
            digest.update(block[:size])
    return digest.hexdigest()


def _rebuild_command(path: Path, manifest: Manifest) -> str:
    exits = ",".join(map(str, manifest.exits))
    built = names.of_set(manifest.engines) if manifest.engines else None
    options = f" --backend {built[0]} --dtype {built[1]}" if built else ""
    return f"etbac compile {manifest.source.get('path', 'MODEL')} --exits {exits}{_engine_dir_option(path)}{options}"


def _engine_dir_option(path: Path) -> str:
    return "" if path == Path("engines") else f" --engine-dir {path}"
