"""Heatmaps of key points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from etbac.errors import UnsupportedModelError
from etbac.models import heads
from etbac.models.heads.pose import deconvolutions
from etbac.models.tasks.base import Task, require_rank

STRIDE = 4
"""Pixels of the input for one of the heatmaps, in a row or column."""
SIDE_BY_SIGMA = 32


class Pose(Task):
    """The full model answers heatmaps [B, joints, H ÷ 4, W ÷ 4]; targets are float32 [B, joints, 4]: x and y in pixels
    of the input, visible (0 or 1), the head's size.

    The wanted heatmap of a visible joint is a Gaussian of height 1 around it, whose sigma is the longer side of the
    heatmap ÷ 32, and at least 1: 2 cells at 256², 3 at 384². Joints that are not visible, or outside, are not learned.
    Source: Xiao, Wu & Wei: Simple Baselines for Human Pose Estimation and Tracking, ECCV 2018.
    """

    name = "pose"
    metric = "pckh"
    gate = "keypoints"

    def check(self, prediction: Tensor, inputs: Mapping[str, Tensor] | None = None) -> None:
        require_rank(prediction, 4, "pose needs heatmaps [B, joints, height, width]")
        if inputs is None:
            return
        sizes = [tuple(value.shape[2:]) for value in inputs.values() if value.ndim == 4]
        wanted = tuple(STRIDE * side for side in prediction.shape[2:])
        if wanted not in sizes:
            found = ", ".join(f"{rows}×{columns}" for rows, columns in sizes) or "no pictures"
            raise UnsupportedModelError(
                f"the model answers heatmaps of {prediction.shape[2]}×{prediction.shape[3]} to {found}; pose needs "
                f"pictures {STRIDE} times as large as the heatmaps, {wanted[0]}×{wanted[1]}"
            )

    def head_for(
        self, features: Tensor, prediction: Tensor, module: str, trunk: nn.Module | None = None
    ) -> tuple[str, dict[str, Any]]:
        """The trunk's width where the head can begin with the trunk's own deconvolutions; else the head's default."""
        options = heads.options_for("conv-pose", features, prediction, module)
        own = deconvolutions(trunk)[-options["ups"] :] if trunk is not None and options["ups"] else []
        widths = {conv.out_channels for conv, _ in own}
        if len(own) == options["ups"] and len(widths) == 1 and own[0][0].in_channels == options["in_channels"]:
            options["hidden"] = widths.pop()
        return "conv-pose", options

    def loss(self, prediction: Tensor, targets: Tensor) -> Tensor:
        wanted, counted = gaussian_maps(targets, tuple(prediction.shape[2:]))
        error = (prediction - wanted).square().mean((2, 3))
        return (error * counted).mean()

    def imitation(self, prediction: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        return nn.functional.mse_loss(prediction, teacher)

    def gate_for(self, shape: Sequence[int | str | None]) -> str | None:
        """The smallest majority of the joints must be sure: 9 of 16."""
        joints = shape[1] if len(shape) == 4 else None
        return f"{self.gate}:m={joints // 2 + 1}" if isinstance(joints, int) else self.gate


def gaussian_maps(joints: Tensor, size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """[B, J, 4] -> wanted heatmaps [B, J, *size], and [B, J]: 1 where a joint is visible and inside, else 0."""
    height, width = size
    sigma = max(height, width, SIDE_BY_SIGMA) / SIDE_BY_SIGMA
    x, y = joints[..., 0] / STRIDE, joints[..., 1] / STRIDE
    inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    columns = torch.arange(width, device=joints.device, dtype=joints.dtype)
    rows = torch.arange(height, device=joints.device, dtype=joints.dtype)
    across = (columns - x.unsqueeze(-1)).square().unsqueeze(-2)
    down = (rows - y.unsqueeze(-1)).square().unsqueeze(-1)
    maps = torch.exp(-(across + down) / (2 * sigma**2))
    return maps, (inside & (joints[..., 2] > 0)).to(joints.dtype)
