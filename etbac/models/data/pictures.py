"""Pictures without labels: exits learn the answers that a trained model gives to them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from etbac.errors import UsageError
from etbac.models.data.image_folder import PREPROCESSING
from etbac.models.data.loader import NO_LABEL, Opened, of_kind
from etbac.models.data.parts import PicturePart, numbered
from etbac.models.data.splits import divide
from etbac.models.data.trees import files_below, published_parts, refuse
from etbac.preprocessing import ImagePreprocessing, Preprocessing
from etbac.preprocessing.pictures import SUFFIXES

WHAT = "a folder of pictures"
TESTS = ("test", "val")
UNITS = ("file", "folder")
TREE = """
**/*.jpg                            in sub-folders too; .png and others too
or, with a test part:
train/**/*.jpg  test/**/*.jpg
"""


@dataclass(frozen=True)
class Pictures:
    """The loader `pictures`. `unit`: which files are one independent unit.

    `file`: each is its own; `folder`: those of one sub-folder, as the frames of a film. Without a test part a fifth of
    the units, by the hash of their names, is it.
    """

    name: ClassVar[str] = "pictures"
    task: ClassVar[str] = "classification"

    unit: str = "file"

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise UsageError(f"the option unit of {self.name} is {' or '.join(UNITS)}; found {self.unit!r}")

    def check(self, folder: Path) -> None:
        if not all(files_below(place, SUFFIXES) for place in published_parts(folder, TESTS)):
            refuse(folder, WHAT, TREE, "pictures")

    def open(self, folder: Path, preprocessing: Preprocessing | None = None) -> Opened:
        form = of_kind(self, preprocessing, ImagePreprocessing, PREPROCESSING)
        places = published_parts(folder, TESTS)
        listed = [[(file, self._unit(file, place)) for file in files_below(place, SUFFIXES)] for place in places]
        if not all(listed):
            refuse(folder, WHAT, TREE, "pictures")
        train, test = listed if len(listed) == 2 else divide(listed[0], [unit for _, unit in listed[0]])
        return Opened({"train": _part(train, form), "test": _part(test, form)}, (), form, labelled=False)

    def _unit(self, file: Path, place: Path) -> str:
        inside = file.relative_to(place)
        lone = self.unit == "file" or len(inside.parts) == 1
        return str(inside if lone else inside.parent)


def _part(pictures: list[tuple[Path, str]], form: ImagePreprocessing) -> PicturePart:
    files, units = zip(*pictures, strict=True) if pictures else ((), ())
    return PicturePart(files, np.full(len(files), NO_LABEL), form, numbered(units))
