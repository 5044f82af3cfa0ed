"""What heads that answer with maps share: tokens laid out as a map, convolutions with normalisation."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.utils.fusion import fuse_conv_bn_eval

from etbac.models.heads.base import Head
from etbac.models.heads.norm import BatchNorm2d

MOST_LEADING_TOKENS = 5
"""A class token and up to four registers stand before the tokens of the picture."""


class MapHead(Head):
    """For feature maps [B, C, H, W], or tokens [B, T, C] of a picture: `grid` is (rows, columns) of the last tokens.

    Answers maps of `size`; what its layers give is brought there by bilinear interpolation.
    """

    def __init__(self, size: list[int], grid: list[int] | None) -> None:
        super().__init__()
        self.size = (int(size[0]), int(size[1]))
        self.grid = None if grid is None else (int(grid[0]), int(grid[1]))

    @classmethod
    def fit(cls, features: Tensor, prediction: Tensor) -> dict[str, Any] | None:
        found = map_shape(features, prediction)
        if found is None:
            return None
        channels, sides, grid = found
        size = list(prediction.shape[2:])
        options = {"in_channels": channels, "size": size, **cls.own_options(prediction.shape[1], size, sides)}
        return options if grid is None else {**options, "grid": grid}

    @staticmethod
    @abstractmethod
    def own_options(answers: int, size: list[int], sides: list[int]) -> dict[str, Any]:
        """Options for that many maps of `size` from features of `sides`, besides those that all map heads have."""

    @abstractmethod
    def maps(self, pooled: Tensor) -> Tensor:
        """What the layers give: [B, answers, rows, columns]."""

    def classify(self, pooled: Tensor) -> Tensor:
        found = self.maps(pooled)
        return found if tuple(found.shape[2:]) == self.size else interpolate(found, self.size, mode="bilinear")

    def pool(self, features: Tensor, **inputs: Tensor) -> Tensor:
        if self.grid is None:
            return features
        rows, columns = self.grid
        picture = features[:, features.shape[1] - rows * columns :]
        laid_out: Tensor = picture.transpose(1, 2).unflatten(2, (rows, columns))
        return laid_out


class ConvNormRelu(nn.Module):
    """A convolution or transposed convolution, batch normalisation and a ReLU."""

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d, norm: bool) -> None:
        super().__init__()
        self.conv = conv
        self.norm: nn.Module = BatchNorm2d(conv.out_channels) if norm else nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.relu(self.norm(self.conv(x)))
        return result

    def fold_norm(self) -> None:
        """Merge the normalisation into the convolution."""
        if isinstance(self.norm, nn.BatchNorm2d):
            transposed = isinstance(self.conv, nn.ConvTranspose2d)
            self.conv = fuse_conv_bn_eval(self.conv.eval(), self.norm.eval(), transpose=transposed)
            self.norm = nn.Identity()


def map_shape(features: Tensor, prediction: Tensor) -> tuple[int, list[int], list[int] | None] | None:
    """(channels, [rows, columns], the grid where features are tokens) of features as a map beside a prediction
    [B, K, H, W]; None where they are none.

    Tokens are laid out in the prediction's proportions; as few as possible are left out before them.
    """
    if prediction.ndim != 4:
        return None
    if features.ndim == 4:
        return features.shape[1], list(features.shape[2:]), None
    if features.ndim != 3:
        return None
    _, tokens, channels = features.shape
    height, width = prediction.shape[2:]
    for count in range(tokens, max(tokens - MOST_LEADING_TOKENS, 1) - 1, -1):
        rows = round(math.sqrt(count * height / width))
        if rows and count % rows == 0 and rows * width == count // rows * height:
            return channels, [rows, count // rows], [rows, count // rows]
    return None
