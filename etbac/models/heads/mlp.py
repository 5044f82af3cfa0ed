"""Heads for class scores and numbers: pool, one hidden layer, output."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_linear_bn_eval

from etbac.errors import UsageError
from etbac.models.heads.base import PREDICTION, Head
from etbac.models.heads.norm import BatchNorm1d

CONFIDENCE = "confidence"
"""The field that the gate `learned` reads."""

FINE, COARSE = 7, 4
MOST_FEATURES = 3_200
"""Feature maps are averaged to a FINE grid of cells, whose layout tells early exits most, where that leaves a head no
more features than these; else to a COARSE one."""


class MlpHead(Head):
    """Pool, one hidden layer, output: features -> [B, num_classes].

    `scored`: one more output, by which the head says how sure it is: `classify` gives [B, num_classes + 1], the exit
    has the field `confidence` [B, 1], and a task whose answers have no probabilities trains it.
    """

    rank: int

    def __init__(
        self, in_features: int, num_classes: int, hidden: int, dropout: float, norm: bool, scored: bool
    ) -> None:
        super().__init__()
        self.scored = scored
        self.hidden = nn.Linear(in_features, hidden)
        self.norm: nn.Module = BatchNorm1d(hidden) if norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, num_classes + scored)

    @classmethod
    def fit(cls, features: Tensor, prediction: Tensor) -> dict[str, Any] | None:
        if features.ndim != cls.rank or prediction.ndim != 2:
            return None
        return {**cls.size(tuple(features.shape[1:])), "num_classes": prediction.shape[1]}

    @staticmethod
    @abstractmethod
    def size(shape: tuple[int, ...]) -> dict[str, Any]:
        """Options that follow from the features' shape without the batch."""

    def classify(self, pooled: Tensor) -> Tensor:
        answer: Tensor = self.output(self.dropout(torch.relu(self.norm(self.hidden(pooled)))))
        return answer

    def fields(self, answer: Tensor) -> dict[str, Tensor]:
        if not self.scored:
            return {PREDICTION: answer}
        return {PREDICTION: answer[:, :-1], CONFIDENCE: answer[:, -1:]}

    def fold_norm(self) -> None:
        if isinstance(self.norm, nn.BatchNorm1d):
            self.hidden = fuse_linear_bn_eval(self.hidden.eval(), self.norm.eval())
            self.norm = nn.Identity()


class PooledMlp(MlpHead):
    """For feature maps [B, C, H, W]: averages over cells of a grid, of fixed size because of the fixed kernel."""

    rank = 4

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        kernel: list[int],
        stride: list[int],
        hidden: int = 128,
        dropout: float = 0.3,
        norm: bool = True,
        scored: bool = False,
    ) -> None:
        super().__init__(in_features, num_classes, hidden, dropout, norm, scored)
        self.average = nn.AvgPool2d(tuple(kernel), tuple(stride))  # type: ignore[arg-type]

    @staticmethod
    def size(shape: tuple[int, ...]) -> dict[str, Any]:
        """Windows that cover the whole map with a grid of equal cells; they overlap where it does not divide it."""
        channels, *sides = shape
        fine = [min(FINE, side) for side in sides]
        cells = fine if channels * math.prod(fine) <= MOST_FEATURES else [min(COARSE, side) for side in sides]
        stride = [side // count for side, count in zip(sides, cells, strict=True)]
        kernel = [side - (n - 1) * step for side, n, step in zip(sides, cells, stride, strict=True)]
        return {"in_features": channels * cells[0] * cells[1], "kernel": kernel, "stride": stride}

    def pool(self, features: Tensor, **inputs: Tensor) -> Tensor:
        pooled: Tensor = self.average(features).flatten(1)
        return pooled


class TokenMlp(MlpHead):
    """For tokens [B, T, C]: their mean, or the first one (`tokens` is "mean" or "first").

    `mask`: the model's input [B, T], 0 where a token is padding, which the mean leaves out.
    """

    rank = 3

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        tokens: str = "mean",
        hidden: int = 128,
        dropout: float = 0.3,
        norm: bool = True,
        scored: bool = False,
        mask: str | None = None,
    ) -> None:
        super().__init__(in_features, num_classes, hidden, dropout, norm, scored)
        if tokens not in ("mean", "first"):
            raise UsageError(f"tokens={tokens!r}: a token head reads the 'mean' or the 'first' token")
        self.tokens = tokens
        self.reads = (mask,) if mask is not None and tokens == "mean" else ()

    @staticmethod
    def size(shape: tuple[int, ...]) -> dict[str, Any]:
        return {"in_features": shape[-1]}

    def pool(self, features: Tensor, **inputs: Tensor) -> Tensor:
        if self.tokens == "first":
            return features[:, 0]
        if not self.reads:
            return features.mean(dim=1)
        weights = inputs[self.reads[0]].to(features.dtype).unsqueeze(-1)
        return (features * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


class VectorMlp(MlpHead):
    """For features [B, C]."""

    rank = 2

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        hidden: int = 128,
        dropout: float = 0.3,
        norm: bool = True,
        scored: bool = False,
    ) -> None:
        super().__init__(in_features, num_classes, hidden, dropout, norm, scored)

    @staticmethod
    def size(shape: tuple[int, ...]) -> dict[str, Any]:
        return {"in_features": shape[0]}
