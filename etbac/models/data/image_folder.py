"""Pictures in folders by class, as ImageNet is laid out for training: train/<class>/ and val/<class>/.

Source of the layout: Russakovsky et al. 2015 and the scripts that unpack ILSVRC2012 into a folder a class (names like
n01440764, files *.JPEG).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from etbac.models.data.loader import Opened, of_kind
from etbac.models.data.parts import PicturePart
from etbac.models.data.trees import by_class, folders, refuse
from etbac.preprocessing import ImagePreprocessing, Preprocessing
from etbac.preprocessing.image import IMAGENET_MEAN, IMAGENET_STD
from etbac.preprocessing.pictures import SUFFIXES

PREPROCESSING = ImagePreprocessing("image", 224, 224, 3, 1 / 255, IMAGENET_MEAN, IMAGENET_STD, "crop", 0.875)
WHAT = "a folder of pictures by class"
TREE = """
train/
  <class>/*.JPEG                    a folder for each class; .jpg, .png and others too
val/
  <class>/*.JPEG                    the same classes
"""


@dataclass(frozen=True)
class ImageFolder:
    """The loader `image-folder`: classes in the order of their folders' names; val/ is the test part."""

    name: ClassVar[str] = "image-folder"
    task: ClassVar[str] = "classification"

    def check(self, folder: Path) -> None:
        for part in ("train", "val"):
            if not folders(folder / part):
                refuse(folder, WHAT, TREE, f"folders of classes in {part}/")

    def open(self, folder: Path, preprocessing: Preprocessing | None = None) -> Opened:
        self.check(folder)
        form = of_kind(self, preprocessing, ImagePreprocessing, PREPROCESSING)
        classes = tuple(path.name for path in folders(folder / "train"))
        extra = [path.name for path in folders(folder / "val") if path.name not in classes]
        if extra:
            refuse(folder, WHAT, TREE, f"the class {extra[0]!r} of val/ in train/")
        train, test = (PicturePart(*by_class(folder / part, classes, SUFFIXES), form) for part in ("train", "val"))
        if not len(train) or not len(test):
            refuse(folder, WHAT, TREE, "pictures in its folders")
        return Opened({"train": train, "test": test}, classes, form)
