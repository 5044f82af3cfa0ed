"""What a loop can train: a trunk alone, exits on a frozen trunk, both together."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from etbac.models.attach import ExitNetwork
from etbac.models.capture import evaluating
from etbac.models.tasks import Task
from etbac.training.augment import flip_and_crop, resize
from etbac.training.batches import Batch, Rows, read, shares
from etbac.training.frozen import FrozenTrunk, KeptFeatures
from etbac.training.loop import Context
from etbac.training.losses import ExitLoss, JointLoss, Seen, TrunkLoss
from etbac.training.options import ExitOptions, TrunkOptions
from etbac.training.resume import TRUNK

if TYPE_CHECKING:
    from etbac.models.data.loader import Part

JUDGED = 256
"""Samples of one batch of the fit set."""


@dataclass(frozen=True)
class Sets:
    """What is trained on, and what an epoch is judged by."""

    train: Part
    fit: Part


class TrunkStage:
    """The trunk alone, whose answer is the full model's."""

    name = TRUNK
    leaves_some_unused = True

    def __init__(
        self, trunk: nn.Module, task: Task, context: Context, sets: Sets, options: TrunkOptions, workers: int
    ) -> None:
        self._context, self._sets, self._options, self._workers = context, sets, options, workers
        self.loss: nn.Module = TrunkLoss(trunk.to(memory_format=memory_layout(trunk)), task)  # type: ignore[call-overload]

    def parameters(self) -> list[nn.Parameter]:
        return [each for each in self.loss.parameters() if each.requires_grad]

    def batches(self, batches: list[Rows], epoch: int, start: int) -> Iterator[tuple[Any, ...]]:
        """Pictures mirrored and shifted, and resized."""
        rank = self._context.place.rank
        for step, (inputs, targets) in enumerate(read(self._sets.train, batches, self._workers), start=start):
            drawn = np.random.SeedSequence([self._context.seed, epoch, step, rank]).generate_state(1)
            torch.manual_seed(int(drawn[0]))
            placed, there = self._placed(inputs, targets)
            yield {name: plain(self._augmented(each, epoch)) for name, each in placed.items()}, there

    def judge(self) -> float:
        batches = shares(len(self._sets.fit), JUDGED, self._context.place)
        total = count = 0.0
        with evaluating(self.loss), self._context.accelerator.autocast():
            for inputs, targets in read(self._sets.fit, batches, self._workers):
                total += self.loss(*self._placed(inputs, targets)).item() * len(targets)
                count += len(targets)
        total, count = self._context.sums(total, count)
        return total / count

    def state(self) -> Mapping[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        return None

    def _augmented(self, values: Tensor, epoch: int) -> Tensor:
        if values.ndim != 4:
            return values
        padding = self._options.padding
        changed = values if padding is None else flip_and_crop(values, padding)
        return resize(changed, self._options.scale(epoch))

    def _placed(self, inputs: Mapping[str, Tensor], targets: Tensor) -> Batch:
        device = self._context.accelerator.device
        return {name: plain(value).to(device) for name, value in inputs.items()}, targets.to(device)


class JointStage(TrunkStage):
    """The trunk and its exits together."""

    name = "joint"

    def __init__(
        self,
        network: ExitNetwork,
        task: Task,
        context: Context,
        sets: Sets,
        trunk: TrunkOptions,
        exits: ExitOptions,
        workers: int,
    ) -> None:
        super().__init__(network.trunk, task, context, sets, trunk, workers)
        network.to(memory_format=memory_layout(network))  # type: ignore[call-overload]
        self.loss = JointLoss(network, task, exits)


@dataclass
class ExitStage:
    """All heads side by side on the frozen trunk; each keeps the weights of its best epoch on the fit set."""

    network: ExitNetwork
    task: Task
    context: Context
    sets: Sets
    options: ExitOptions
    trunk: FrozenTrunk
    kept: Mapping[str, KeptFeatures] = field(default_factory=dict)
    name: str = "exits"
    leaves_some_unused: bool = False

    def __post_init__(self) -> None:
        self._loss = ExitLoss(self.network.heads, self.task, self.options)
        self.loss: nn.Module = self._loss
        self._best: dict[int, tuple[float, dict[str, Tensor]]] = {}

    def parameters(self) -> list[nn.Parameter]:
        return list(self.network.heads.parameters())

    def batches(self, batches: list[Rows], epoch: int, start: int) -> Iterator[tuple[Any, ...]]:
        return ((seen,) for seen in self._see("train", self.sets.train, batches))

    def judge(self) -> float:
        """The sum over the exits; each that is better than ever is kept."""
        ids = [spec.id for spec in self.network.exits]
        totals, count = dict.fromkeys(ids, 0.0), 0.0
        with evaluating(self._loss):
            for seen in self._see("fit", self.sets.fit, shares(len(self.sets.fit), JUDGED, self.context.place)):
                for exit_id, loss in self._loss.by_exit(seen).items():
                    totals[exit_id] += loss.item() * len(seen)
                count += len(seen)
        *added, of = self.context.sums(*totals.values(), count)
        for exit_id, total in zip(ids, added, strict=True):
            if exit_id not in self._best or total / of < self._best[exit_id][0]:
                self._best[exit_id] = (total / of, copy.deepcopy(self.network.heads[str(exit_id)].state_dict()))
        return sum(added) / of

    def finish(self) -> None:
        """Give every head its best epoch's weights."""
        for exit_id, (_, weights) in self._best.items():
            self.network.heads[str(exit_id)].load_state_dict(weights)
        self.network.heads.eval()

    def state(self) -> Mapping[str, Any]:
        return {"best": self._best}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._best = dict(state["best"])

    def _see(self, name: str, part: Part, batches: Sequence[Rows]) -> Iterator[Seen]:
        kept = self.kept.get(name)
        found = self.trunk.run(part, batches) if kept is None else kept.batches(batches)
        return (seen.to(self.context.accelerator.device) for seen in found)


def memory_layout(network: nn.Module) -> torch.memory_format:
    """Channels last, which is a sixth faster on processors, where every convolution's width is a multiple of 16.

    With narrower ones (4, 8, 12) torch 2.13's backward pass with several threads writes past its buffers and kills the
    process.
    """
    convolutions = (nn.Conv2d, nn.ConvTranspose2d)
    widths = [module.out_channels for module in network.modules() if isinstance(module, convolutions)]
    return torch.contiguous_format if any(width % 16 for width in widths) else torch.channels_last


def plain(values: Tensor) -> Tensor:
    """The same values with the strides of a contiguous tensor.

    Pictures of one channel that were read as [B, H, W, 1] count as contiguous and as channels last, and convolutions
    would take them for the latter, whatever the network's layout.
    """
    return values.contiguous().flatten().view(values.shape)
