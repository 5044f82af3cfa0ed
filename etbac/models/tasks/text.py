"""One class, or one number, for each text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from etbac.models.tasks.classification import Classification


class Text(Classification):
    """The full model answers logits [B, classes] and targets are classes int64 [B]; or it answers numbers [B, 1] and
    targets are float32 [B].

    A number has no probability, so there every head has one more output, which it learns from its own errors: the
    confidence is minus the absolute error that it expects, in the targets' unit. The gate `learned` reads it.
    """

    name = "text"

    def head_for(
        self, features: Tensor, prediction: Tensor, module: str, trunk: nn.Module | None = None
    ) -> tuple[str, dict[str, Any]]:
        name, options = super().head_for(features, prediction, module, trunk)
        return name, {**options, "scored": True} if prediction.shape[1] == 1 else options

    def loss(self, prediction: Tensor, targets: Tensor) -> Tensor:
        if targets.is_floating_point():
            return _number_loss(prediction, targets.reshape(-1, 1))
        return super().loss(prediction, targets)

    def imitation(self, prediction: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        if teacher.shape[1] == 1:
            return _number_loss(prediction, teacher)
        return super().imitation(prediction, teacher, temperature)

    def gate_for(self, shape: Sequence[int | str | None]) -> str | None:
        return "learned" if len(shape) == 2 and shape[1] == 1 else self.gate


def _number_loss(prediction: Tensor, wanted: Tensor) -> Tensor:
    """Squared error of the number [B, 1] and, where there is a second column, of the error that it tells of itself."""
    number, confidence = prediction[:, :1], prediction[:, 1:]
    loss = nn.functional.mse_loss(number, wanted)
    if confidence.shape[1] == 0:
        return loss
    error = (number.detach() - wanted).abs()
    return loss + nn.functional.mse_loss(confidence, -error)
