from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.published import speech_commands

from etbac.errors import InputError
from etbac.models.data.parts import SoundPart
from etbac.models.data.speech_commands import SpeechCommands
from etbac.preprocessing import AudioPreprocessing

SHORT = AudioPreprocessing("x", 16_000, 1_600)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return speech_commands.write(tmp_path, speakers=10, takes=2, seconds=0.1)


def listed(folder: Path, name: str) -> set[str]:
    return set((folder / name).read_text().split())


def named(part: object) -> list[str]:
    assert isinstance(part, SoundPart)
    return [f"{file.parent.name}/{file.name}" for file in part.files]


def test_the_published_lists_are_honoured(folder: Path) -> None:
    """Names, lists and the folder of noise as the data set's README describes them."""
    opened = SpeechCommands().open(folder, SHORT)
    assert opened.class_names == ("down", "no", "yes")
    assert set(named(opened.parts["test"])) == listed(folder, "testing_list.txt")
    train = named(opened.parts["train"])
    assert len(train) == 10 * 2 * 3 - len(listed(folder, "testing_list.txt"))
    assert opened.validation is not None
    validation = {name for name, chosen in zip(train, opened.validation, strict=True) if chosen}
    assert validation == listed(folder, "validation_list.txt")


def test_a_speaker_is_a_unit(folder: Path) -> None:
    part = SpeechCommands().open(folder, SHORT).parts["train"]
    speakers = [name.split("/")[1].split("_")[0] for name in named(part)]
    assert part.units is not None
    assert len(set(zip(speakers, part.units.tolist(), strict=True))) == len(set(speakers)) == len(set(part.units))


def test_sounds_are_those_of_their_words(folder: Path) -> None:
    opened = SpeechCommands().open(folder, SHORT)
    inputs, labels = opened.parts["test"].read(np.arange(len(opened.parts["test"])))
    loudest = np.abs(np.fft.rfft(inputs["x"])).argmax(axis=1) * 16_000 / 1_600
    pitches = [speech_commands.PITCHES[opened.class_names[label]] for label in labels]
    np.testing.assert_allclose(loudest, pitches, atol=5)


def test_no_sound_is_opened_before_it_is_read(folder: Path) -> None:
    for file in folder.glob("yes/*.wav"):
        file.write_bytes(b"no sound")
    part = SpeechCommands().open(folder, SHORT).parts["train"]
    yes = next(row for row, name in enumerate(named(part)) if name.startswith("yes/"))
    part.read(np.array([0]))
    with pytest.raises(InputError, match=r"yes/.*wav is a damaged sound or none"):
        part.read(np.array([yes]))


def test_words_that_were_left_out_are_no_fault_but_lost_files_are(folder: Path) -> None:
    for file in folder.glob("no/*.wav"):
        file.unlink()
    (folder / "no").rmdir()
    assert SpeechCommands().open(folder, SHORT).class_names == ("down", "yes")
    (folder / sorted(listed(folder, "testing_list.txt"))[0]).unlink()
    with pytest.raises(InputError, match=r"testing_list\.txt lists down/.*1 files are lost"):
        SpeechCommands().open(folder, SHORT)


def test_a_folder_without_its_lists_is_refused(folder: Path) -> None:
    (folder / "validation_list.txt").unlink()
    with pytest.raises(InputError, match=r"lacks validation_list\.txt"):
        SpeechCommands().open(folder)
