"""Pictures and masks in two folders, by equal names: any segmentation data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from etbac.errors import InputError, UsageError
from etbac.models.data.loader import Opened, of_kind
from etbac.models.data.masks import NOT_COUNTED, MaskPart
from etbac.models.data.parts import numbered
from etbac.models.data.splits import divide
from etbac.models.data.trees import files_below, refuse
from etbac.preprocessing import ImagePreprocessing, Preprocessing
from etbac.preprocessing.image import IMAGENET_MEAN, IMAGENET_STD
from etbac.preprocessing.pictures import SUFFIXES

PREPROCESSING = ImagePreprocessing("image", 512, 512, 3, 1 / 255, IMAGENET_MEAN, IMAGENET_STD)
WHAT = "a folder of pictures and masks"
NAMES = "classes.txt"
UNITS = ("file", "folder")
TREE = """
classes.txt                         the classes' names, one a line, in the order of their values (or: option classes)
images/**/<name>.jpg                (or .png …; in sub-folders too)
masks/**/<name>.png                 a class in every pixel, from 0; 255 is not counted
or, with published parts, the two folders in train/ and in val/:
train/images/…  train/masks/…  val/images/…  val/masks/…
"""


@dataclass(frozen=True)
class ImageMask:
    """The loader `image-mask`. `classes`: how many there are, where classes.txt does not name them.

    `unit`: which pictures are one independent unit. `file`: each is its own; `folder`: those of one sub-folder, as a
    patient's slices. Without published parts a fifth of the units, by the hash of their names, is the test part.
    """

    name: ClassVar[str] = "image-mask"
    task: ClassVar[str] = "segmentation"

    classes: int = 0
    unit: str = "file"

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise UsageError(f"the option unit of {self.name} is {' or '.join(UNITS)}; found {self.unit!r}")
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
        published = [self._pairs(folder / part) for part in _parts_of(folder)]
        train, test = published if len(published) == 2 else divide(published[0], [unit for *_, unit in published[0]])
        parts = {"train": _part(train, len(names), form), "test": _part(test, len(names), form)}
        return Opened(parts, names, form)

    def _pairs(self, folder: Path) -> list[_Pair]:
        """Every picture with its mask and its unit's name."""
        pictures, masks = (_by_name(folder / kind) for kind in ("images", "masks"))
        if lone := [path for name, path in pictures.items() if name not in masks]:
            raise InputError(f"{lone[0]} has no mask of its name in {folder / 'masks'}, as {len(lone)} pictures")
        if not pictures:
            raise InputError(f"{folder / 'images'} holds no pictures")
        return [(path, masks[name], self._unit(name)) for name, path in pictures.items()]

    def _unit(self, name: Path) -> str:
        return str(name.parent if self.unit == "folder" and len(name.parts) > 1 else name)

    def _names(self, folder: Path) -> tuple[str, ...]:
        if not (folder / NAMES).is_file():
            return tuple(f"class {place}" for place in range(self.classes))
        named = tuple(line for line in (folder / NAMES).read_text(encoding="utf-8").splitlines() if line.strip())
        if self.classes not in (0, len(named)):
            raise UsageError(f"{folder / NAMES} names {len(named)} classes, and the option classes is {self.classes}")
        return named


_Pair = tuple[Path, Path, str]


def _parts_of(folder: Path) -> tuple[str, ...]:
    return ("train", "val") if (folder / "train").is_dir() else ("",)


def _by_name(folder: Path) -> dict[Path, Path]:
    """The folder's pictures by their places in it without the suffix, in order."""
    return {path.relative_to(folder).with_suffix(""): path for path in files_below(folder, SUFFIXES)}


def _part(pairs: list[_Pair], classes: int, form: ImagePreprocessing) -> MaskPart:
    pictures, masks, units = zip(*pairs, strict=True)
    return MaskPart(list(pictures), list(masks), np.arange(256, dtype=np.uint8), classes, form, numbered(units))
