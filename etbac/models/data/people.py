"""People in pictures: crops around each, with their joints in the crop's pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from etbac.models.data.parts import Rows, Samples
from etbac.preprocessing import ImagePreprocessing, apply_each
from etbac.preprocessing.pictures import read_picture

REFERENCE = 200
"""Pixels of a person's height at scale 1."""

MARGIN = 1.25
DOWNWARD = 15


@dataclass(frozen=True)
class People:
    """One entry a person; pixels of the picture, counted from 0.

    `centre` float32 [N, 2], `scale` float32 [N] (the person's height ÷ 200 pixels), `joints` float32 [N, J, 3] (x, y, 1
    where it is annotated), `head` float32 [N]: the head's size, by which distances are measured. `units`: names of what
    they are independent samples of, a video or a picture.
    """

    pictures: Sequence[Path]
    centre: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]
    joints: npt.NDArray[np.float32]
    head: npt.NDArray[np.float32]
    units: Sequence[str] = ()


@dataclass(frozen=True)
class PeoplePart:
    """A crop of the model's input size around each person.

    Its width is 1.25 × 200 × scale pixels of the picture, its middle the centre, moved down by 15 × scale so that no
    limb is cut off (Xiao, Wu, Wei 2018: simple baselines). What is outside the picture is black. Targets are float32
    [n, J, 4]: x, y, annotated, the head's size, in pixels of the crop.
    """

    people: People
    preprocessing: ImagePreprocessing
    units: Rows | None = None

    def __len__(self) -> int:
        return len(self.people.pictures)

    def read(self, rows: Rows) -> Samples:
        inputs = apply_each(self.preprocessing, (self._crop(int(row)) for row in rows))
        targets = np.empty((len(rows), *self.people.joints.shape[1:-1], 4), np.float32)
        for place, row in enumerate(rows):
            middle, ratio = self._view(int(row))
            joints = self.people.joints[row]
            targets[place, :, :2] = (joints[:, :2] - middle) * ratio + self._half
            targets[place, :, 2] = joints[:, 2]
            targets[place, :, 3] = self.people.head[row] * ratio
        return inputs, targets

    @property
    def _half(self) -> npt.NDArray[np.float32]:
        return np.array([self.preprocessing.width / 2, self.preprocessing.height / 2], np.float32)

    def _view(self, row: int) -> tuple[npt.NDArray[np.float32], float]:
        """What of the picture is at the crop's middle, and how many pixels of the crop a pixel of the picture is."""
        scale = float(self.people.scale[row])
        middle = self.people.centre[row] + np.array([0, DOWNWARD * scale], np.float32)
        return middle, self.preprocessing.width / (REFERENCE * MARGIN * scale)

    def _crop(self, row: int) -> npt.NDArray[np.uint8]:
        from PIL import Image

        pixels = read_picture(self.people.pictures[row], self.preprocessing.channels)
        middle, ratio = self._view(row)
        # Pillow counts from a pixel's corner, joints from its middle.
        left, top = middle + 0.5 - (self._half + 0.5) / ratio
        size = (self.preprocessing.width, self.preprocessing.height)
        picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        matrix = (1 / ratio, 0, float(left), 0, 1 / ratio, float(top))
        crop = picture.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
        return np.asarray(crop, np.uint8).reshape(size[1], size[0], pixels.shape[2])
