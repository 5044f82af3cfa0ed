"""Speech Commands as its README describes it: <word>/<speaker>_nohash_<number>.wav, 16 kHz, 16 bits, and two lists.

A word is a tone of its own pitch.
"""

from __future__ import annotations

import hashlib
import wave
from pathlib import Path

import numpy as np

RATE = 16_000
PITCHES = {"down": 220.0, "no": 440.0, "yes": 880.0}


def write(folder: Path, speakers: int = 20, takes: int = 2, seconds: float = 1.0, seed: int = 0) -> Path:
    """Every speaker says every word `takes` times; two of ten speakers are for validation, two for testing."""
    random = np.random.default_rng(seed)
    lists: dict[str, list[str]] = {"validation_list.txt": [], "testing_list.txt": []}
    for number in range(speakers):
        speaker = hashlib.sha256(str(number).encode()).hexdigest()[:8]
        for word, pitch in PITCHES.items():
            for take in range(takes):
                name = f"{word}/{speaker}_nohash_{take}.wav"
                write_wav(folder / name, tone(pitch, RATE, seconds, random), RATE)
                for place, listed in enumerate(lists.values()):
                    if number % 5 == place:
                        listed.append(name)
    write_wav(folder / "_background_noise_" / "white_noise.wav", random.normal(0, 0.1, 3 * RATE), RATE)
    for file, names in lists.items():
        (folder / file).write_text("".join(f"{name}\n" for name in names))
    return folder


def tone(pitch: float, rate: int, seconds: float, random: np.random.Generator) -> np.ndarray:
    time = np.arange(int(rate * seconds)) / rate
    return 0.5 * np.sin(2 * np.pi * pitch * time) + random.normal(0, 0.02, len(time))


def write_wav(path: Path, samples: np.ndarray, rate: int) -> Path:
    """PCM of 16 bits; `samples` is [n] or [n, channels], −1 … 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path
