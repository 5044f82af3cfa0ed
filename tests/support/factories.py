"""A user's own model factory, named on the command line as support.factories:small."""

from __future__ import annotations

from etbac.models.resnet import ResNet, cifar_resnet


def small(width: int = 4) -> ResNet:
    return cifar_resnet(8, 1, 10, width)
