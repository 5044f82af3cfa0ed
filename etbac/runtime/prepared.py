"""Pictures, sounds and texts as a model's inputs, read as they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from etbac.backends.interface import Array
from etbac.errors import InputError
from etbac.preprocessing import (
    AudioPreprocessing,
    ImagePreprocessing,
    Preprocessing,
    TextPreprocessing,
    apply_each,
)
from etbac.preprocessing.pictures import MODES, open_picture, read_picture
from etbac.preprocessing.sounds import read_sound
from etbac.preprocessing.tables import SUFFIXES, read_texts

Batches = Iterator[Mapping[str, Array]]


class PictureFolder:
    """The pictures of a folder, sorted by name; hidden files and sub-folders are left out.

    Raises InputError for a folder without pictures and for a file that is none; MissingPackageError without Pillow.
    """

    def __init__(self, folder: Path, preprocessing: ImagePreprocessing) -> None:
        self._preprocessing = preprocessing
        self._resized: list[str] = []
        if preprocessing.channels not in MODES:
            raise InputError(
                f"pictures have 1 or 3 channels; the model takes {preprocessing.channels}: give an .npy file"
            )
        self._files = _files_in(folder, "pictures")
        for path in self._files:
            open_picture(path).close()
        self.names: list[str] | None = [path.name for path in self._files]
        self.rows = len(self._files)

    def batches(self, size: int) -> Batches:
        for start in range(0, self.rows, size):
            yield apply_each(self._preprocessing, map(self._pixels, self._files[start : start + size]))

    def note(self) -> str | None:
        """One sentence for all pictures that were resized; None where none was."""
        if not self._resized:
            return None
        count = f"{len(self._resized)} picture{'s were' if len(self._resized) > 1 else ' was'}"
        size = f"{self._preprocessing.width}×{self._preprocessing.height}"
        return f"{count} resized to {size}; the first was {self._resized[0]}"

    def _pixels(self, path: Path) -> npt.NDArray[np.uint8]:
        picture = read_picture(path, self._preprocessing.channels)
        height, width = picture.shape[:2]
        if (height, width) != (self._preprocessing.height, self._preprocessing.width):
            self._resized.append(f"{path.name} ({width}×{height})")
        return picture


class SoundFolder:
    """The sounds of a folder, sorted by name; hidden files and sub-folders are left out.

    Raises InputError for a folder without files; what is wrong with a file is said when it is read.
    """

    def __init__(self, folder: Path, preprocessing: AudioPreprocessing) -> None:
        self._preprocessing = preprocessing
        self._cut: list[str] = []
        self._files = _files_in(folder, "sounds")
        self.names: list[str] | None = [path.name for path in self._files]
        self.rows = len(self._files)

    def batches(self, size: int) -> Batches:
        for start in range(0, self.rows, size):
            yield apply_each(self._preprocessing, map(self._wave, self._files[start : start + size]))

    def note(self) -> str | None:
        """One sentence for all sounds that were cut; None where none was."""
        if not self._cut:
            return None
        count = f"{len(self._cut)} sound{'s were' if len(self._cut) > 1 else ' was'}"
        seconds = self._preprocessing.length / self._preprocessing.rate
        return f"{count} cut to the model's {seconds:g} s; the first was {self._cut[0]}"

    def _wave(self, path: Path) -> npt.NDArray[np.float32]:
        sound = read_sound(path, self._preprocessing.rate)
        if len(sound) > self._preprocessing.length:
            self._cut.append(f"{path.name} ({len(sound) / self._preprocessing.rate:.2f} s)")
        return sound


class TextFile:
    """The texts of a .txt, .jsonl or .csv file (see `read_texts`), in its order."""

    names: list[str] | None = None

    def __init__(self, path: Path, preprocessing: TextPreprocessing) -> None:
        self._preprocessing = preprocessing
        self._texts = read_texts(path)
        self.rows = len(self._texts)

    def batches(self, size: int) -> Batches:
        for start in range(0, self.rows, size):
            yield self._preprocessing.apply(self._texts[start : start + size])

    def note(self) -> str | None:
        return None


def open_prepared(path: Path, how: Preprocessing | None) -> PictureFolder | SoundFolder | TextFile | None:
    """What is at `path` by the model's preprocessing; None where it is nothing that this takes."""
    if isinstance(how, TextPreprocessing) and path.suffix in SUFFIXES and not path.is_dir():
        return TextFile(path, how)
    if isinstance(how, ImagePreprocessing) and path.is_dir():
        return PictureFolder(path, how)
    if isinstance(how, AudioPreprocessing) and path.is_dir():
        return SoundFolder(path, how)
    return None


def _files_in(folder: Path, what: str) -> list[Path]:
    files = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    found = sorted(files, key=lambda path: path.name)
    if not found:
        raise InputError(f"{folder} holds no {what}")
    return found
