"""What a row of the zoo compiles, and the two ways to make it: exits on a torch module, or a module with its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from etbac.contract import TensorSpec
from etbac.frontend.torch_export import export_dict, from_module
from etbac.models.attach import attach_exits, describe
from etbac.passes.exit_model import ExitModel
from etbac.passes.gates import Gate

ROWS = 16
EXPORTED = 2
"""Rows of the example that the export sees."""


@dataclass(frozen=True)
class Subject:
    """A model with exits; `samples`: real or made-up inputs by name, None to have them made from the model's inputs."""

    exit_model: ExitModel
    samples: Mapping[str, npt.NDArray[np.generic]] | None = None
    gate: Gate | None = None


def with_attached_exits(
    network: nn.Module, inputs: Mapping[str, Tensor], at: str | Sequence[int] | Sequence[str] = "auto"
) -> Subject:
    """Exits on a classifier as a user would attach them."""
    multi_exit = attach_exits(network.eval(), at=at, example_inputs=inputs).eval()
    exit_model = from_module(multi_exit, _few(inputs), {"path": type(network).__name__})
    return Subject(exit_model, _arrays(inputs))


def with_own_exits(
    network: nn.Module, inputs: Mapping[str, Tensor], gate: Gate | None = None, specs: Sequence[TensorSpec] = ()
) -> Subject:
    """A module that gives `exit_<id>` and `prediction` by itself. `specs`: its inputs, otherwise read off `inputs`."""
    name = type(network).__name__
    exit_model = export_dict(network.eval(), specs or describe(inputs), _few(inputs), name, {"path": name})
    return Subject(exit_model, _arrays(inputs), gate)


def images(channels: int, height: int, width: int) -> Tensor:
    """float32 [ROWS, channels, height, width], standard normal."""
    return torch.randn(ROWS, channels, height, width, generator=torch.Generator().manual_seed(0))


def token_ids(vocabulary: int, length: int) -> dict[str, Tensor]:
    """`input_ids` and `attention_mask`, int64 [ROWS, length]; rows are of different lengths, padded with 1."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, vocabulary, (ROWS, length), generator=generator)
    lengths = torch.randint(2, length + 1, (ROWS, 1), generator=generator)
    mask = (torch.arange(length) < lengths).long()
    return {"input_ids": torch.where(mask.bool(), ids, 1), "attention_mask": mask}


def _few(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor[:EXPORTED] for name, tensor in inputs.items()}


def _arrays(inputs: Mapping[str, Tensor]) -> dict[str, npt.NDArray[np.generic]]:
    return {name: tensor.numpy() for name, tensor in inputs.items()}
