"""MPII Human Pose: people in pictures with 16 joints each, and a rectangle around the head.

Source: Andriluka et al. 2014 (the page of the annotations describes the structure RELEASE); Xiao, Wu, Wei 2018 (simple
baselines) for the same as train.json and valid.json. Both count pixels from 1. The published test part has no joints:
valid.json is the test part here, or, of the .mat file alone, every fifth video by the hash of its number.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from etbac.models.data.loader import Opened, of_kind
from etbac.models.data.mpii_json import read_json
from etbac.models.data.mpii_mat import read_mat
from etbac.models.data.parts import numbered
from etbac.models.data.people import People, PeoplePart
from etbac.models.data.trees import refuse
from etbac.preprocessing import ImagePreprocessing, Preprocessing
from etbac.preprocessing.image import IMAGENET_MEAN, IMAGENET_STD

PREPROCESSING = ImagePreprocessing("image", 256, 256, 3, 1 / 255, IMAGENET_MEAN, IMAGENET_STD)
JOINTS = (
    *("right ankle", "right knee", "right hip", "left hip", "left knee", "left ankle", "pelvis", "thorax"),
    *("upper neck", "head top", "right wrist", "right elbow", "right shoulder"),
    *("left shoulder", "left elbow", "left wrist"),
)
MAT = "mpii_human_pose_v1_u12_1.mat"
TREE = f"""
images/*.jpg                        of mpii_human_pose_v1.tar.gz
annot/train.json, annot/valid.json  as the authors of the simple baselines publish them
annot/gt_valid.mat                  with them: the heads' rectangles
or, in place of annot/:
{MAT}        of mpii_human_pose_v1_u12_2.zip
"""


@dataclass(frozen=True)
class Mpii:
    """The loader `mpii`. People in one picture are one unit; in one video, where the .mat file names it.

    The head's size is 0.6 × the diagonal of its rectangle. Where there is none (train.json has none): the distance from
    the upper neck to the head top, which that is meant to be; or, where one of them is not annotated, an eighth of the
    person's height.
    """

    name: ClassVar[str] = "mpii"
    task: ClassVar[str] = "pose"

    def check(self, folder: Path) -> None:
        if not (folder / "images").is_dir():
            refuse(folder, "MPII as published", TREE, "images/")
        if not _has_json(folder) and _mat(folder) is None:
            refuse(folder, "MPII as published", TREE, f"annot/train.json with annot/valid.json, and {MAT}")

    def open(self, folder: Path, preprocessing: Preprocessing | None = None) -> Opened:
        self.check(folder)
        form = of_kind(self, preprocessing, ImagePreprocessing, PREPROCESSING)
        mat = _mat(folder)
        if _has_json(folder):
            train, test = (read_json(folder, part, len(JOINTS)) for part in ("train", "valid"))
        else:
            assert mat is not None
            train, test = read_mat(mat, folder / "images", len(JOINTS))
        return Opened({"train": _part(train, form), "test": _part(test, form)}, (), form)


def _part(people: People, form: ImagePreprocessing) -> PeoplePart:
    return PeoplePart(people, form, numbered(people.units or people.pictures))


def _has_json(folder: Path) -> bool:
    return all((folder / "annot" / f"{part}.json").is_file() for part in ("train", "valid"))


def _mat(folder: Path) -> Path | None:
    """The annotations beside the pictures, or in the folder that the archive makes."""
    places = (folder, folder / "annot", folder / "mpii_human_pose_v1_u12_2")
    return next((place / MAT for place in places if (place / MAT).is_file()), None)
