"""A network with exits as one exported program, ready for torch.onnx."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from etbac.errors import UnsupportedModelError
from etbac.models.attach import ExitNetwork


class _Positional(nn.Module):
    """The network with its inputs by position: torch.export loses track of dynamic shapes in `**inputs`."""

    def __init__(self, network: ExitNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        return self.network(**dict(zip((spec.name for spec in self.network.inputs), inputs, strict=True)))  # type: ignore[no-any-return]


def output_names(network: ExitNetwork) -> list[str]:
    """Names of the exported outputs, in their order: exit_<id> by ascending depth, then prediction."""
    return [*(f"exit_{spec.id}" for spec in network.exits), "prediction"]


def export_program(network: ExitNetwork, example_inputs: Mapping[str, Any]) -> ExportedProgram:
    """Export in evaluation mode, the batch (axis 0) strictly dynamic.

    `example_inputs`: every input by name, with a batch of at least 2. The program takes them in the order of
    `network.inputs` and returns a dictionary with the names of `output_names`. Raises UnsupportedModelError when the
    model cannot be traced or fixes the batch.
    """
    values = tuple(example_inputs[spec.name] for spec in network.inputs)
    batch = Dim.DYNAMIC
    shapes = {"inputs": tuple({0: batch} for _ in values)}
    module = _Positional(network).eval()
    try:
        with torch.no_grad():
            return torch.export.export(module, values, dynamic_shapes=shapes, strict=False)
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise UnsupportedModelError(f"torch.export cannot trace {type(network.trunk).__name__}: {reason}") from error
