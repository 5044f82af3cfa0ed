"""Torch operators that are spelled out before the translation to ONNX, where torch's own spelling is of no use here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def spelled_out(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Global average pooling as a mean.

    before:  x [B, C, H, W] ─ adaptive_avg_pool2d(1, 1)
    after:   x [B, C, H, W] ─ mean(H, W), both kept

    Torch spells it as a mean and a change of strides; the latter becomes a Gather from the flattened tensor by computed
    positions, in which nobody can tell the rows of the batch apart.
    """
    spelled: torch.export.ExportedProgram = program.run_decompositions(dict(_table()))
    return spelled


def _table() -> Mapping[Any, Callable[..., Any]]:
    import torch

    aten = torch.ops.aten
    return {
        aten.adaptive_avg_pool1d.default: _mean_over(1),
        aten.adaptive_avg_pool2d.default: _mean_over(2),
        aten.adaptive_avg_pool3d.default: _mean_over(3),
    }


def _mean_over(axes: int) -> Callable[[torch.Tensor, Sequence[int]], Any]:
    def mean(x: torch.Tensor, size: Sequence[int]) -> Any:
        if any(side != 1 for side in size):
            return NotImplemented
        return x.mean(tuple(range(-axes, 0)), keepdim=True)

    return mean
