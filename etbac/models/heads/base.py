"""What an exit head is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

PREDICTION = "prediction"


class Head(nn.Module, ABC):
    """A small network that predicts from a block's features what the full model predicts.

    It has two parts: `pool`, without parameters (so that what it gives can be computed once and kept), and `classify`.
    Its constructor's arguments are its `options`, plain data that a checkpoint records; `norm` is one of them, which
    says whether it has batch normalisation. `reads`: the model's inputs that `pool` takes by name besides the features.
    """

    reads: tuple[str, ...] = ()

    @classmethod
    @abstractmethod
    def fit(cls, features: Tensor, prediction: Tensor) -> dict[str, Any] | None:
        """Options of a head for features [B, …] and a prediction [B, …] like these; None where it does not fit them."""

    def pool(self, features: Tensor, **inputs: Tensor) -> Tensor:
        """What `classify` takes, [B, …]; no parameters."""
        return features

    @abstractmethod
    def classify(self, pooled: Tensor) -> Tensor:
        """What the task's loss takes: the full model's kind of prediction, and a scorer's column where there is one."""

    def fields(self, answer: Tensor) -> dict[str, Tensor]:
        """The exit's outputs, by field, in what `classify` gave."""
        return {PREDICTION: answer}

    def forward(self, features: Tensor, **inputs: Tensor) -> Tensor:
        return self.classify(self.pool(features, **inputs))

    @abstractmethod
    def fold_norm(self) -> None:
        """Merge trained batch normalisation into the layers before: same answers in evaluation, fewer operations."""

    def start_from(self, trunk: nn.Module) -> None:
        """Begin with weights of the trunk's own later layers where there are such; left as drawn otherwise."""


def read_by(head: Head, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of the model's inputs that the head reads."""
    return {name: inputs[name] for name in head.reads}
