"""Sound files as waveforms."""

from __future__ import annotations

import math
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError, MissingPackageError, one_line

SUFFIXES = frozenset({".wav", ".ogg", ".flac"})

Wave = npt.NDArray[np.float32]


def read_sound(path: Path, rate: int) -> Wave:
    """float32 [n], −1 … 1, at `rate` samples a second; several channels are averaged.

    PCM in a wav file needs no package; other forms need soundfile, and another rate than the file's needs scipy
    (polyphase resampling): MissingPackageError without. InputError for a damaged or an empty file.
    """
    found, had = _read_pcm(path) or _read_any(path)
    if not len(found):
        raise InputError(f"{path} holds no sound; remove it")
    mono = found.mean(axis=1, dtype=np.float32)
    return mono if had == rate else _resampled(path, mono, had, rate)


def _read_pcm(path: Path) -> tuple[Wave, int] | None:
    """[n, channels] and the rate, of PCM with 8, 16, 24 or 32 bits; None for what the standard library cannot read."""
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            expected = file.getnframes() * width * channels
            data = file.readframes(file.getnframes())
    except FileNotFoundError:
        raise InputError(f"{path} is not there any more") from None
    except (wave.Error, EOFError):
        return None
    if width > 4:
        return None
    if len(data) != expected:
        raise InputError(f"{path} is cut short; remove or replace it")
    return _scaled(data, width).reshape(-1, channels), rate


def _scaled(data: bytes, width: int) -> Wave:
    """PCM samples as −1 … 1; 8 bits are unsigned, more are signed, little-endian."""
    if width == 1:
        unsigned = np.frombuffer(data, np.uint8).astype(np.int16)
        return ((unsigned - 128) / 128).astype(np.float32)
    padded = np.zeros((len(data) // width, 4), np.uint8)
    padded[:, 4 - width :] = np.frombuffer(data, np.uint8).reshape(-1, width)
    scaled: Wave = (padded.view("<i4")[:, 0] / 2**31).astype(np.float32)
    return scaled


def _read_any(path: Path) -> tuple[Wave, int]:
    try:
        import soundfile
    except ImportError:
        raise MissingPackageError(
            f"{path} is not PCM in a wav file; reading it needs soundfile. Install it: pip install soundfile"
        ) from None
    try:
        samples, rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise InputError(f"{path} is a damaged sound or none ({one_line(error)}); remove or replace it") from None
    return samples, int(rate)


def _resampled(path: Path, sound: Wave, had: int, wanted: int) -> Wave:
    try:
        from scipy.signal import resample_poly
    except ImportError:
        raise MissingPackageError(
            f"{path} has {had} samples a second and the model takes {wanted}; resampling needs scipy. "
            "Install it: pip install scipy"
        ) from None
    common = math.gcd(had, wanted)
    found: Wave = resample_poly(sound, wanted // common, had // common).astype(np.float32)
    return found
