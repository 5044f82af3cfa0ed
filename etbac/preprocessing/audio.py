"""Sounds as a model's input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError
from etbac.preprocessing.counts import require_whole


@dataclass(frozen=True)
class AudioPreprocessing:
    """Waveforms at `rate` samples a second -> the input named `input`, float32 [B, length].

    Longer ones are cut at their end, shorter ones filled with zeros there. With `normalize` what is left of each has
    mean 0 and variance 1 before it is filled (Wav2Vec2's feature extractor, Baevski et al. 2020).
    """

    kind: ClassVar[str] = "audio"

    input: str
    rate: int
    length: int
    normalize: bool = False

    def __post_init__(self) -> None:
        require_whole(rate=self.rate, length=self.length)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> AudioPreprocessing:
        return AudioPreprocessing(**{key: value for key, value in data.items() if key != "kind"})

    def apply(self, raws: Sequence[npt.NDArray[np.float32]]) -> dict[str, npt.NDArray[Any]]:
        """float32 [n] each, at the model's rate, −1 … 1."""
        filled = np.zeros((len(raws), self.length), np.float32)
        for row, wave in enumerate(raws):
            if wave.ndim != 1 or not len(wave):
                raise InputError(f"a sound of shape {wave.shape} was given; one channel with a sample or more is taken")
            kept = wave[: self.length]
            filled[row, : len(kept)] = _normal(kept) if self.normalize else kept
        return {self.input: filled}


def _normal(wave: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    normal: npt.NDArray[np.float32] = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
    return normal
