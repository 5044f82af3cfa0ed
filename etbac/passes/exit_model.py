"""The compiler's intermediate representation: an `onnx_ir.Model` and what its outputs mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import onnx_ir as ir

from etbac.contract import SegmentContract, TensorSpec


@dataclass
class ExitModel:
    """A model whose graph outputs are every exit's fields and the full model's fields.

    `exits`: exit id -> {field: output name}, ids ascending in the order of the trunk. `full`: {field: output name}. An
    exit has the full model's fields and, before the gates, it may have one more, `confidence`, for the gate `learned`.
    After the gates have been added, `gates` holds each exit's {"name": …, parameters …}, and the graph has, for each
    exit, the input `gate_<id>.threshold` and the outputs `gate_<id>.confidence` and `gate_<id>.exit_mask`.
    `batch_axes`: input name -> axis that carries the batch, or None.
    `original`: the full model as it was before it was trained together with its exits, itself without any; None where
    the graph's own answer is the full model's.
    `default_gate`: what exits get where the user names no gate, as `--gate` is typed; None: `max-prob`.
    `preprocessing`, `task`, `metric` and `source` are handed to the manifest as they are.
    """

    model: ir.Model
    exits: dict[int, dict[str, str]]
    full: dict[str, str]
    batch_axes: dict[str, int | None]
    gates: dict[int, dict[str, Any]] = field(default_factory=dict)
    default_gate: str | None = None
    task: str = "classification"
    metric: str = "agreement"
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    original: ExitModel | None = None

    def copy(self) -> ExitModel:
        """An independent model over the same weights."""
        return replace(
            self, model=self.model.clone(), exits=dict(self.exits), full=dict(self.full), gates=dict(self.gates)
        )

    def input_specs(self) -> tuple[TensorSpec, ...]:
        """The model's own inputs, in order, also those that nothing reads; the gates' thresholds are not among them."""
        return tuple(
            _spec(value, self.batch_axes) for value in self.model.graph.inputs if value.name in self.batch_axes
        )


def _spec(value: ir.Value, batch_axes: Mapping[str, int | None]) -> TensorSpec:
    name, dtype = str(value.name), value.dtype or ir.DataType.FLOAT
    dims = (dim if isinstance(dim, int) else dim.value for dim in value.shape or ())
    shape = tuple(f"{name}.{axis}" if dim is None else dim for axis, dim in enumerate(dims))
    return TensorSpec(name, dtype.numpy().name, shape, batch_axes[name])


@dataclass
class Segment:
    """One piece of the cut model: a complete ONNX model that keeps the segment contract."""

    contract: SegmentContract
    model: ir.Model
