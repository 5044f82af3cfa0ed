"""The head for class scores by pixel."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from etbac.models.heads.maps import ConvNormRelu, MapHead, map_shape

WIDTH = 64


class ConvSegmentation(MapHead):
    """A 3×3 convolution, a 1×1 convolution to classes, bilinear interpolation to the full model's size.

    Features are `in_channels` wide, the prediction is [B, num_classes, size].
    Source: Long, Shelhamer & Darrell: Fully Convolutional Networks for Semantic Segmentation, CVPR 2015.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        size: list[int],
        hidden: int = WIDTH,
        norm: bool = True,
        grid: list[int] | None = None,
    ) -> None:
        super().__init__(grid)
        self.size = (int(size[0]), int(size[1]))
        self.layer = ConvNormRelu(nn.Conv2d(in_channels, hidden, 3, padding=1, bias=not norm), norm)
        self.output = nn.Conv2d(hidden, num_classes, 1)

    @classmethod
    def fit(cls, features: Tensor, prediction: Tensor) -> dict[str, Any] | None:
        found = map_shape(features, prediction)
        if found is None:
            return None
        channels, _, grid = found
        classes, *size = prediction.shape[1:]
        options: dict[str, Any] = {"in_channels": channels, "num_classes": classes, "size": size}
        return options if grid is None else {**options, "grid": grid}

    def classify(self, pooled: Tensor) -> Tensor:
        scores: Tensor = self.output(self.layer(pooled))
        if tuple(scores.shape[2:]) == self.size:
            return scores
        return nn.functional.interpolate(scores, self.size, mode="bilinear")

    def fold_norm(self) -> None:
        self.layer.fold_norm()
