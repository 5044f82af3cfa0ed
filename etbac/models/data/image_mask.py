"""Pictures and masks in two folders, by equal names: any segmentation data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from etbac.errors import InputError, UsageError
from etbac.models.data.loader import Opened, of_kind
from etbac.models.data.masks import NOT_COUNTED, MaskPart
from etbac.models.data.splits import divide
from etbac.models.data.trees import files, refuse
from etbac.preprocessing import ImagePreprocessing, Preprocessing
from etbac.preprocessing.image import IMAGENET_MEAN, IMAGENET_STD
from etbac.preprocessing.pictures import SUFFIXES

PREPROCESSING = ImagePreprocessing("image", 512, 512, 3, 1 / 255, IMAGENET_MEAN, IMAGENET_STD)
WHAT = "a folder of pictures and masks"
NAMES = "classes.txt"
TREE = """
classes.txt                         the classes' names, one a line, in the order of their values (or: option classes)
images/<name>.jpg                   (or .png …)
masks/<name>.png                    a class in every pixel, from 0; 255 is not counted
or, with published parts, the two folders in train/ and in val/:
train/images/…  train/masks/…  val/images/…  val/masks/…
"""


@dataclass(frozen=True)
class ImageMask:
    """The loader `image-mask`. `classes`: how many there are, where classes.txt does not name them.

    Without published parts a fifth of the pictures, by the hash of their names, is the test part.
    """

    name: ClassVar[str] = "image-mask"
    task: ClassVar[str] = "segmentation"

    classes: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.classes, int) or not 0 <= self.classes <= NOT_COUNTED:
            raise UsageError(f"the option classes of {self.name} is at most {NOT_COUNTED}; found {self.classes!r}")

    def check(self, folder: Path) -> None:
        for part in _parts_of(folder):
            for kind in ("images", "masks"):
                if not (folder / part / kind).is_dir():
                    refuse(folder, WHAT, TREE, f"{Path(part, kind)}/")
        if not self.classes and not (folder / NAMES).is_file():
            refuse(folder, WHAT, TREE, f"{NAMES}, and the option classes was not given")

    def open(self, folder: Path, preprocessing: Preprocessing | None = None) -> Opened:
        self.check(folder)
        form = of_kind(self, preprocessing, ImagePreprocessing, PREPROCESSING)
        names = self._names(folder)
        published = [_pairs(folder / part) for part in _parts_of(folder)]
        train, test = (
            published if len(published) == 2 else divide(published[0], [each.stem for each, _ in published[0]])
        )
        parts = {"train": _part(train, len(names), form), "test": _part(test, len(names), form)}
        return Opened(parts, names, form)

    def _names(self, folder: Path) -> tuple[str, ...]:
        if not (folder / NAMES).is_file():
            return tuple(f"class {place}" for place in range(self.classes))
        named = tuple(line for line in (folder / NAMES).read_text(encoding="utf-8").splitlines() if line.strip())
        if self.classes not in (0, len(named)):
            raise UsageError(f"{folder / NAMES} names {len(named)} classes, and the option classes is {self.classes}")
        return named


def _parts_of(folder: Path) -> tuple[str, ...]:
    return ("train", "val") if (folder / "train").is_dir() else ("",)


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    pictures, masks = (files(folder / kind, SUFFIXES) for kind in ("images", "masks"))
    by_stem = {mask.stem: mask for mask in masks}
    if lone := [picture for picture in pictures if picture.stem not in by_stem]:
        raise InputError(f"{lone[0]} has no mask of its name in {folder / 'masks'}, as {len(lone)} pictures")
    if not pictures:
        raise InputError(f"{folder / 'images'} holds no pictures")
    return [(picture, by_stem[picture.stem]) for picture in pictures]


def _part(pairs: list[tuple[Path, Path]], classes: int, form: ImagePreprocessing) -> MaskPart:
    table = np.arange(256, dtype=np.uint8)
    return MaskPart([picture for picture, _ in pairs], [mask for _, mask in pairs], table, classes, form)
