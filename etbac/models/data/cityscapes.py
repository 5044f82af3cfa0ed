"""Cityscapes: street scenes of 2048 × 1024 pixels with a class for every pixel, 19 of which are trained and scored.

Source: Cordts et al. 2016; the layout, the names of the files and the table of classes are those of cityscapesScripts
(README, helpers/labels.py). The masks of the published test part hold nothing: val is the test part here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError
from etbac.models.data.loader import Opened, of_kind
from etbac.models.data.masks import NOT_COUNTED, MaskPart
from etbac.models.data.trees import folders, refuse
from etbac.preprocessing import ImagePreprocessing, Preprocessing
from etbac.preprocessing.image import IMAGENET_MEAN, IMAGENET_STD

CLASSES = {
    7: "road",
    8: "sidewalk",
    11: "building",
    12: "wall",
    13: "fence",
    17: "pole",
    19: "traffic light",
    20: "traffic sign",
    21: "vegetation",
    22: "terrain",
    23: "sky",
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
"""The id in `*_labelIds.png` -> the class; their order is that of the train ids."""

PREPROCESSING = ImagePreprocessing("image", 512, 1024, 3, 1 / 255, IMAGENET_MEAN, IMAGENET_STD)
WHAT = "Cityscapes as published"
PICTURE, LABEL_IDS, TRAIN_IDS = "_leftImg8bit.png", "_gtFine_labelIds.png", "_gtFine_labelTrainIds.png"
TREE = """
leftImg8bit/                        of leftImg8bit_trainvaltest.zip
  train/<city>/<city>_<sequence>_<frame>_leftImg8bit.png
  val/<city>/…
gtFine/                             of gtFine_trainvaltest.zip
  train/<city>/<city>_<sequence>_<frame>_gtFine_labelIds.png      (or …_gtFine_labelTrainIds.png)
  val/<city>/…
"""


@dataclass(frozen=True)
class Cityscapes:
    """The loader `cityscapes`."""

    name: ClassVar[str] = "cityscapes"
    task: ClassVar[str] = "segmentation"

    def check(self, folder: Path) -> None:
        for place in (f"{kind}/{part}" for kind in ("leftImg8bit", "gtFine") for part in ("train", "val")):
            if not folders(folder / place):
                refuse(folder, WHAT, TREE, f"folders of cities in {place}/")

    def open(self, folder: Path, preprocessing: Preprocessing | None = None) -> Opened:
        self.check(folder)
        form = of_kind(self, preprocessing, ImagePreprocessing, PREPROCESSING)
        parts = {"train": _part(folder, "train", form), "test": _part(folder, "val", form)}
        return Opened(parts, tuple(CLASSES.values()), form)


def _part(folder: Path, part: str, form: ImagePreprocessing) -> MaskPart:
    cities = folders(folder / "leftImg8bit" / part)
    pictures = [file for city in cities for file in sorted(city.glob(f"*{PICTURE}"))]
    if not pictures:
        refuse(folder, WHAT, TREE, f"pictures *{PICTURE} in leftImg8bit/{part}/")
    for ending, table in ((LABEL_IDS, _of_label_ids()), (TRAIN_IDS, _of_train_ids())):
        masks = [_mask_of(folder, part, picture, ending) for picture in pictures]
        missing = [mask for mask in masks if not mask.is_file()]
        if not missing:
            return MaskPart(pictures, masks, table, len(CLASSES), form)
        if len(missing) < len(masks):
            raise InputError(f"{missing[0]} is not there, as {len(missing)} masks of {len(masks)}; unpack gtFine again")
    return refuse(folder, WHAT, TREE, f"masks *{LABEL_IDS} in gtFine/{part}/")


def _mask_of(folder: Path, part: str, picture: Path, ending: str) -> Path:
    return folder / "gtFine" / part / picture.parent.name / (picture.name.removesuffix(PICTURE) + ending)


def _of_label_ids() -> npt.NDArray[np.uint8]:
    table = np.full(256, NOT_COUNTED, np.uint8)
    table[list(CLASSES)] = np.arange(len(CLASSES))
    return table


def _of_train_ids() -> npt.NDArray[np.uint8]:
    return np.arange(256, dtype=np.uint8)
