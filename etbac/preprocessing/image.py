"""Pictures as a model's input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError, MissingPackageError
from etbac.preprocessing.counts import require_whole

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
RESIZING = ("stretch", "crop")


@dataclass(frozen=True)
class ImagePreprocessing:
    """Pictures -> the input named `input`, float32 [B, channels, height, width].

    A picture of another size is stretched to `height` × `width`; or, where `resize` is "crop", made just large enough
    that this is the share `crop` of it, and cut out of its middle (ImageNet: 224 of a short side of 256, a share of
    0.875). Bilinear, antialiased. A pixel p (uint8) then becomes (p × scale − mean) ÷ std; `mean` and `std` have one
    entry a channel.
    """

    kind: ClassVar[str] = "image"

    input: str
    height: int
    width: int
    channels: int
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str = "stretch"
    crop: float = 1.0

    def __post_init__(self) -> None:
        require_whole(height=self.height, width=self.width, channels=self.channels)
        if not len(self.mean) == len(self.std) == self.channels:
            raise InputError(
                f"mean and std have one entry a channel; found {len(self.mean)} and {len(self.std)} for {self.channels}"
            )
        if self.resize not in RESIZING or not 0 < self.crop <= 1:
            raise InputError(
                f"pictures are resized by {' or '.join(RESIZING)}, to a share above 0 and at most 1; "
                f"found {self.resize!r} and {self.crop}"
            )

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> ImagePreprocessing:
        values = {key: value for key, value in data.items() if key != "kind"}
        return ImagePreprocessing(**{**values, "mean": tuple(data["mean"]), "std": tuple(data["std"])})

    def apply(self, raws: npt.NDArray[np.uint8] | Sequence[npt.NDArray[np.uint8]]) -> dict[str, npt.NDArray[Any]]:
        """uint8 [h, w, channels] each (a whole array where they have one size) -> {input: float32 [B, C, H, W]}.

        A grey picture [h, w, 1] fills three channels; InputError for another number of them.
        """
        expected = (self.height, self.width, self.channels)
        images = raws if isinstance(raws, np.ndarray) and raws.shape[1:] == expected else self._fitted(raws)
        scale = np.float32(self.scale) / np.asarray(self.std, np.float32)
        offset = np.asarray(self.mean, np.float32) / np.asarray(self.std, np.float32)
        pixels = images.astype(np.float32) * scale - offset
        return {self.input: np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))}

    def fit(self, image: npt.NDArray[np.uint8], *, nearest: bool = False) -> npt.NDArray[np.uint8]:
        """One picture (uint8 [h, w] or [h, w, 1 or 3]) resized to [height, width, …].

        `nearest` takes values as they are (masks); the geometry is the same.
        """
        if image.shape[:2] == (self.height, self.width):
            return image
        try:
            from PIL import Image
        except ImportError:
            raise MissingPackageError("resizing pictures needs Pillow. Install it: pip install pillow") from None
        if image.ndim == 3 and image.shape[2] not in (1, 3):
            raise InputError(f"pictures of 1 or 3 channels can be resized; one of shape {image.shape} was given")
        flat = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
        method = Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR
        box = self._box(image.shape[0], image.shape[1])
        resized = Image.fromarray(flat).resize((self.width, self.height), method, box)
        return np.asarray(resized, np.uint8).reshape(self.height, self.width, *image.shape[2:])

    def _box(self, height: int, width: int) -> tuple[float, float, float, float]:
        """What of the picture is seen: left, top, right, bottom."""
        if self.resize == "stretch":
            return 0, 0, width, height
        ratio = min(height / self.height, width / self.width) * self.crop
        seen_height, seen_width = ratio * self.height, ratio * self.width
        top, left = (height - seen_height) / 2, (width - seen_width) / 2
        return left, top, left + seen_width, top + seen_height

    def _fitted(self, raws: Sequence[npt.NDArray[np.uint8]] | npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        fitted = np.empty((len(raws), self.height, self.width, self.channels), np.uint8)
        for row, image in enumerate(raws):
            if image.ndim == 3 and (image.shape[2], self.channels) == (1, 3):
                image = image.repeat(3, axis=2)
            if image.ndim != 3 or image.shape[2] != self.channels:
                raise InputError(
                    f"a picture of shape {image.shape} was given; the model takes {self.channels} "
                    f"channel{'s' if self.channels > 1 else ''}: (height, width, {self.channels})"
                )
            fitted[row] = self.fit(image)
        return fitted
