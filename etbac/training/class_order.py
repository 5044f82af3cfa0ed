"""The classes of other people's networks, which may stand in another order than those of the data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn


def put_in_order(network: nn.Module, folder: Path, class_names: Sequence[str]) -> bool:
    """Give the last layer's answers the data's order, where the configuration in `folder` has the same names in another
    one, whatever their case; whether it did.

    A classifier of MNLI may answer contradiction, neutral, entailment, and GLUE counts from entailment on.
    """
    theirs = _names(folder)
    ours = [name.lower() for name in class_names]
    if theirs == ours or len(set(theirs)) < len(theirs) or sorted(theirs) != sorted(ours):
        return False
    layers = [module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    last = next((layer for layer in reversed(layers) if layer.weight.shape[0] == len(ours)), None)
    if last is None:
        return False
    places = torch.tensor([theirs.index(name) for name in ours])
    with torch.no_grad():
        for tensor in (last.weight, last.bias):
            if tensor is not None:
                tensor.copy_(tensor[places].clone())
    return True


def _names(folder: Path) -> list[str]:
    """The names in the configuration's `id2label`, in their order; none where it has none."""
    file = folder / "config.json"
    if not file.is_file():
        return []
    found = json.loads(file.read_text(encoding="utf-8")).get("id2label")
    if not isinstance(found, dict) or not all(str(place).isdecimal() for place in found):
        return []
    return [str(found[place]).lower() for place in sorted(found, key=int)]
