"""How pictures become a model's input, as data that a checkpoint and a manifest can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError


@dataclass(frozen=True)
class ImagePreprocessing:
    """Pictures of `height` × `width` pixels and `channels` channels -> the input named `input`, float32 [B, C, H, W].

    A pixel p (uint8) becomes (p × scale − mean) ÷ std; `mean` and `std` have one entry a channel.
    """

    input: str
    height: int
    width: int
    channels: int
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        return {"kind": "image", **asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> ImagePreprocessing:
        values = {key: value for key, value in data.items() if key != "kind"}
        return ImagePreprocessing(**{**values, "mean": tuple(data["mean"]), "std": tuple(data["std"])})

    def apply(self, images: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
        """uint8 [B, height, width, channels] -> {input: float32 [B, channels, height, width]}.

        InputError for pictures of another shape.
        """
        expected = (self.height, self.width, self.channels)
        if images.shape[1:] != expected:
            raise InputError(
                f"pictures of shape {images.shape[1:]} were given; the model takes {expected} (height, width, channels)"
            )
        scale = np.float32(self.scale) / np.asarray(self.std, np.float32)
        offset = np.asarray(self.mean, np.float32) / np.asarray(self.std, np.float32)
        pixels = images.astype(np.float32) * scale - offset
        return {self.input: np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))}
