"""Speech Commands: one spoken word a file, of 16,000 samples a second and at most one second, by word.

Source: Warden 2018 and the data set's README: <word>/<speaker>_nohash_<number>.wav, and the published parts in
validation_list.txt and testing_list.txt, which keep each speaker in one part.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError
from etbac.models.data.loader import Opened, of_kind
from etbac.models.data.parts import SoundPart, numbered
from etbac.models.data.trees import by_class, folders, refuse
from etbac.preprocessing import AudioPreprocessing, Preprocessing

RATE = 16_000
PREPROCESSING = AudioPreprocessing("input_values", RATE, RATE, normalize=True)
LISTS = ("validation_list.txt", "testing_list.txt")
TREE = """
<word>/<speaker>_nohash_<number>.wav            as in down/0a7c2a8d_nohash_0.wav
validation_list.txt                             <word>/<file>, one a line
testing_list.txt
"""


@dataclass(frozen=True)
class SpeechCommands:
    """The loader `speech-commands`: every word is a class, a speaker is a unit; _background_noise_ is left out.

    testing_list.txt is the test part. The files of validation_list.txt are the first to be held out from training.
    """

    name: ClassVar[str] = "speech-commands"
    task: ClassVar[str] = "speech"

    def check(self, folder: Path) -> None:
        missing = [name for name in LISTS if not (folder / name).is_file()]
        if missing or not folders(folder):
            refuse(folder, "Speech Commands as published", TREE, " and ".join(missing) or "folders of words")

    def open(self, folder: Path, preprocessing: Preprocessing | None = None) -> Opened:
        self.check(folder)
        form = of_kind(self, preprocessing, AudioPreprocessing, PREPROCESSING)
        words = tuple(path.name for path in folders(folder))
        files, targets = by_class(folder, words, frozenset({".wav"}))
        names = [f"{file.parent.name}/{file.name}" for file in files]
        validation, testing = (_listed(folder / name, names) for name in LISTS)
        rows = {"train": np.flatnonzero(~testing), "test": np.flatnonzero(testing)}
        parts = {}
        for part, chosen in rows.items():
            of_part = [files[row] for row in chosen]
            units = numbered([file.name.partition("_nohash_")[0] for file in of_part])
            parts[part] = SoundPart(of_part, targets[chosen], form, units)
        return Opened(parts, words, form, validation=validation[rows["train"]])


def _listed(path: Path, names: list[str]) -> npt.NDArray[np.bool_]:
    """Which of the names the file lists; those of words that have no folder are left out."""
    listed = {line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()}
    words = {name.partition("/")[0] for name in names}
    if lost := {name for name in listed.difference(names) if name.partition("/")[0] in words}:
        raise InputError(f"{path} lists {min(lost)}, which is not there; {len(lost)} files are lost: unpack them again")
    return np.array([name in listed for name in names], np.bool_)
