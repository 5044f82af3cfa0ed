"""The head for key points: deconvolutions up to the size of the full model's heatmaps."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from etbac.models.heads.maps import ConvNormRelu, MapHead

WIDTH = 64


class ConvPose(MapHead):
    """4×4 deconvolutions with stride 2, as many as lead from the features to the heatmaps, then one 1×1 convolution.

    `ups`: their number. Where there is none, a convolution with stride `down` (1 where the sizes are equal) stands in
    their place. A size that no power of two leads to is reached by bilinear interpolation. Features are `in_channels`
    wide, heatmaps [B, joints, size].
    Source: Xiao, Wu & Wei: Simple Baselines for Human Pose Estimation and Tracking, ECCV 2018 (there of width 256).
    """

    def __init__(
        self,
        in_channels: int,
        joints: int,
        size: list[int],
        ups: int,
        down: int = 1,
        hidden: int = WIDTH,
        norm: bool = True,
        grid: list[int] | None = None,
    ) -> None:
        super().__init__(size, grid)
        widths = [in_channels, *[hidden] * max(ups, 1)]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            conv = (
                nn.ConvTranspose2d(before, after, 4, 2, padding=1, bias=not norm)
                if ups
                else nn.Conv2d(before, after, _kernel(down), down, padding=_kernel(down) // 2, bias=not norm)
            )
            layers.append(ConvNormRelu(conv, norm))
        self.layers = nn.Sequential(*layers)
        self.output = nn.Conv2d(hidden, joints, 1)

    @staticmethod
    def own_options(answers: int, size: list[int], sides: list[int]) -> dict[str, Any]:
        larger = min(wanted / side for wanted, side in zip(size, sides, strict=True))
        options = {"joints": answers, "ups": max(0, math.floor(math.log2(larger)))}
        return options if larger >= 1 else {**options, "down": max(1, round(1 / larger))}

    def maps(self, pooled: Tensor) -> Tensor:
        heatmaps: Tensor = self.output(self.layers(pooled))
        return heatmaps

    def fold_norm(self) -> None:
        for layer in self.layers:
            if isinstance(layer, ConvNormRelu):
                layer.fold_norm()

    def start_from(self, trunk: nn.Module) -> None:
        """From the end on, each layer takes the trunk's deconvolution in its place, with its normalisation, and the
        output the trunk's own, where shapes agree."""
        found = deconvolutions(trunk)
        for layer, (conv, norm) in zip(reversed(self.layers), reversed(found), strict=False):
            if isinstance(layer, ConvNormRelu) and _copy(conv, layer.conv):
                _copy(norm, layer.norm)
        outputs = [module for module in trunk.modules() if isinstance(module, nn.Conv2d)]
        if found and outputs:
            _copy(outputs[-1], self.output)


def deconvolutions(trunk: nn.Module) -> list[tuple[nn.ConvTranspose2d, nn.Module | None]]:
    """The trunk's transposed convolutions in order, each with the batch normalisation that stands after it."""
    modules = list(trunk.modules())
    found: list[tuple[nn.ConvTranspose2d, nn.Module | None]] = []
    for module, after in zip(modules, [*modules[1:], None], strict=True):
        if isinstance(module, nn.ConvTranspose2d):
            found.append((module, after if isinstance(after, nn.BatchNorm2d) else None))
    return found


def _kernel(stride: int) -> int:
    """The smallest odd kernel of at least 3 that leaves nothing out."""
    return max(3, stride + 1 - stride % 2)


def _copy(source: nn.Module | None, target: nn.Module) -> bool:
    """Copy a layer's tensors if the target has the same ones in the same shapes."""
    if source is None:
        return False
    found, wanted = source.state_dict(), target.state_dict()
    if {name: tensor.shape for name, tensor in found.items()} != {name: t.shape for name, t in wanted.items()}:
        return False
    with torch.no_grad():
        target.load_state_dict(found)
    return True
