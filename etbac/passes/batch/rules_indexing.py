"""Operators that read or write at indices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from etbac.passes.batch.facts import UNKNOWN, Rows
from etbac.passes.batch.rule import Op, RowsMixError, Rule

PICKS = "it takes particular rows of the batch"


def gather(op: Op) -> Sequence[Rows | None]:
    axis = op.axis("axis", op.rank(0))
    data, indices = op.rows(0), op.rows(1)
    if data is None:
        return [None if indices is None else indices.at(axis + indices.axis)]
    if data.axis == axis:
        return [_rows_by_number(op, data)]
    if indices is not None:
        raise RowsMixError("it looks up every row of the batch for every row")
    return [data.at(data.axis + (op.rank(1) - 1 if data.axis > axis else 0))]


def _rows_by_number(op: Op, data: Rows) -> Rows | None:
    """Indices on the batch axis: all row numbers in order, or any one of rows that are equal."""
    if data.alone and op.rank(1) == 1 and all(_is_range(op, world) for world in range(len(op.worlds))):
        return data
    if data.uniform and data.alone and op.rows(1) is None:
        return None
    raise RowsMixError(PICKS)


def _is_range(op: Op, world: int) -> bool:
    return op.integers(1, world) == list(range(op.worlds[world].batch))


def gather_elements(op: Op) -> Sequence[Rows | None]:
    axis, indices = op.axis("axis", op.rank(0)), op.rows(1)
    if op.rows(0) is None and indices is not None and indices.axis == axis:
        return [indices]
    op.forbid(0, [axis], PICKS)
    return [_aligned(op, [0, 1])]


def scatter_elements(op: Op) -> Sequence[Rows | None]:
    for index in range(3):
        op.forbid(index, [op.axis("axis", op.rank(0))], "it writes to particular rows of the batch")
    return [_aligned(op, [0, 1, 2])]


def _aligned(op: Op, indices: Sequence[int]) -> Rows | None:
    """The rows of inputs of one rank, each of which must have them (there is no broadcasting here)."""
    rows = op.join([op.rows(index) for index in indices])
    if rows is not None and any(op.rows(index) is None for index in indices):
        raise RowsMixError("one of its inputs has no rows of the batch")
    return rows


def gather_nd(op: Op) -> Sequence[Rows | None]:
    batch_dims, depth = int(op.attr("batch_dims", 0)), op.shape(1)[-1]
    data, indices = op.rows(0), op.rows(1)
    if indices is not None and indices.axis == op.rank(1) - 1:
        raise RowsMixError(PICKS)
    if data is not None and data.axis < batch_dims:
        return [_aligned(op, [0, 1])]
    if data is not None and data.axis < batch_dims + depth:
        return [_own_row(op, data, indices, data.axis - batch_dims)]
    if data is not None and indices is not None:
        raise RowsMixError("it looks up every row of the batch for every row")
    if data is not None:
        return [data.at(op.rank(1) - 1 + data.axis - batch_dims - depth)]
    return [indices]


def _own_row(op: Op, data: Rows, indices: Rows | None, column: int) -> Rows:
    """Indices [B, …, depth] whose `column` is the row's own number."""
    if indices is None or not indices.alone or not data.alone or op.attr("batch_dims", 0):
        raise RowsMixError(PICKS)
    for world, sizes in enumerate(op.worlds):
        fact = op.inputs[1]
        content = None if fact is None else fact.contents[world]
        if content is None or np.any(content.depends[..., column] & UNKNOWN):
            raise RowsMixError(PICKS)
        numbers = np.moveaxis(content.array[..., column], indices.axis, -1)
        if not np.array_equal(numbers, np.broadcast_to(np.arange(sizes.batch), numbers.shape)):
            raise RowsMixError(PICKS)
    return indices


def scatter_nd(op: Op) -> Sequence[Rows | None]:
    depth = op.shape(1)[-1]
    data, updates = op.rows(0), op.rows(2)
    op.no_rows([1], "it writes to particular rows of the batch")
    if data is None and updates is None:
        return [None]
    moved = None if updates is None else updates.at(updates.axis - (op.rank(1) - 1) + depth)
    if moved is not None and moved.axis < depth:
        raise RowsMixError("it writes to particular rows of the batch")
    op.forbid(0, range(depth), "it writes to particular rows of the batch")
    rows = op.join([data, moved])
    if data is None or (updates is None):
        raise RowsMixError("one of its inputs has no rows of the batch")
    return [rows]


def one_hot(op: Op) -> Sequence[Rows | None]:
    op.no_rows([1, 2], "its values differ between the rows of the batch")
    rows = op.rows(0)
    axis = op.axis("axis", op.rank(0) + 1, -1)
    return [None if rows is None else rows.at(rows.axis + (axis <= rows.axis))]


RULES: Mapping[str, Rule] = {
    "Gather": gather,
    "GatherElements": gather_elements,
    **dict.fromkeys(("ScatterElements", "Scatter"), scatter_elements),
    "GatherND": gather_nd,
    "ScatterND": scatter_nd,
    "OneHot": one_hot,
}
