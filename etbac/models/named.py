"""A registered network with random weights and exits, for measurements that need no training."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch

from etbac.errors import UsageError
from etbac.models.attach import ExitNetwork, attach_exits
from etbac.models.registry import CIFAR_DEPTHS, factory

ROWS = 16
TASKS = {"pose": "pose", "deeplab": "segmentation"}
"""By the first word of a network's name."""


def random_network(name: str, exits: str) -> tuple[ExitNetwork, dict[str, npt.NDArray[Any]]]:
    """The network in evaluation mode, and 16 made-up inputs: float32 [16, 3, side, side], standard normal, of the side
    that its data set has (224, or 32 for networks of CIFAR's kind).

    `exits`: "all", "auto", or blocks like "3,7,12". Raises UsageError for a name or block that there is not.
    """
    if name == "transformers":
        raise UsageError("the networks of transformers need a configuration; compile one and profile its engines")
    torch.manual_seed(0)
    network = factory(name)().eval()
    task = TASKS.get(name.partition("-")[0], "classification")
    small = name == "vgg16" or name in {f"resnet{depth}" for depth in CIFAR_DEPTHS}
    side = 32 if small else 224
    images = torch.randn(ROWS, 3, side, side)
    with_exits = attach_exits(network, task, at=_places(exits), example_inputs={"image": images[:2]}).eval()
    return with_exits, {"image": images.numpy()}


def _places(exits: str) -> str | list[int]:
    if exits in ("all", "auto"):
        return exits
    try:
        return [int(block) for block in exits.split(",")]
    except ValueError:
        raise UsageError(f"--exits {exits}: write all, auto, or blocks like 3,7,12") from None
