"""Pictures with a mask each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError
from etbac.models.data.parts import Rows, Samples
from etbac.preprocessing import ImagePreprocessing, apply_each
from etbac.preprocessing.pictures import read_mask, read_picture

NOT_COUNTED = 255


@dataclass(frozen=True)
class MaskPart:
    """Picture files and mask files of the same sizes; `table`, uint8 [256]: what a mask's value means as a class.

    Masks are int64 [n, height, width] in the geometry of the model's input, 255 where a pixel is not counted.
    """

    pictures: Sequence[Path]
    masks: Sequence[Path]
    table: npt.NDArray[np.uint8]
    classes: int
    preprocessing: ImagePreprocessing
    units: Rows | None = None

    def __len__(self) -> int:
        return len(self.pictures)

    def read(self, rows: Rows) -> Samples:
        masks = np.empty((len(rows), self.preprocessing.height, self.preprocessing.width), np.int64)
        pictures = (self._read_one(int(row), masks[place]) for place, row in enumerate(rows))
        return apply_each(self.preprocessing, pictures), masks

    def _read_one(self, row: int, into: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """The picture; its mask is written `into` an array [height, width]."""
        picture = read_picture(self.pictures[row], self.preprocessing.channels)
        values = read_mask(self.masks[row])
        if values.shape != picture.shape[:2]:
            sizes = " and ".join(f"{width}×{height}" for height, width in (values.shape, picture.shape[:2]))
            raise InputError(f"{self.masks[row]} and its picture have different sizes: {sizes}")
        classes = self.table[values]
        found = int(classes[classes != NOT_COUNTED].max(initial=0))
        if found >= self.classes:
            raise InputError(
                f"{self.masks[row]} holds the class {found}; there are {self.classes}, counted from 0, and 255 is not "
                "counted"
            )
        into[:] = self.preprocessing.fit(classes, nearest=True)
        return picture
