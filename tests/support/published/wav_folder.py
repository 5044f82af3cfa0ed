"""Sounds by label, in a sub-folder for each voice: <label>/<voice>/<prompt>.wav. A label is a pitch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from support.published.speech_commands import tone, write_wav

LABELS = {"high": 900.0, "low": 200.0}


def write(folder: Path, voices: int = 3, prompts: int = 10, rate: int = 8_000, seconds: float = 0.25) -> Path:
    random = np.random.default_rng(0)
    for label, pitch in LABELS.items():
        for voice in range(voices):
            for prompt in range(prompts):
                samples = tone(pitch + 10 * voice, rate, seconds, random)
                write_wav(folder / label / f"voice-{voice}" / f"prompt-{prompt}.wav", samples, rate)
    return folder
