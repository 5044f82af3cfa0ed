"""Exit heads by name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from torch import Tensor

from etbac.errors import UnsupportedModelError, UsageError
from etbac.models.heads.base import Head

BUILT_IN = {
    "pooled-mlp": "etbac.models.heads.mlp:PooledMlp",
    "token-mlp": "etbac.models.heads.mlp:TokenMlp",
    "vector-mlp": "etbac.models.heads.mlp:VectorMlp",
    "conv-pose": "etbac.models.heads.pose:ConvPose",
    "conv-segmentation": "etbac.models.heads.segmentation:ConvSegmentation",
}
MLP_BY_RANK = {2: "vector-mlp", 3: "token-mlp", 4: "pooled-mlp"}
"""The head for class scores from features of that rank (the batch counted)."""


def names() -> tuple[str, ...]:
    """Names of all heads."""
    return tuple(BUILT_IN)


def get(name: str) -> type[Head]:
    """The head of that name; a UsageError that lists the names otherwise."""
    if name not in BUILT_IN:
        raise UsageError(f"there is no exit head {name!r}; there are {', '.join(BUILT_IN)}")
    module, _, attribute = BUILT_IN[name].partition(":")
    found: type[Head] = getattr(import_module(module), attribute)
    return found


def build(name: str, options: Mapping[str, Any]) -> Head:
    """The head of that name with these options."""
    return get(name)(**options)


def options_for(name: str, features: Tensor, prediction: Tensor, module: str) -> dict[str, Any]:
    """Options of the head `name` for `features` [B, …], as the probe saw them after `module`, where the full model
    answers `prediction` [B, …]; a UsageError where the head does not fit them."""
    options = get(name).fit(features, prediction)
    if options is None:
        raise UsageError(
            f"head {name!r} does not fit module {module!r}, whose features have shape {tuple(features.shape)}, in a "
            f"model that answers {tuple(prediction.shape)}; name another head or module"
        )
    return options


def by_rank(features: Tensor, module: str) -> str:
    """The name of the head for class scores from features like these; UnsupportedModelError where there is none."""
    if features.ndim not in MLP_BY_RANK:
        raise UnsupportedModelError(
            f"module {module!r} gives features of shape {tuple(features.shape)}; there are heads for [B, C], "
            "[B, T, C] and [B, C, H, W]. Name another module"
        )
    return MLP_BY_RANK[features.ndim]
