"""Where `etbac run` gets its inputs: the directory's samples, an array file, or pictures, sounds or texts."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from etbac.backends.interface import Array
from etbac.contract import TensorSpec
from etbac.engine_dir import EngineDir
from etbac.errors import InputError
from etbac.preprocessing import from_json
from etbac.runtime import inputs as checking
from etbac.runtime.prepared import open_prepared

LABELS = "labels"
"""A data file may hold the right answers beside the inputs, under this name."""

ARRAYS = (".npy", ".npz")

TAKEN = {
    "image": "a folder of pictures",
    "text": "a .txt, .csv or .jsonl file of texts",
    "audio": "a folder of sounds (.wav, .ogg, .flac)",
}
"""Preprocessing's kind -> what it is made from."""


class Source(Protocol):
    """Inputs that can be read batch by batch. `names` are the files' names where each row is a file, else None."""

    rows: int
    names: list[str] | None

    def batches(self, size: int) -> Iterator[Mapping[str, Array]]: ...

    def note(self) -> str | None:
        """What the user should know about the rows read so far."""


def open_source(engine_dir: EngineDir, path: Path | None) -> Source:
    """The inputs at `path`, by default the directory's samples; an InputError says what does not fit the model."""
    manifest = engine_dir.manifest
    if path is None:
        return ArraySource(manifest.inputs, engine_dir.read_samples())
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder")
    how = from_json(manifest.preprocessing) if manifest.preprocessing else None
    prepared = open_prepared(path, how)
    if prepared is not None:
        return prepared
    if path.is_dir() or path.suffix not in ARRAYS:
        names = ", ".join(spec.name for spec in manifest.inputs)
        takes = "" if how is None else f", or {TAKEN[how.kind]}"
        raise InputError(f"{path}: this model takes an .npy or .npz file of {names}{takes}")
    return ArraySource(manifest.inputs, read_arrays(path, manifest.inputs))


def read_arrays(path: Path, specs: tuple[TensorSpec, ...]) -> dict[str, Array]:
    """The arrays of an .npz file by name, or of an .npy file under the name of the model's only input."""
    if path.suffix not in ARRAYS:
        raise InputError(f"{path}: give an .npy file or an .npz file of {', '.join(spec.name for spec in specs)}")
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {_only_input(path, specs): loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files if name != LABELS or _takes_labels(specs)}
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file or folder") from None
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not a whole {path.suffix} file of plain arrays ({error})") from None


class ArraySource:
    """Arrays in memory, checked as a whole."""

    def __init__(self, specs: tuple[TensorSpec, ...], arrays: Mapping[str, Array]) -> None:
        self._specs = specs
        self._batch = checking.check(specs, arrays)
        self.rows = self._batch.rows
        self.names: list[str] | None = None

    def batches(self, size: int) -> Iterator[Mapping[str, Array]]:
        return (part.arrays for _, part in checking.split(self._specs, self._batch, size))

    def note(self) -> str | None:
        return None


def _only_input(path: Path, specs: tuple[TensorSpec, ...]) -> str:
    if len(specs) > 1:
        raise InputError(
            f"{path} holds one array; the model takes {', '.join(spec.name for spec in specs)}: give an .npz file"
        )
    return specs[0].name


def _takes_labels(specs: tuple[TensorSpec, ...]) -> bool:
    return any(spec.name == LABELS for spec in specs)
