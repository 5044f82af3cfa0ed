"""The parts that data sets are made of: arrays, files, texts, and some rows of another part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from etbac.models.data.loader import Part
from etbac.preprocessing import AudioPreprocessing, ImagePreprocessing, TextPreprocessing, apply_each
from etbac.preprocessing.pictures import read_picture
from etbac.preprocessing.sounds import read_sound
from etbac.preprocessing.text import Text

Rows = npt.NDArray[np.int64]
Samples = tuple[dict[str, npt.NDArray[Any]], npt.NDArray[Any]]


@dataclass
class ArrayPart:
    """Pictures uint8 [N, H, W, C] and classes int64 [N] that `load` gives when they are first needed."""

    load: Callable[[], tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]]
    preprocessing: ImagePreprocessing
    units: Rows | None = None

    @cached_property
    def _arrays(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        return self.load()

    def __len__(self) -> int:
        return len(self._arrays[1])

    def read(self, rows: Rows) -> Samples:
        images, labels = self._arrays
        return self.preprocessing.apply(images[rows]), labels[rows]


@dataclass(frozen=True)
class PicturePart:
    """A picture file for each target."""

    files: Sequence[Path]
    targets: npt.NDArray[Any]
    preprocessing: ImagePreprocessing
    units: Rows | None = None

    def __len__(self) -> int:
        return len(self.files)

    def read(self, rows: Rows) -> Samples:
        pictures = (read_picture(self.files[row], self.preprocessing.channels) for row in rows)
        return apply_each(self.preprocessing, pictures), self.targets[rows]


@dataclass(frozen=True)
class SoundPart:
    """A sound file for each target."""

    files: Sequence[Path]
    targets: npt.NDArray[Any]
    preprocessing: AudioPreprocessing
    units: Rows | None = None

    def __len__(self) -> int:
        return len(self.files)

    def read(self, rows: Rows) -> Samples:
        sounds = (read_sound(self.files[row], self.preprocessing.rate) for row in rows)
        return apply_each(self.preprocessing, sounds), self.targets[rows]


@dataclass(frozen=True)
class Texts:
    """Texts, or pairs of them, with classes int64 [N] or values float32 [N], and their units."""

    texts: Sequence[Text]
    targets: npt.NDArray[Any]
    units: Rows | None = None


@dataclass
class TextPart:
    """Texts that `load` gives when they are first needed."""

    load: Callable[[], Texts]
    preprocessing: TextPreprocessing

    @cached_property
    def _loaded(self) -> Texts:
        return self.load()

    @property
    def units(self) -> Rows | None:
        return self._loaded.units

    def __len__(self) -> int:
        return len(self._loaded.texts)

    def read(self, rows: Rows) -> Samples:
        texts = [self._loaded.texts[row] for row in rows]
        return self.preprocessing.apply(texts), self._loaded.targets[rows]


@dataclass(frozen=True)
class Subset:
    """Some rows of a part, in the order given."""

    part: Part
    rows: Rows

    @property
    def units(self) -> Rows | None:
        units = self.part.units
        return None if units is None else units[self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, rows: Rows) -> Samples:
        return self.part.read(self.rows[rows])


def numbered(names: Sequence[Any]) -> Rows:
    """Units by name: int64 [len(names)], equal where the names are."""
    places: dict[Any, int] = {}
    return np.array([places.setdefault(name, len(places)) for name in names], np.int64)
