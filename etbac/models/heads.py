"""Exit heads: small networks that predict from a block's features. Registered by name, sized by the features' shape.

Each head has two parts: `pool`, without parameters (so that pooled features can be computed once and kept), and
`classify`. Its constructor's arguments are its `options`, plain data that a checkpoint records.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_linear_bn_eval

from etbac.errors import UnsupportedModelError, UsageError

FINE, COARSE = 7, 4
MOST_FEATURES = 3_200
"""Feature maps are averaged to a FINE grid of cells, whose layout tells early exits most, where that leaves a head no
more features than these; else to a COARSE one."""


class MlpHead(nn.Module, ABC):
    """Pool, one hidden layer, classifier: features -> logits [B, num_classes]."""

    def __init__(self, in_features: int, num_classes: int, hidden: int, dropout: float, norm: bool) -> None:
        super().__init__()
        self.hidden = nn.Linear(in_features, hidden)
        self.norm: nn.Module = nn.BatchNorm1d(hidden) if norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, num_classes)

    @abstractmethod
    def pool(self, features: Tensor) -> Tensor:
        """Features of the block -> [B, in_features]; no parameters."""

    def classify(self, pooled: Tensor) -> Tensor:
        """[B, in_features] -> logits [B, num_classes]."""
        logits: Tensor = self.output(self.dropout(torch.relu(self.norm(self.hidden(pooled)))))
        return logits

    def forward(self, features: Tensor) -> Tensor:
        return self.classify(self.pool(features))

    def fold_norm(self) -> None:
        """Merge a trained BatchNorm into the layer before it: same outputs in evaluation, one operation less."""
        if isinstance(self.norm, nn.BatchNorm1d):
            self.hidden = fuse_linear_bn_eval(self.hidden.eval(), self.norm.eval())
            self.norm = nn.Identity()


class PooledMlp(MlpHead):
    """For feature maps [B, C, H, W]: averages over cells of a grid, of fixed size because of the fixed kernel."""

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        kernel: list[int],
        stride: list[int],
        hidden: int = 128,
        dropout: float = 0.3,
        norm: bool = True,
    ) -> None:
        super().__init__(in_features, num_classes, hidden, dropout, norm)
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

    def pool(self, features: Tensor) -> Tensor:
        pooled: Tensor = self.average(features).flatten(1)
        return pooled


class TokenMlp(MlpHead):
    """For tokens [B, T, C]: their mean, or the first one (`tokens` is "mean" or "first")."""

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        tokens: str = "mean",
        hidden: int = 128,
        dropout: float = 0.3,
        norm: bool = True,
    ) -> None:
        super().__init__(in_features, num_classes, hidden, dropout, norm)
        if tokens not in ("mean", "first"):
            raise UsageError(f"tokens={tokens!r}: a token head reads the 'mean' or the 'first' token")
        self.tokens = tokens

    @staticmethod
    def size(shape: tuple[int, ...]) -> dict[str, Any]:
        return {"in_features": shape[-1]}

    def pool(self, features: Tensor) -> Tensor:
        return features.mean(dim=1) if self.tokens == "mean" else features[:, 0]


class VectorMlp(MlpHead):
    """For features [B, C]."""

    def __init__(
        self, in_features: int, num_classes: int, hidden: int = 128, dropout: float = 0.3, norm: bool = True
    ) -> None:
        super().__init__(in_features, num_classes, hidden, dropout, norm)

    @staticmethod
    def size(shape: tuple[int, ...]) -> dict[str, Any]:
        return {"in_features": shape[0]}

    def pool(self, features: Tensor) -> Tensor:
        return features


HEADS: Mapping[str, type[PooledMlp] | type[TokenMlp] | type[VectorMlp]] = {
    "pooled-mlp": PooledMlp,
    "token-mlp": TokenMlp,
    "vector-mlp": VectorMlp,
}
BY_RANK = {2: "vector-mlp", 3: "token-mlp", 4: "pooled-mlp"}
"""The head for features of that rank (the batch counted), where none is named."""


def build(name: str, options: Mapping[str, Any]) -> MlpHead:
    """The head of that name with these options; a UsageError that lists the names otherwise."""
    if name not in HEADS:
        raise UsageError(f"there is no exit head {name!r}; there are {', '.join(HEADS)}")
    return HEADS[name](**options)


def options_for(name: str | None, features: Tensor, num_classes: int, module: str) -> tuple[str, dict[str, Any]]:
    """Name and options of a head for `features` [B, …], as the probe saw them after `module`."""
    name = name or BY_RANK.get(features.ndim)
    if name is None:
        raise UnsupportedModelError(
            f"module {module!r} gives features of shape {tuple(features.shape)}; there are heads for [B, C], "
            "[B, T, C] and [B, C, H, W]. Name another module"
        )
    if name not in HEADS:
        raise UsageError(f"there is no exit head {name!r}; there are {', '.join(HEADS)}")
    if BY_RANK.get(features.ndim) != name:
        raise UsageError(
            f"head {name!r} does not fit module {module!r}, whose features have shape {tuple(features.shape)}"
        )
    return name, {**HEADS[name].size(tuple(features.shape[1:])), "num_classes": num_classes}
