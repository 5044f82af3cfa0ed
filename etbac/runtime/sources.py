"""Where `etbac run` gets its inputs: the directory's samples, an array file, or a folder of pictures."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from etbac.backends.interface import Array
from etbac.contract import TensorSpec
from etbac.engine_dir import EngineDir
from etbac.errors import InputError
from etbac.preprocessing import ImagePreprocessing
from etbac.runtime import inputs as checking
from etbac.runtime.pictures import PictureFolder, note_on_sizes

LABELS = "labels"
"""A data file may hold the right answers beside the inputs, under this name."""


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
    if path.is_dir():
        return FolderSource(path, manifest.inputs, manifest.preprocessing)
    return ArraySource(manifest.inputs, read_arrays(path, manifest.inputs))


def read_arrays(path: Path, specs: tuple[TensorSpec, ...]) -> dict[str, Array]:
    """The arrays of an .npz file by name, or of an .npy file under the name of the model's only input."""
    if path.suffix not in (".npy", ".npz"):
        raise InputError(f"{path}: give an .npy file, an .npz file or a folder of pictures")
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


class FolderSource:
    """Pictures, preprocessed as the manifest says."""

    def __init__(self, folder: Path, specs: tuple[TensorSpec, ...], preprocessing: Mapping[str, Any]) -> None:
        if preprocessing.get("kind") != "image":
            wanted = ", ".join(spec.name for spec in specs)
            raise InputError(
                f"{folder} is a folder, and this model does not take pictures: give an .npz file of {wanted}"
            )
        self._preprocessing = ImagePreprocessing.from_json(preprocessing)
        self._pictures = PictureFolder(folder, self._preprocessing)
        self.names: list[str] | None = [path.name for path in self._pictures.files]
        self.rows = len(self._pictures.files)

    def batches(self, size: int) -> Iterator[Mapping[str, Array]]:
        return (self._pictures.read(slice(start, start + size)) for start in range(0, self.rows, size))

    def note(self) -> str | None:
        return note_on_sizes(self._pictures.resized, self._preprocessing)


def _only_input(path: Path, specs: tuple[TensorSpec, ...]) -> str:
    if len(specs) > 1:
        raise InputError(
            f"{path} holds one array; the model takes {', '.join(spec.name for spec in specs)}: give an .npz file"
        )
    return specs[0].name


def _takes_labels(specs: tuple[TensorSpec, ...]) -> bool:
    return any(spec.name == LABELS for spec in specs)
