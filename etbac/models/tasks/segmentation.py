"""One class for each pixel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from etbac.models import heads
from etbac.models.tasks.base import Task, divergence, require_rank

NOT_COUNTED = 255


class Segmentation(Task):
    """The full model answers logits [B, classes, h, w]; targets are masks int64 [B, H, W], 255 where nothing counts.

    The loss reads masks at the nearest pixel of each of the prediction's cells: at the usual quarter of the size that
    is a sixteenth of the work of enlarging predictions. (Metrics compare at the masks' size.)
    """

    name = "segmentation"
    metric = "miou"
    gate = "pixels"

    def check(self, prediction: Tensor, inputs: Mapping[str, Tensor] | None = None) -> None:
        require_rank(prediction, 4, "segmentation needs logits [B, classes, height, width]")

    def head_for(
        self, features: Tensor, prediction: Tensor, module: str, trunk: nn.Module | None = None
    ) -> tuple[str, dict[str, Any]]:
        return "conv-segmentation", heads.options_for("conv-segmentation", features, prediction, module)

    def loss(self, prediction: Tensor, targets: Tensor) -> Tensor:
        masks = _at_cells(targets, prediction)
        by_pixel = nn.functional.cross_entropy(prediction, masks, ignore_index=NOT_COUNTED, reduction="none")
        counted = (masks != NOT_COUNTED).sum((1, 2)).clamp(min=1)
        return (by_pixel.sum((1, 2)) / counted).mean()

    def imitation(self, prediction: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        return divergence(prediction, teacher, temperature).mean()


def _at_cells(masks: Tensor, prediction: Tensor) -> Tensor:
    """[B, H, W] -> [B, h, w]: the mask's pixel nearest to the middle of each of the prediction's cells."""
    size = tuple(prediction.shape[2:])
    if tuple(masks.shape[1:]) == size:
        return masks
    found = nn.functional.interpolate(masks.unsqueeze(1).float(), size, mode="nearest-exact")
    return found.squeeze(1).long()
