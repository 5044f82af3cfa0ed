"""Operators that gather information along axes: none of them may be the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from etbac.passes.batch.facts import Rows
from etbac.passes.batch.rule import Op, RowsMixError, Rule

ACROSS = "it computes across the rows of the batch"


def reduce(op: Op) -> Sequence[Rows | None]:
    """Axes from the input (opset 18) or the attribute; absent means all, unless told to do nothing."""
    rank, given = op.rank(0), op.attr("axes")
    if op.has(1):
        given = op.integers(1)
        if given is None and op.rows(0) is not None:
            raise RowsMixError("the axes that it reduces are not known")
    if not given:
        given = [] if op.attr("noop_with_empty_axes", 0) else range(rank)
    axes = sorted(axis + rank if axis < 0 else axis for axis in given)
    return [_reduced(op, axes, bool(op.attr("keepdims", 1)))]


def arg(op: Op) -> Sequence[Rows | None]:
    return [_reduced(op, [op.axis("axis", op.rank(0))], bool(op.attr("keepdims", 1)))]


def _reduced(op: Op, axes: Sequence[int], keepdims: bool) -> Rows | None:
    op.forbid(0, axes, ACROSS)
    rows = op.rows(0)
    if rows is None or keepdims:
        return rows
    return rows.at(rows.axis - sum(axis < rows.axis for axis in axes))


def along_axis(op: Op) -> Sequence[Rows | None]:
    """Softmax, TopK and others that work along one axis and keep the rank."""
    op.forbid(0, [op.axis("axis", op.rank(0), -1)], ACROSS)
    return [op.rows(0)] * len(op.out_shapes)


def cumulative_sum(op: Op) -> Sequence[Rows | None]:
    axes = op.integers(1)
    if axes is None:
        raise RowsMixError("the axis that it sums along is not known")
    op.forbid(0, [axes[0] % op.rank(0)], ACROSS)
    return [op.rows(0)]


def last_two(op: Op) -> Sequence[Rows | None]:
    """Operators on matrices: the batch must be on another axis."""
    op.forbid(0, [op.rank(0) - 1, op.rank(0) - 2], ACROSS)
    rows = op.rows(0)
    return [rows]


def fourier(op: Op) -> Sequence[Rows | None]:
    axes = op.integers(2) if op.has(2) else [op.attr("axis", -2)]
    if axes is None:
        raise RowsMixError("the axis that it transforms is not known")
    op.forbid(0, [axes[0] % op.rank(0), op.rank(0) - 1], ACROSS)
    return [op.rows(0)]


RULES: Mapping[str, Rule] = {
    **{
        f"Reduce{kind}": reduce
        for kind in ["Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare"]
    },
    **dict.fromkeys(("ArgMax", "ArgMin"), arg),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax", "TopK", "LpNormalization"), along_axis),
    "CumSum": cumulative_sum,
    **dict.fromkeys(("Trilu", "Det"), last_two),
    "DFT": fourier,
}
