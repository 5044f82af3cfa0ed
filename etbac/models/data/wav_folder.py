"""Sounds in folders by label: any speech or sound classification."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from etbac.errors import UsageError
from etbac.models.data.loader import Opened, of_kind
from etbac.models.data.parts import SoundPart, numbered
from etbac.models.data.splits import divide
from etbac.models.data.trees import files_below, folders, published_parts, refuse
from etbac.preprocessing import AudioPreprocessing, Preprocessing
from etbac.preprocessing.sounds import SUFFIXES

PREPROCESSING = AudioPreprocessing("input_values", 16_000, 16_000, normalize=True)
WHAT = "a folder of sounds by label"
TESTS = ("test", "val", "validation")
UNITS = ("file", "stem", "folder")
TREE = """
<label>/**/*.wav                    a folder for each label; .ogg and .flac too, in sub-folders too
or, with published parts:
train/<label>/**/*.wav  test/<label>/**/*.wav
"""


@dataclass(frozen=True)
class WavFolder:
    """The loader `wav-folder`. `unit`: which files are one independent unit.

    `file`: each is its own; `stem`: files of the same name, as a prompt that several voices or languages say;
    `folder`: those of sub-folders of one name, as a speaker's under several labels. Without published parts a fifth of
    the units, by the hash of their names, is the test part.
    """

    name: ClassVar[str] = "wav-folder"
    task: ClassVar[str] = "speech"

    unit: str = "file"

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise UsageError(f"the option unit of {self.name} is {', '.join(UNITS)}; found {self.unit!r}")

    def check(self, folder: Path) -> None:
        parts = published_parts(folder, TESTS)
        if len(folders(parts[0])) < 2:
            refuse(folder, WHAT, TREE, "folders of two labels or more")

    def open(self, folder: Path, preprocessing: Preprocessing | None = None) -> Opened:
        self.check(folder)
        form = of_kind(self, preprocessing, AudioPreprocessing, PREPROCESSING)
        places = published_parts(folder, TESTS)
        labels = tuple(path.name for path in folders(places[0]))
        if extra := [path.name for place in places for path in folders(place) if path.name not in labels]:
            refuse(folder, WHAT, TREE, f"the label {extra[0]!r} of its test part in train/")
        listed = [self._files(place, labels) for place in places]
        if not all(listed):
            refuse(folder, WHAT, TREE, f"sounds ({', '.join(sorted(SUFFIXES))})")
        train, test = listed if len(listed) == 2 else divide(listed[0], [unit for _, _, unit in listed[0]])
        return Opened({"train": _part(train, form), "test": _part(test, form)}, labels, form)

    def _files(self, place: Path, labels: tuple[str, ...]) -> list[_Sound]:
        """Every file with the place of its label and its unit's name."""
        found = []
        for number, label in enumerate(labels):
            for file in files_below(place / label, SUFFIXES):
                inside = file.relative_to(place / label)
                own = f"{label}/{inside}"
                lone = self.unit == "file" or (self.unit == "folder" and len(inside.parts) == 1)
                shared = file.stem if self.unit == "stem" else str(inside.parent)
                found.append((file, number, own if lone else shared))
        return found


_Sound = tuple[Path, int, str]


def _part(sounds: list[_Sound], form: AudioPreprocessing) -> SoundPart:
    files, labels, units = zip(*sounds, strict=True)
    return SoundPart(list(files), np.array(labels, np.int64), form, numbered(units))
