from __future__ import annotations

import os
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import support
from support.published.speech_commands import write_wav

from etbac.errors import InputError
from etbac.preprocessing.sounds import read_sound

HIDING = Path(support.__path__[0]) / "hidden_packages"
ROOT = Path(__file__).parents[2]
SOUND = (0.6 * np.sin(np.arange(800) / 9)).astype(np.float32)


def pcm(path: Path, width: int, samples: np.ndarray = SOUND, rate: int = 8_000) -> Path:
    """A wav file of `width` bytes a sample, as the standard describes it."""
    whole = np.round(samples.astype(np.float64) * (2 ** (8 * width - 1) - 1)).astype("<i8")
    data = (whole + 128).astype(np.uint8) if width == 1 else whole[:, None].view(np.uint8)[:, :width]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data.tobytes())
    return path


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_pcm_of_every_width_is_read(tmp_path: Path, width: int) -> None:
    found = read_sound(pcm(tmp_path / "a.wav", width), 8_000)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, SOUND, atol=2 ** (2 - 8 * width) + 1e-6)


def test_channels_are_averaged(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", np.stack([SOUND, -SOUND / 2], axis=1), 8_000)
    np.testing.assert_allclose(read_sound(path, 8_000), SOUND / 4, atol=1e-4)


@pytest.mark.parametrize(
    ("suffix", "subtype"), [("wav", "FLOAT"), ("wav", "ULAW"), ("flac", "PCM_16"), ("ogg", "VORBIS")]
)
def test_other_forms_are_read_by_soundfile(tmp_path: Path, suffix: str, subtype: str) -> None:
    soundfile = pytest.importorskip("soundfile")
    path = tmp_path / f"a.{suffix}"
    soundfile.write(str(path), SOUND, 8_000, subtype=subtype)
    found = read_sound(path, 8_000)
    assert found.shape == SOUND.shape
    assert abs(found - SOUND).mean() < 0.05


@pytest.mark.parametrize("rate", [4_000, 11_025, 16_000, 22_050])
def test_another_rate_keeps_pitch_and_length(tmp_path: Path, rate: int) -> None:
    time = np.arange(8_000) / 8_000
    path = pcm(tmp_path / "a.wav", 2, np.sin(2 * np.pi * 440 * time).astype(np.float32) / 2)
    found = read_sound(path, rate)
    assert len(found) == rate
    assert np.abs(np.fft.rfft(found)).argmax() == 440


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is a damaged sound or none"),
        (b"RIFF\x00\x00", "is a damaged sound or none"),
        ("cut", "is cut short"),
        ("empty", "holds no sound"),
        (None, "is not there any more"),
    ],
)
def test_a_damaged_sound_is_named(tmp_path: Path, content: bytes | str | None, message: str) -> None:
    pytest.importorskip("soundfile")
    path = tmp_path / "a.wav"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "cut":
        path.write_bytes(pcm(path, 2).read_bytes()[:-101])
    elif content == "empty":
        pcm(path, 2, SOUND[:0])
    with pytest.raises(InputError, match=rf"a\.wav {message}"):
        read_sound(path, 8_000)


@pytest.mark.parametrize(
    ("hidden", "message"),
    [
        ("soundfile=soundfile", "b.wav is not PCM in a wav file; reading it needs soundfile. Install it: pip install"),
        ("scipy=scipy", "a.wav has 8000 samples a second and the model takes 16000; resampling needs scipy"),
    ],
)
def test_a_missing_package_is_named_where_it_is_needed(tmp_path: Path, hidden: str, message: str) -> None:
    pcm(tmp_path / "a.wav", 2)
    (tmp_path / "b.wav").write_bytes(b"ID3 something else")
    program = (
        "import sys; from pathlib import Path; from etbac.preprocessing.sounds import read_sound\n"
        "folder = Path(sys.argv[1]); print(len(read_sound(folder / 'a.wav', 8000)))\n"
        "read_sound(folder / sys.argv[2], 16000)"
    )
    paths = [str(HIDING), str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "HIDDEN_PACKAGES": hidden}
    file = "b.wav" if "soundfile" in hidden else "a.wav"
    command = [sys.executable, "-c", program, str(tmp_path), file]
    found = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert found.stdout.strip() == "800"
    assert "MissingPackageError" in found.stderr
    assert message in found.stderr
