"""Training a trunk from scratch: stochastic gradient descent, one cycle of the learning rate, growing pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from etbac.models.augment import flip_and_crop, resize
from etbac.models.capture import evaluating, prediction_of


@dataclass(frozen=True)
class TrunkOptions:
    """How a trunk is trained. `scales`: size of the pictures, relative to the full one, in equal parts of the epochs.

    Sources: Smith & Topin 2018 (one cycle); Tan & Le 2021 (growing pictures); Szegedy et al. 2016 (label smoothing).
    """

    epochs: int = 5
    batch_size: int = 64
    learning_rate: float = 0.1
    warm_up: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    padding: int = 2
    scales: tuple[float, ...] = (0.5, 0.75, 1.0)

    def rate(self, progress: float) -> float:
        """Learning rate at `progress` (0 … 1): up in a straight line, down along half a cosine."""
        if progress < self.warm_up:
            return self.learning_rate * progress / self.warm_up
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (progress - self.warm_up) / (1 - self.warm_up)))

    def scale(self, epoch: int) -> float:
        """Size of the pictures in `epoch` (from 0)."""
        return self.scales[min(epoch * len(self.scales) // self.epochs, len(self.scales) - 1)]


class TrunkTrainer:
    """Trains `trunk` on pictures float32 [N, C, H, W] (its only input, `name`) and labels int64 [N].

    Every epoch draws from its own seed, so a run that goes on from `state()` gives what an uninterrupted one gives.
    """

    def __init__(
        self, trunk: nn.Module, name: str, images: Tensor, labels: Tensor, options: TrunkOptions, seed: int
    ) -> None:
        self.trunk = trunk.to(memory_format=memory_layout(trunk))  # type: ignore[call-overload]
        self.name, self.images, self.labels = name, images, labels
        self.options, self.seed = options, seed
        self.epoch = 0
        self.optimizer = torch.optim.SGD(
            trunk.parameters(),
            options.learning_rate,
            options.momentum,
            weight_decay=options.weight_decay,
            nesterov=True,
        )

    @property
    def steps(self) -> int:
        """Steps of an epoch; the last, incomplete batch is left out."""
        return max(len(self.labels) // self.options.batch_size, 1)

    def state(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "trunk": self.trunk.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.epoch = state["epoch"]
        self.trunk.load_state_dict(state["trunk"])
        self.optimizer.load_state_dict(state["optimizer"])

    def run_epoch(self, advance: Callable[[int], None]) -> float:
        """Train one epoch, calling `advance` with 1 after each step; the mean loss."""
        torch.manual_seed(self.seed * 1_000_003 + self.epoch)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.labels), generator=generator)
        self.trunk.train()
        total = 0.0
        for step in range(self.steps):
            rows = order[step * self.options.batch_size : (step + 1) * self.options.batch_size]
            total += self._step(rows, (self.epoch + step / self.steps) / self.options.epochs, generator)
            advance(1)
        self.epoch += 1
        return total / self.steps

    def _step(self, rows: Tensor, progress: float, generator: torch.Generator) -> float:
        images = flip_and_crop(self.images[rows], self.options.padding, generator)
        images = resize(images, self.options.scale(self.epoch))
        logits = prediction_of(self.trunk(**{self.name: images}))
        smoothing = self.options.label_smoothing
        loss = nn.functional.cross_entropy(logits, self.labels[rows], label_smoothing=smoothing)
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.rate(progress)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def memory_layout(network: nn.Module) -> torch.memory_format:
    """Channels last, which is a sixth faster on processors, where every convolution's width is a multiple of 8.

    With narrower ones (4, say) torch 2.13's backward pass on processors writes past its buffers and kills the process.
    """
    widths = [module.out_channels for module in network.modules() if isinstance(module, nn.Conv2d)]
    return torch.contiguous_format if any(width % 8 for width in widths) else torch.channels_last


def accuracy(trunk: nn.Module, name: str, images: Tensor, labels: Tensor, batch_size: int = 500) -> float:
    """Share of pictures whose largest logit is their label's."""
    with evaluating(trunk):
        answers = [prediction_of(trunk(**{name: part})).argmax(1) for part in images.split(batch_size)]
    return (torch.cat(answers) == labels).float().mean().item()
