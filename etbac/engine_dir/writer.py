"""Changing an engine directory: new files beside the old ones, then one rename that puts the new manifest in force."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from etbac.contract import Manifest, Plan
from etbac.engine_dir import names, sealed
from etbac.engine_dir.directory import EngineDir, parse_manifest, read_manifest_bytes, read_readings, sha256_of
from etbac.engine_dir.engine_set import EngineSet
from etbac.engine_dir.storage import Chunk, Storage
from etbac.errors import EngineDirError

_PAGE, _CACHE_LINE = 4096, 64
_COPIED = 1 << 20
_OWN_BEGINNING = b'{\n  "schema": '


@dataclass(frozen=True)
class Slot:
    """Where a tensor's bytes are in the weights file, and their SHA-256 (hex)."""

    offset: int
    length: int
    sha256: str


class Writer:
    """One transaction on an engine directory, under its lock.

    Files are added beside what is there, under names that carry their hash; `commit` puts a manifest in force that
    refers to them. Without a commit (an error, a full disk, a kill) the directory stays as it was; what was added is
    removed on the way out, or by the next writer. Only names that etbac gives are ever removed.

        with Writer(Path("engines")) as writer:
            weights, slots = writer.add_weights((name, array) for …)
            file = writer.add("segment-00", ".onnx", model_bytes)
            writer.commit(Manifest(…))

    Raises EngineDirError where another writer is at work or the directory's manifest.json is not etbac's.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.manifest: Manifest | None = None
        """What is in force; None in a new directory, or where the manifest cannot be read (a rebuild mends that)."""
        self.dropped_plan = False
        """Whether a commit changed a segment, so that the plan in force before it holds no more."""
        self.dropped_sets: tuple[str, ...] = ()
        """Folders of the engines that a commit dropped for the same reason."""
        self._storage = Storage(self.path)
        self._added: dict[str, str] = {}

    def __enter__(self) -> Writer:
        self._storage.__enter__()
        try:
            self._read_manifest()
            self._clear()
        except BaseException:
            self._storage.__exit__()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with suppress(OSError):
                self._clear()
        finally:
            self._storage.__exit__()

    def add(self, stem: str, suffix: str, data: bytes) -> str:
        """Store `data` as `<stem>.<hash>…<suffix>`; returns that name."""
        return self._add(stem, suffix, [data])

    def add_file(self, stem: str, suffix: str, path: Path) -> str:
        """Store a copy of the file at `path`; returns its name here."""
        with path.open("rb") as file:
            return self._add(stem, suffix, iter(lambda: file.read(_COPIED), b""))

    def keep(self, name: str) -> None:
        """Take over a file of the manifest in force as it is."""
        if self.manifest is None:
            raise ValueError(f"there is no manifest in force that {name} could be taken over from")
        self._added[name] = self.manifest.files[name]

    def add_weights(
        self, tensors: Iterable[tuple[str, bytes | npt.NDArray[Any]]], folder: str = ""
    ) -> tuple[str, dict[str, Slot]]:
        """Store tensors' bytes, little-endian and in C order, in one file, equal contents once, taking them one by one.

        Returns the file's name in `folder` and each tensor's place in it: an ONNX external-data reference is that name,
        `offset` and `length`. Large tensors start at a page, so that they can be mapped; small ones at a cache line.
        """
        slots: dict[str, Slot] = {}
        name = self._add(f"{folder}/weights" if folder else "weights", ".bin", _lay_out(tensors, slots))
        return Path(name).name, slots

    def add_samples(self, inputs: Mapping[str, npt.NDArray[Any]]) -> str:
        """Store the directory's own inputs, by name."""
        file = io.BytesIO()
        np.savez(file, **inputs)  # type: ignore[arg-type]
        return self.add("samples", ".npz", file.getvalue())

    def add_plan(self, name: str, plan: Plan) -> str:
        """Store a plan as `name` (`<backend>-<device>-<dtype>`); in force once a manifest's `plan` names it."""
        return self.add(f"plans/{name}", ".json", json.dumps(plan.to_json(), indent=2, allow_nan=False).encode())

    def add_set(self, engines: EngineSet) -> str:
        """Store the list of a set's engines, which have been added; in force once a manifest's `engines` names it."""
        data = json.dumps(engines.to_json(), indent=2, allow_nan=False).encode()
        return self.add(f"{engines.folder}/{names.SET}", ".json", data)

    def added_in(self, folder: str) -> dict[str, str]:
        """Name -> SHA-256 of every file of `folder` that was added or kept here."""
        return {name: sha256 for name, sha256 in self._added.items() if names.folder(name) == folder}

    def stage(self, manifest: Manifest) -> EngineDir:
        """The directory as it would be with `manifest` in force, to try it before `commit`.

        `manifest.files` is completed with the hashes of the files added here. Where no model changes, the plans,
        profiles and other sets of engines of the manifest in force are taken over, and its plan too unless
        `manifest.plan` names another.
        """
        old = self.manifest
        same_chain = old is not None and _files_of_models(old) == _files_of_models(manifest)
        if old is not None and same_chain:
            rebuilt = {names.folder(name) for name in self._added if name.startswith(f"{names.ENGINES}/")} | {""}
            kept = {name: sha256 for name, sha256 in old.files.items() if names.folder(name) not in rebuilt}
            manifest = replace(manifest, plan=manifest.plan or old.plan, files={**kept, **manifest.files})
        files = _newest({**manifest.files, **self._added})
        missing = [name for name in _referred(manifest) if name not in files]
        if missing:
            raise ValueError(f"the manifest refers to {missing[0]}, which was not added")
        return EngineDir(self.path, replace(manifest, files=files))

    def commit(self, manifest: Manifest) -> EngineDir:
        """Put `manifest`, completed as by `stage`, in force; then remove the files that it no longer refers to."""
        staged = self.stage(manifest)
        self._put(names.MANIFEST, sealed.seal(staged.manifest.to_json()))
        self.dropped_plan = (
            self.manifest is not None and self.manifest.plan is not None and staged.manifest.plan is None
        )
        self.dropped_sets = tuple(sorted(_folders_of_sets(self.manifest) - _folders_of_sets(staged.manifest)))
        self.manifest = staged.manifest
        self._added = {}
        return staged

    def adopt(self, other: EngineDir) -> EngineDir:
        """Put in force here what is in force in another directory, which stays as it is; EngineDirError if damaged."""
        for name in other.manifest.files:
            self.add_file(*names.without_hash(name), other.check(name))
        return self.commit(other.manifest)

    def count_reading(self, set_hash: str, level: Callable[[int], float], formerly: Sequence[str] = ()) -> list[float]:
        """Record that the certify set of that hash is about to be read; returns the levels of its readings, this one's
        last. `level`: of the k-th reading, from 1; also what is taken where an older version kept a count alone.
        `formerly`: hashes that an older version counted readings of these samples by, which are taken over.

        On disk before it returns, so a run that stops afterwards has still spent the reading.
        """
        readings = read_readings(self.path)
        before = [spent for name in (set_hash, *formerly) for spent in readings.pop(name, [])]
        levels = [level(k) if spent is None else spent for k, spent in enumerate(before, 1)]
        levels.append(level(len(levels) + 1))
        self._put(names.READINGS, sealed.seal({"readings": {**readings, set_hash: levels}}))
        return levels

    def put_report(self, page: bytes) -> Path:
        """Replace the HTML report, which no transaction touches otherwise."""
        self._put(names.REPORT, page)
        return self.path / names.REPORT

    def _read_manifest(self) -> None:
        file = self.path / names.MANIFEST
        if not file.exists():
            return
        data = read_manifest_bytes(self.path)
        if data and not data.startswith(_OWN_BEGINNING):
            raise EngineDirError(f"{file} was not written by etbac; name another directory with --engine-dir")
        with suppress(EngineDirError):
            self.manifest = parse_manifest(data, self.path)

    def _add(self, stem: str, suffix: str, chunks: Iterable[Chunk]) -> str:
        temporary, sha256 = self._storage.write_temporary(stem + suffix, chunks)
        name = names.hashed(stem, suffix, sha256)
        there = self.path / name
        if there.exists() and sha256_of(there) == sha256:
            self._storage.remove(temporary)
        else:  # new, or damaged since it was built
            self._storage.put_in_place(temporary, name)
        self._added[name] = sha256
        return name

    def _put(self, name: str, data: bytes) -> None:
        """Replace a file of fixed name at once, after all that was added has reached the disk."""
        temporary, _ = self._storage.write_temporary(name, [data])
        for folder in sorted({(self.path / added).parent for added in self._added}):
            self._storage.sync_folder(folder)
        self._storage.put_in_place(temporary, name)
        self._storage.sync_folder(self.path)

    def _clear(self) -> None:
        """Remove what nobody refers to; where the manifest cannot be read, only what was never in place."""
        damaged = self.manifest is None and (self.path / names.MANIFEST).exists()
        referred = set() if self.manifest is None else set(self.manifest.files)
        for path in _spare(self.path, referred):
            if not damaged or names.is_temporary(path.name):
                self._storage.remove(path)


def write_plan(engine_dir: EngineDir, name: str, plan: Plan) -> EngineDir:
    """Store `plan` as `name` (`<backend>-<device>-<dtype>`) and put it in force."""
    with Writer(engine_dir.path) as writer:
        manifest = _still_in_force(writer, engine_dir)
        return writer.commit(replace(manifest, plan=writer.add_plan(name, plan)))


def write_profile(engine_dir: EngineDir, name: str, json_text: str, csv_text: str) -> EngineDir:
    """Store a profile, in both forms, as `name` (`<backend>-<device>-<dtype>`)."""
    with Writer(engine_dir.path) as writer:
        manifest = _still_in_force(writer, engine_dir)
        writer.add(f"profiles/{name}", ".json", json_text.encode())
        writer.add(f"profiles/{name}", ".csv", csv_text.encode())
        return writer.commit(manifest)


def write_statistics(engine_dir: EngineDir, name: str, data: bytes) -> EngineDir:
    """Store an .npz file of exit statistics as `name` (`<backend>-<device>-<dtype>`)."""
    with Writer(engine_dir.path) as writer:
        manifest = _still_in_force(writer, engine_dir)
        writer.add(f"statistics/{name}", ".npz", data)
        return writer.commit(manifest)


def write_report(engine_dir: EngineDir, page: bytes) -> Path:
    """Put the HTML report in place; the manifest does not list it, and nothing else in the directory changes."""
    with Writer(engine_dir.path) as writer:
        return writer.put_report(page)


def clear_leftovers(engine_dir: EngineDir) -> None:
    """Remove what an interrupted command left behind, unless another writer is at work or the directory is read-only.

    For commands that only read; a `Writer` does it by itself.
    """
    if any(_spare(engine_dir.path, set(engine_dir.manifest.files))):
        with suppress(EngineDirError, OSError), Writer(engine_dir.path):
            pass


def count_reading(
    path: Path, set_hash: str, level: Callable[[int], float], formerly: Sequence[str] = ()
) -> list[float]:
    """`Writer.count_reading` in a transaction of its own."""
    with Writer(path) as writer:
        return writer.count_reading(set_hash, level, formerly)


def _still_in_force(writer: Writer, engine_dir: EngineDir) -> Manifest:
    now = writer.manifest
    if now is None or _files_of_models(now) != _files_of_models(engine_dir.manifest):
        raise EngineDirError(f"{engine_dir.path} was rebuilt in the meantime; run this command again")
    return now


def _files_of_models(manifest: Manifest) -> list[str]:
    """The segments' and the full model's: plans, profiles and engines are of these."""
    return [*(entry.file for entry in manifest.segments), manifest.full]


def _folders_of_sets(manifest: Manifest | None) -> set[str]:
    return set() if manifest is None else {names.folder(name) for name in manifest.files if names.is_set(name)}


def _referred(manifest: Manifest) -> list[str]:
    optional = [name for name in (manifest.plan, manifest.engines) if name is not None]
    return [*_files_of_models(manifest), manifest.samples, *optional]


def _newest(files: dict[str, str]) -> dict[str, str]:
    """Of files whose names differ in the hash alone, the last."""
    latest = {names.without_hash(name): name for name in files}
    return {name: sha256 for name, sha256 in files.items() if latest[names.without_hash(name)] == name}


def _spare(root: Path, referred: set[str]) -> Iterator[Path]:
    """Files under names that only etbac gives, and that nothing refers to."""
    for folder in (root, *(path for pattern in names.FOLDERS for path in sorted(root.glob(pattern)))):
        inside = (path for path in (folder, folder.parent) if path != root and path.is_relative_to(root))
        if not folder.is_dir() or any(path.is_symlink() for path in inside):
            continue
        for path in sorted(folder.iterdir()):
            name = path.relative_to(root).as_posix()
            if name not in referred and (names.is_hashed(name) or names.is_temporary(name)):
                yield path


def _lay_out(tensors: Iterable[tuple[str, bytes | npt.NDArray[Any]]], slots: dict[str, Slot]) -> Iterator[Chunk]:
    """The weights file's bytes; fills `slots` on the way."""
    by_content: dict[str, Slot] = {}
    end = 0
    for name, tensor in tensors:
        data = _bytes_of(tensor)
        content = hashlib.sha256(data).hexdigest()
        if content not in by_content:
            padding = -end % (_PAGE if len(data) >= 16 * _PAGE else _CACHE_LINE)
            by_content[content] = Slot(end + padding, len(data), content)
            end += padding + len(data)
            yield bytes(padding)
            yield data
        slots[name] = by_content[content]


def _bytes_of(tensor: bytes | npt.NDArray[Any]) -> memoryview:
    if isinstance(tensor, np.ndarray):
        return np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data
    return memoryview(tensor)
