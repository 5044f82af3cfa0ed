"""Put the rows of a value on axis 0, alone, before a boundary, and back behind it.

before the boundary:  v [a, o·B·i, c] ─ Reshape [a, o, B, i, c] ─ Transpose ─> [B, a, o, i, c]
behind it:            [K, a, o, i, c] ─ Transpose ─ Reshape [a, o·K·i, c]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import onnx_ir as ir
from onnx_ir import tape

from etbac.passes.batch import BatchAnalysis

BATCH = "batch"

Dim: TypeAlias = "int | str | None"
"""Of a reshape's target: a fixed size, one that is dynamic, or BATCH."""


@dataclass(frozen=True)
class Placement:
    """How to take the rows of one value out.

    `axis` has size outer·B·inner; `dims` are the value's dimensions. None: dynamic, and so is dims[axis].
    """

    axis: int
    outer: int | None
    inner: int | None
    dims: tuple[int | None, ...]

    @property
    def merged(self) -> bool:
        return (self.outer, self.inner) != (1, 1)

    @property
    def apart(self) -> list[Dim]:
        """The dimensions with the batch on an axis of its own."""
        before: list[Dim] = [*self.dims[: self.axis], *_unless_one(self.outer)]
        return [*before, BATCH, *_unless_one(self.inner), *self.dims[self.axis + 1 :]]

    @property
    def together(self) -> list[Dim]:
        """The dimensions of the value itself, BATCH on the axis of the rows."""
        return [BATCH if axis == self.axis else dim for axis, dim in enumerate(self.dims)]

    @property
    def boundary_dims(self) -> list[int | None]:
        """The dimensions at the boundary: the batch first."""
        return [None, *(dim for dim in self.apart if not isinstance(dim, str))]

    @property
    def possible(self) -> bool:
        """Whether a reshape can be written: it may have one dynamic dimension besides the batch."""
        return not self.merged or sum(dim is None for dim in self.apart) <= 1


def can_be_carried(value: ir.Value, analysis: BatchAnalysis) -> bool:
    """Whether the rows of `value` can be taken out, or the whole of it handed on."""
    fact = analysis.facts.get(value)
    if fact is None or fact.dtype is None or fact.shapes[0] is None or fact.dtype == ir.DataType.STRING:
        return False
    if not isinstance(value.type, ir.TensorType | None):
        return False
    if (fact.pure and fact.sized) or value in analysis.local:
        return False
    return fact.rows is None or placement(value, analysis).possible


def placement(value: ir.Value, analysis: BatchAnalysis) -> Placement:
    """Of a value that has rows."""
    rows, dims = analysis.facts[value].rows, analysis.dims(value)
    assert rows is not None
    if rows.alone:
        return Placement(rows.axis, 1, 1, dims)
    outers, inners = zip(*rows.factors, strict=True)
    fixed = [None if analysis.one_size_only or len(set(sizes)) > 1 else sizes[0] for sizes in (outers, inners)]
    return Placement(rows.axis, fixed[0], fixed[1], dims)


def to_front(nodes: tape.Tape, value: ir.Value, place: Placement, batch: ir.Value) -> ir.Value:
    """`value` with its rows alone on axis 0; `batch` (int64 [1]) is how many there are."""
    if place.merged:
        value = nodes.op("Reshape", [value, _target(nodes, place.apart, batch, 1)])
    at = place.apart.index(BATCH)
    order = [at, *(axis for axis in range(len(place.apart)) if axis != at)]
    return value if at == 0 else nodes.op("Transpose", [value], {"perm": order})


def from_front(nodes: tape.Tape, value: ir.Value, place: Placement, batch: ir.Value) -> ir.Value:
    """The inverse of `to_front`."""
    at = place.apart.index(BATCH)
    order = [axis + 1 if axis < at else 0 if axis == at else axis for axis in range(len(place.apart))]
    if at != 0:
        value = nodes.op("Transpose", [value], {"perm": order})
    if place.merged:
        times = None if place.outer is None or place.inner is None else place.outer * place.inner
        value = nodes.op("Reshape", [value, _target(nodes, place.together, batch, times)])
    return value


def _target(nodes: tape.Tape, dims: Sequence[Dim], batch: ir.Value, times: int | None) -> ir.Value:
    """A reshape's target in which BATCH stands for `times` · `batch`, or for whatever is left."""
    if times is None or None not in dims:
        return _constant(nodes, [-1 if dim == BATCH else dim for dim in dims])
    size = batch if times == 1 else nodes.op("Mul", [batch, _constant(nodes, [times])])
    parts = [size if dim == BATCH else _constant(nodes, [-1 if dim is None else dim]) for dim in dims]
    return nodes.op("Concat", parts, {"axis": 0})


def _constant(nodes: tape.Tape, dims: Sequence[Dim]) -> ir.Value:
    return nodes.op("Constant", [], {"value": ir.tensor(np.array(dims, np.int64))})


def _unless_one(factor: int | None) -> list[int | None]:
    return [] if factor == 1 else [factor]
