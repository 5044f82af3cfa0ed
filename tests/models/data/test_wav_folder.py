from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.published import wav_folder

from etbac.errors import InputError
from etbac.models.data.parts import SoundPart
from etbac.models.data.wav_folder import WavFolder
from etbac.preprocessing import AudioPreprocessing

SHORT = AudioPreprocessing("x", 8_000, 2_000)


def part_of(folder: Path, part: str, **options: str) -> SoundPart:
    found = WavFolder(**options).open(folder, SHORT).parts[part]
    assert isinstance(found, SoundPart)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wav_folder.write(tmp_path_factory.mktemp("sounds"), voices=3, prompts=10)


def test_labels_are_the_folders(folder: Path) -> None:
    opened = WavFolder().open(folder, SHORT)
    assert opened.class_names == ("high", "low")
    assert (len(opened.parts["train"]), len(opened.parts["test"])) == (48, 12)
    for part in opened.parts.values():
        inputs, labels = part.read(np.arange(len(part)))
        loudest = np.abs(np.fft.rfft(inputs["x"])).argmax(axis=1) * 8_000 / 2_000
        np.testing.assert_array_equal(loudest > 500, labels == 0)


@pytest.mark.parametrize(
    ("unit", "of_file"),
    [("file", str), ("stem", lambda file: file.stem), ("folder", lambda file: file.parent.name)],
)
def test_units_are_files_prompts_or_voices(folder: Path, unit: str, of_file: object) -> None:
    train, test = (part_of(folder, part, unit=unit) for part in ("train", "test"))
    names = {part: [of_file(file) for file in found.files] for part, found in (("train", train), ("test", test))}  # type: ignore[operator]
    assert set(names["train"]).isdisjoint(names["test"])
    assert train.units is not None
    assert len(set(zip(names["train"], train.units.tolist(), strict=True))) == len(set(names["train"]))
    assert len(set(train.units)) == len(set(names["train"]))


def test_published_parts_are_taken_as_they_are(tmp_path: Path) -> None:
    wav_folder.write(tmp_path / "train", voices=1, prompts=4)
    wav_folder.write(tmp_path / "test", voices=1, prompts=2)
    assert (len(part_of(tmp_path, "train")), len(part_of(tmp_path, "test"))) == (8, 4)


def test_files_without_a_sub_folder_are_units_of_their_own(tmp_path: Path) -> None:
    wav_folder.write(tmp_path, voices=1, prompts=6)
    for file in tmp_path.glob("*/voice-0/*"):
        file.rename(file.parents[1] / file.name)
    train = part_of(tmp_path, "train", unit="folder")
    assert train.units is not None
    assert len(set(train.units)) == len(train)


def test_a_folder_without_sounds_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match="folders of two labels or more"):
        WavFolder().check(tmp_path)
    (tmp_path / "b").mkdir()
    with pytest.raises(InputError, match=r"lacks sounds \(\.flac, \.ogg, \.wav\)"):
        WavFolder().open(tmp_path)


def test_a_label_that_is_in_the_test_part_alone_is_refused(tmp_path: Path) -> None:
    wav_folder.write(tmp_path / "train", voices=1, prompts=2)
    wav_folder.write(tmp_path / "test", voices=1, prompts=2)
    (tmp_path / "test" / "high").rename(tmp_path / "test" / "loud")
    with pytest.raises(InputError, match="it lacks the label 'loud' of its test part in train/"):
        WavFolder().open(tmp_path, SHORT)


def test_hidden_files_are_no_sounds(folder: Path, tmp_path: Path) -> None:
    wav_folder.write(tmp_path, voices=1, prompts=6)
    for file in list(tmp_path.glob("*/*/*.wav")):
        file.with_name(f"._{file.name}").write_bytes(b"\0\5\x16\7")
    train, test = (part_of(tmp_path, part) for part in ("train", "test"))
    assert not any(file.name.startswith(".") for file in (*train.files, *test.files))
    assert len(train) + len(test) == 12
