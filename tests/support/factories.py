"""A user's own model factories, named on the command line as support.factories:small."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from etbac.models.resnet import ResNet, cifar_resnet


def small(width: int = 4) -> ResNet:
    return cifar_resnet(8, 1, 10, width)


def of_one_size() -> nn.Module:
    """Its last layer counts the pixels."""
    first = nn.Sequential(nn.Conv2d(1, 4, 5, 4), nn.ReLU())
    return nn.Sequential(first, nn.Flatten(), nn.Linear(4 * 6 * 6, 10))


def five(width: int = 4) -> ResNet:
    """Of too few classes."""
    return cifar_resnet(8, 1, 5, width)


def broken(width: int) -> nn.Module:
    raise ZeroDivisionError(width)


def nothing() -> Any:
    return "no network"


class Words(nn.Module):
    """A classifier of texts whose input has a name of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(200, 8)
        self.output = nn.Linear(8, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        answer: Tensor = self.output(torch.mean(self.embedding(tokens), 1))
        return answer
