"""How a trunk and its exits are trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from etbac.errors import UsageError

OPTIMIZERS = ("sgd", "adamw")
PRECISIONS = ("no", "fp16", "bf16")
LEAST_BATCH = 2
"""Heads normalise over the samples of a step."""


@dataclass(frozen=True)
class LoopOptions:
    """One training loop.

    `batch_size`: samples of a step in each process; `accumulate` such batches make one step of the optimiser.
    `learning_rate`: the highest; it rises in a straight line over the share `warm_up` of the steps and falls along half
    a cosine (Loshchilov & Hutter 2017; with a warm-up, one cycle: Smith & Topin 2018). `clip`: largest norm of the
    gradient, 0 for any. `stop_after`: epochs without a lower loss on the fit set after which training ends, 0: never.
    """

    epochs: int = 5
    batch_size: int = 64
    learning_rate: float = 0.1
    warm_up: float = 0.0
    weight_decay: float = 5e-4
    optimizer: str = "sgd"
    accumulate: int = 1
    clip: float = 0.0
    stop_after: int = 0

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise UsageError(f"there is no optimiser {self.optimizer!r}; there are {', '.join(OPTIMIZERS)}")

    def rate(self, progress: float) -> float:
        """Learning rate at `progress` (0 … 1)."""
        if progress < self.warm_up:
            return self.learning_rate * progress / self.warm_up
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (progress - self.warm_up) / (1 - self.warm_up)))


@dataclass(frozen=True)
class TrunkOptions(LoopOptions):
    """`padding`: by how many pixels pictures are shifted at random, and mirrored (None: neither). `scales`: size of the
    pictures, relative to the full one, in equal parts of the epochs (growing pictures: Tan & Le 2021)."""

    warm_up: float = 0.2
    padding: int | None = 2
    scales: tuple[float, ...] = (0.5, 0.75, 1.0)

    def scale(self, epoch: int) -> float:
        """Size of the pictures in `epoch` (from 0)."""
        return self.scales[min(epoch * len(self.scales) // self.epochs, len(self.scales) - 1)]

    @staticmethod
    def of(task: str, from_weights: bool = False, **given: Any) -> TrunkOptions:
        """The task's own, gentle ones where the trunk begins with weights, but for those given; see `checked`."""
        gentle: Mapping[str, Any] = GENTLE if from_weights else {}
        own = gentle if task == "classification" else OTHERS
        return TrunkOptions(**{**own, **given}).checked(task)

    def checked(self, task: str) -> TrunkOptions:
        """UsageError where pictures would be changed and the targets in them not."""
        changes = self.padding is not None or set(self.scales) != {1.0}
        if task in SPATIAL and changes:
            raise UsageError(
                f"pictures are not shifted or resized for {task}, whose targets lie in them: leave padding (None) and "
                "scales (1) as they are"
            )
        return self


SPATIAL = ("pose", "segmentation")
"""Tasks whose targets are places in the picture."""
GENTLE: Mapping[str, Any] = MappingProxyType(
    {"optimizer": "adamw", "learning_rate": 2e-4, "weight_decay": 1e-2, "clip": 1.0}
)
"""What changes trained weights little, and suits transformers."""
OTHERS: Mapping[str, Any] = MappingProxyType({**GENTLE, "batch_size": 32, "padding": None, "scales": (1.0,)})
"""What trunks of other tasks than classification begin with: most are transformers, and none takes changed pictures."""


@dataclass(frozen=True)
class ExitOptions(LoopOptions):
    """The loss is (1 − distillation) × the task's loss with the targets + distillation × its loss with the full model's
    answer, softened by `temperature` where answers are classes (Hinton, Vinyals & Dean 2015)."""

    epochs: int = 12
    batch_size: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    optimizer: str = "adamw"
    distillation: float = 0.0
    temperature: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size < LEAST_BATCH:
            raise UsageError(f"exits are trained on {LEAST_BATCH} samples a step or more; found {self.batch_size}")


@dataclass(frozen=True)
class RunOptions:
    """Where and how a run computes; none of it is meant to change what comes out.

    `precision`: numbers of the trunk's forward pass ("no": float32). `workers`: processes that read samples.
    `cache_gb`: how much of the frozen trunk's features may be kept on disk, in 10⁹ bytes, 0 for none: then the trunk
    runs in every epoch. `save_s`: seconds after which an interrupted run is left no more than that behind.
    `losses`: a CSV file of them; `tensorboard`: a folder for the same.
    """

    precision: str = "no"
    workers: int = 0
    cache_gb: float = 8.0
    save_s: float = 60.0
    losses: str | None = None
    tensorboard: str | None = None

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UsageError(f"mixed precision {self.precision!r}: there are {', '.join(PRECISIONS)}")
