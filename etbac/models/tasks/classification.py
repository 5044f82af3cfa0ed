"""One class for each sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from etbac.models import heads
from etbac.models.tasks.base import Task, divergence, require_rank


class Classification(Task):
    """The full model answers logits [B, classes]; targets are classes int64 [B]."""

    name = "classification"
    metric = "accuracy"

    def check(self, prediction: Tensor, inputs: Mapping[str, Tensor] | None = None) -> None:
        require_rank(prediction, 2, f"{self.name} needs logits [B, classes]")

    def head_for(
        self, features: Tensor, prediction: Tensor, module: str, trunk: nn.Module | None = None
    ) -> tuple[str, dict[str, Any]]:
        name = heads.by_rank(features, module)
        return name, heads.options_for(name, features, prediction, module)

    def loss(self, prediction: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(prediction, targets)

    def imitation(self, prediction: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        return divergence(prediction, teacher, temperature).mean()
