"""What a task is, and the losses that several share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from etbac.errors import UnsupportedModelError


class Task(ABC):
    """What a full model of one kind answers, and how exits learn to answer it.

    `name`: as in `etbac train NAME` and in checkpoints. `metric`: the default one. `gate`: the exits' gate as `--gate`
    is typed; None: the compiler's default, `max-prob`.
    """

    name: ClassVar[str]
    metric: ClassVar[str]
    gate: ClassVar[str | None] = None

    @abstractmethod
    def check(self, prediction: Tensor, inputs: Mapping[str, Tensor] | None = None) -> None:
        """Raise UnsupportedModelError where the full model's answer (to `inputs`) has not the task's shape."""

    @abstractmethod
    def head_for(
        self, features: Tensor, prediction: Tensor, module: str, trunk: nn.Module | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Name and options of the head for `features` [B, …], which `module` gave when the full model answered
        `prediction`; `trunk` is the full model, whose own layers a head may begin with.

        Raises UnsupportedModelError where no head fits.
        """

    @abstractmethod
    def loss(self, prediction: Tensor, targets: Tensor) -> Tensor:
        """How far what a head's `classify` gave is from the targets: a scalar, the mean over rows."""

    @abstractmethod
    def imitation(self, prediction: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """How far what a head's `classify` gave is from the full model's answer: a scalar, the mean over rows."""

    def gate_for(self, shape: Sequence[int | str | None]) -> str | None:
        """`gate` for a full model's answer of this shape (a dimension that is not fixed has a name, or None)."""
        return self.gate


def divergence(prediction: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² × Kullback-Leibler divergence from the teacher's class probabilities (axis 1), both softened by T; [B, …].

    Source: Hinton, Vinyals & Dean: Distilling the Knowledge in a Neural Network, 2015.
    """
    own = (prediction / temperature).log_softmax(1)
    other = (teacher / temperature).log_softmax(1)
    return temperature**2 * nn.functional.kl_div(own, other, reduction="none", log_target=True).sum(1)


def require_rank(prediction: Tensor, rank: int, needs: str) -> None:
    """Raise UnsupportedModelError where the answer has not this rank; `needs` completes a sentence."""
    if prediction.ndim != rank:
        raise UnsupportedModelError(f"the model's output has shape {tuple(prediction.shape)}; {needs}")
