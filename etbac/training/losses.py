"""What is minimised: of a trunk alone, of exits on a frozen trunk, of both together.

Each is a module whose forward pass gives the loss, so that data-parallel training can wrap it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from etbac.models.attach import ExitNetwork
from etbac.models.capture import prediction_of
from etbac.models.tasks import Task
from etbac.training.options import ExitOptions


@dataclass(frozen=True)
class Seen:
    """What the heads read of a batch, by exit id, the full model's answer, and the targets; rows on axis 0."""

    pooled: Mapping[int, Tensor]
    prediction: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def to(self, device: torch.device) -> Seen:
        pooled = {exit_id: tensor.to(device) for exit_id, tensor in self.pooled.items()}
        return Seen(pooled, self.prediction.to(device), self.targets.to(device))


class TrunkLoss(nn.Module):
    """The task's loss of the trunk's own answer."""

    def __init__(self, trunk: nn.Module, task: Task) -> None:
        super().__init__()
        self.trunk, self.task = trunk, task

    def forward(self, inputs: Mapping[str, Tensor], targets: Tensor) -> Tensor:
        return self.task.loss(prediction_of(self.trunk(**inputs)), targets)


class ExitLoss(nn.Module):
    """The sum of the exits' losses, on what the frozen trunk gives."""

    def __init__(self, heads: nn.ModuleDict, task: Task, options: ExitOptions) -> None:
        super().__init__()
        self.heads, self.task, self.options = heads, task, options

    def forward(self, seen: Seen) -> Tensor:
        return torch.stack(list(self.by_exit(seen).values())).sum()

    def by_exit(self, seen: Seen) -> dict[int, Tensor]:
        return {exit_id: self._of(exit_id, pooled, seen) for exit_id, pooled in seen.pooled.items()}

    def _of(self, exit_id: int, pooled: Tensor, seen: Seen) -> Tensor:
        answer = self.heads[str(exit_id)].classify(pooled)  # type: ignore[operator]
        weight = self.options.distillation
        if weight == 1:
            return self.task.imitation(answer, seen.prediction, self.options.temperature)
        loss = (1 - weight) * self.task.loss(answer, seen.targets)
        if weight:
            loss = loss + weight * self.task.imitation(answer, seen.prediction, self.options.temperature)
        return loss


class JointLoss(nn.Module):
    """The trunk's loss and the mean of its exits', all trained together; the exits imitate the answer as it is now."""

    def __init__(self, network: ExitNetwork, task: Task, options: ExitOptions) -> None:
        super().__init__()
        self.network, self.task = network, task
        self.exits = ExitLoss(network.heads, task, options)

    def forward(self, inputs: Mapping[str, Tensor], targets: Tensor) -> Tensor:
        pooled, prediction = self.network.pooled(**inputs)
        seen = Seen(pooled, prediction.detach(), targets)
        of_exits: Tensor = self.exits(seen) / max(len(pooled), 1)
        return self.task.loss(prediction, targets) + of_exits
