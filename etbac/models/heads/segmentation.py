"""The head for class scores by pixel."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from etbac.models.heads.maps import ConvNormRelu, MapHead

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
        super().__init__(size, grid)
        self.layer = ConvNormRelu(nn.Conv2d(in_channels, hidden, 3, padding=1, bias=not norm), norm)
        self.output = nn.Conv2d(hidden, num_classes, 1)

    @staticmethod
    def own_options(answers: int, size: list[int], sides: list[int]) -> dict[str, Any]:
        return {"num_classes": answers}

    def maps(self, pooled: Tensor) -> Tensor:
        scores: Tensor = self.output(self.layer(pooled))
        return scores

    def fold_norm(self) -> None:
        self.layer.fold_norm()
