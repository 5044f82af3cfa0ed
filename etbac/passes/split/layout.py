"""Put the rows of a value on axis 0, alone, before a boundary, and back behind it.

before the boundary:  v [a, o·B·i, c] ─ Reshape [a, o, B, i, c] ─ Transpose ─> [B, a, o, i, c]
behind it:            [K, a, o, i, c] ─ Transpose ─ Reshape [a, o·K·i, c]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir import tape

from etbac.passes.batch import BatchAnalysis


@dataclass(frozen=True)
class Placement:
    """How to take the rows of one value out: the axis, the fixed factors merged with it, the other dimensions."""

    axis: int
    outer: int
    inner: int
    dims: tuple[int | None, ...]

    @property
    def merged(self) -> bool:
        return (self.outer, self.inner) != (1, 1)

    @property
    def split_dims(self) -> list[int | None]:
        """The dimensions with the batch apart, on axis `place`; None there and where dynamic."""
        return [
            *self.dims[: self.axis],
            *self._around(self.outer),
            None,
            *self._around(self.inner),
            *self.dims[self.axis + 1 :],
        ]

    @property
    def place(self) -> int:
        return self.axis + len(self._around(self.outer))

    @property
    def boundary_dims(self) -> list[int | None]:
        """The dimensions at the boundary: the batch first."""
        dims = self.split_dims
        return [None, *dims[: self.place], *dims[self.place + 1 :]]

    @staticmethod
    def _around(factor: int) -> list[int]:
        return [factor] if factor != 1 else []


def can_be_carried(value: ir.Value, analysis: BatchAnalysis) -> bool:
    """Whether the rows of `value` can be taken out, or the whole of it handed on."""
    fact = analysis.facts.get(value)
    if fact is None or fact.dtype is None or fact.shapes[0] is None or fact.dtype == ir.DataType.STRING:
        return False
    if not isinstance(value.type, ir.TensorType | None):
        return False
    if (fact.pure and fact.sized) or value in analysis.local:
        return False
    return fact.rows is None or _placement(value, analysis) is not None


def placement(value: ir.Value, analysis: BatchAnalysis) -> Placement:
    found = _placement(value, analysis)
    assert found is not None
    return found


def _placement(value: ir.Value, analysis: BatchAnalysis) -> Placement | None:
    fact, dims = analysis.facts[value], analysis.dims(value)
    rows = fact.rows
    if rows is None:
        return None
    if rows.alone:
        return Placement(rows.axis, 1, 1, dims)
    outer, inner = rows.factors[0]
    others_known = all(dim is not None for axis, dim in enumerate(dims) if axis != rows.axis)
    if len(set(rows.factors)) != 1 or analysis.open_sizes or not others_known:
        return None
    return Placement(rows.axis, outer, inner, dims)


def to_front(nodes: tape.Tape, value: ir.Value, place: Placement) -> ir.Value:
    """`value` with its rows alone on axis 0."""
    if place.merged:
        value = nodes.op("Reshape", [value, _shape(nodes, [-1 if dim is None else dim for dim in place.split_dims])])
    rank = len(place.split_dims)
    order = [place.place, *(axis for axis in range(rank) if axis != place.place)]
    return value if place.place == 0 else nodes.op("Transpose", [value], {"perm": order})


def from_front(nodes: tape.Tape, value: ir.Value, place: Placement) -> ir.Value:
    """The inverse of `to_front`."""
    rank = len(place.split_dims)
    order = [axis + 1 if axis < place.place else 0 if axis == place.place else axis for axis in range(rank)]
    if place.place != 0:
        value = nodes.op("Transpose", [value], {"perm": order})
    if place.merged:
        value = nodes.op("Reshape", [value, _shape(nodes, [-1 if dim is None else dim for dim in place.dims])])
    return value


def _shape(nodes: tape.Tape, dims: Sequence[int]) -> ir.Value:
    return nodes.op("Constant", [], {"value": ir.tensor(np.array(dims, np.int64))})
