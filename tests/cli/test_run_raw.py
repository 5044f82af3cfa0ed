"""`etbac run` on texts and sounds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import support
from click.testing import CliRunner, Result
from support.published.speech_commands import write_wav
from support.published.texts import write_csv, write_jsonl, write_vocabulary
from support.raw_inputs import make_sound_engine_dir, make_text_engine_dir

from etbac.cli.main import cli
from etbac.preprocessing import AudioPreprocessing, TextPreprocessing

HIDING = Path(support.__path__[0]) / "hidden_packages"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    form = TextPreprocessing.from_files(write_vocabulary(folder / "model"), 12, ("input_ids", "attention_mask"))
    return make_text_engine_dir(folder / "engines", form, 12).path


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    form = AudioPreprocessing("wave", 8_000, 100)
    return make_sound_engine_dir(tmp_path_factory.mktemp("sounds") / "engines", form, 100).path


def run(engines: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["run", "--engine-dir", str(engines), *map(str, arguments)])


def predictions(engines: Path, path: Path, out: Path) -> np.ndarray:
    found = run(engines, "--input", path, "--batch-size", 2, "--output", out)
    assert found.exit_code == 0, found.output
    answers: np.ndarray = np.load(out)["prediction"]
    return answers


def test_every_form_of_texts_is_read_in_its_order(texts: Path, tmp_path: Path) -> None:
    lines = ["a film", "", "the very long day and the very long song and it was cold", "never"]
    (tmp_path / "a.txt").write_text("".join(f"{line}\n" for line in lines))
    write_csv(tmp_path / "a.csv", {"text": lines, "author": "abcd"})
    write_jsonl(tmp_path / "a.jsonl", {"text": lines})
    for name in ("a.txt", "a.csv", "a.jsonl"):
        assert predictions(texts, tmp_path / name, tmp_path / "out.npz")[:, 0].tolist() == [4, 2, 12, 3]


def test_pairs_of_texts_are_read(texts: Path, tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", {"text": ["a film"], "text2": ["the day"]})
    assert predictions(texts, tmp_path / "a.csv", tmp_path / "out.npz")[:, 0].tolist() == [7]


def test_sounds_are_read_in_the_order_of_names_and_what_was_cut_is_said(sounds: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sounds"
    write_wav(folder / "b.wav", np.full(50, 0.5), 8_000)
    write_wav(folder / "a.wav", np.full(150, 0.25), 8_000)
    write_wav(folder / "c.wav", np.full((100, 2), 0.125), 8_000)
    found = predictions(sounds, folder, tmp_path / "out.npz")
    np.testing.assert_allclose(found, [[25, 0.25], [25, 0.5], [12.5, 0.125]], rtol=1e-3)
    result = run(sounds, "--input", folder)
    assert "1 sound was cut to the model's 0.0125 s; the first was a.wav (0.02 s)" in result.stderr
    assert "a.wav" in result.stdout


@pytest.mark.parametrize(
    ("kind", "fill", "message"),
    [
        ("texts", lambda folder: folder / "no.txt", "no.txt: there is no such file or folder"),
        ("texts", lambda folder: folder, "input_ids, attention_mask, or a .txt, .csv or .jsonl file of texts"),
        ("texts", lambda folder: write_csv(folder / "a.csv", {"x": "a", "y": "b"}), "no text in a column 'text'"),
        ("sounds", lambda folder: folder, "holds no sounds"),
        ("sounds", lambda folder: write_wav(folder / "a.wav", np.zeros(5), 8_000), "or a folder of sounds (.wav, .ogg"),
        ("sounds", lambda folder: _text_among(folder), "notes.txt is a damaged sound or none"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, fill: object, message: str
) -> None:
    path: Path = fill(tmp_path)  # type: ignore[operator]
    result = run(request.getfixturevalue(kind), "--input", path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def _text_among(folder: Path) -> Path:
    (folder / "notes.txt").write_text("no sound")
    return folder


def test_texts_run_without_torch_and_transformers_and_ask_for_tokenizers(texts: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a film\n")
    for hidden, code in (("torch=torch transformers=transformers", 0), ("tokenizers=tokenizers", 1)):
        paths = [str(HIDING), str(ROOT), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "HIDDEN_PACKAGES": hidden}
        command = [sys.executable, "-m", "etbac", "run", "--engine-dir", str(texts), "--input", str(tmp_path / "a.txt")]
        found = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert found.returncode == code, found.stderr
        assert ("Install it: pip install tokenizers" in found.stderr) == bool(code)
        assert "Traceback" not in found.stderr


def test_inspect_says_what_run_takes_and_not_the_whole_vocabulary(texts: Path, sounds: Path) -> None:
    for engines, message in ((texts, "a .txt, .csv or .jsonl file of texts"), (sounds, "a folder of sounds")):
        assert message in " ".join(CliRunner().invoke(cli, ["inspect", str(engines)]).stdout.split())
    found = CliRunner().invoke(cli, ["inspect", str(texts), "--json"])
    assert found.exit_code == 0
    assert len(found.stdout) < 10_000
    assert "sha256" in found.stdout
