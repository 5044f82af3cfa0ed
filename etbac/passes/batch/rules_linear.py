"""Products, convolutions and pooling: the batch is never summed over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from etbac.passes.batch.facts import Rows
from etbac.passes.batch.rule import Op, RowsMixError, Rule
from etbac.passes.batch.rules_layout import batch_first

CONTRACTS = "it sums over the batch"


def matmul(op: Op) -> Sequence[Rows | None]:
    """[…, M, K] · […, K, N]: leading axes broadcast; the batch may be M, N or a leading axis."""
    left, right = op.rank(0), op.rank(1)
    op.forbid(0, [left - 1], CONTRACTS)
    op.forbid(1, [right - 2] if right > 1 else [0], CONTRACTS)
    rank = len(op.out_shape()) + (left == 1) + (right == 1)
    a, b = op.rows(0), op.rows(1)
    placed = op.join(
        [
            None if a is None else a.at(a.axis + rank - max(left, 2) + (left == 1)),
            None if b is None else b.at(b.axis + rank - max(right, 2)),
        ]
    )
    if placed is None:
        return [None]
    if a is not None and b is not None and placed.axis >= rank - 2:
        raise RowsMixError("it multiplies rows of the batch with other rows")
    return [placed.at(placed.axis - 1) if left == 1 and placed.axis == rank - 1 else placed]


def gemm(op: Op) -> Sequence[Rows | None]:
    """A [M, K] (or transposed) · B [K, N] (or transposed) + C, broadcast."""
    m = 1 if op.attr("transA", 0) else 0
    n = 0 if op.attr("transB", 0) else 1
    op.require(0, m, CONTRACTS)
    op.require(1, n, CONTRACTS)
    a, b = op.rows(0), op.rows(1)
    bias = op.rows(2)
    if bias is not None:
        bias = bias.at(bias.axis + 2 - op.rank(2))
    return [op.join([None if a is None else a.at(0), None if b is None else b.at(1), bias])]


def einsum(op: Op) -> Sequence[Rows | None]:
    """By the letters of the equation; `...` stands for axes aligned from the right."""
    left, arrow, right = op.attr("equation").replace(" ", "").partition("->")
    if not arrow:
        raise RowsMixError("its equation has no output part")
    terms = left.split(",")
    dots = [op.rank(index) - len(term.replace("...", "")) for index, term in enumerate(terms)]
    spelled = [_spelled(term, count, max(dots)) for term, count in zip(terms, dots, strict=True)]
    output = _spelled(right, max(dots), max(dots))
    placed = [_on_output(op.rows(index), term, output) for index, term in enumerate(spelled)]
    joined = op.join(placed)
    if joined is None:
        return [None]
    for index, term in enumerate(spelled):
        axis = term.find(output[joined.axis])
        if placed[index] is None and axis >= 0 and op.shape(index)[axis] != 1:
            raise RowsMixError("it multiplies rows of the batch with something else of the batch's size")
    return [joined]


def _on_output(rows: Rows | None, term: str, output: str) -> Rows | None:
    if rows is None:
        return None
    letter = term[rows.axis]
    if letter not in output or term.count(letter) > 1:
        raise RowsMixError(CONTRACTS)
    return rows.at(output.index(letter))


def _spelled(term: str, dots: int, width: int) -> str:
    """The term with `...` written as digits, the last of them aligned."""
    digits = "".join(chr(ord("0") + width - dots + place) for place in range(dots))
    return term.replace("...", digits)


def convolution(op: Op) -> Sequence[Rows | None]:
    """X [B, C, …] with weights that all rows share."""
    op.no_rows(range(1, len(op.inputs)), "its weights differ between the rows of the batch")
    return batch_first(op)


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("MatMul", "MatMulInteger", "QLinearMatMul"), matmul),
    "Gemm": gemm,
    "Einsum": einsum,
    **dict.fromkeys(("Conv", "ConvTranspose", "ConvInteger", "DeformConv", "QLinearConv"), convolution),
    **dict.fromkeys(
        ("MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), batch_first
    ),
}
