"""LSTM, GRU, RNN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from etbac.passes.batch.facts import Rows
from etbac.passes.batch.rule import Op, RowsMixError, Rule

ALONG_TIME = "it runs along the batch as if it were time"
PER_ROW = {0: "series", 4: "lengths", 5: "first state", 6: "first cell state"}
"""Inputs that have the batch; ONNX broadcasts none of them."""


def recurrent(op: Op) -> Sequence[Rows | None]:
    """X [T, B, I], states [directions, B, H], Y [T, directions, B, H]; with `layout` 1 the batch comes first."""
    axis = 0 if op.attr("layout", 0) else 1
    op.require(0, axis, ALONG_TIME)
    op.no_rows([1, 2, 3, 7], "its weights differ between the rows of the batch")
    op.require(4, 0, "its lengths are not one for each row")
    for state in (5, 6):
        op.require(state, axis, "its first state has the batch on another axis")
    for place, name in PER_ROW.items():
        if op.has(place) and op.rows(place) is None:
            raise RowsMixError(f"its {name} (input {place}) holds a fixed number of rows, written in by an export")
    placed = [op.rows(0), op.rows(5), op.rows(6)]
    lengths = op.rows(4)
    rows = op.join([*placed, None if lengths is None else lengths.at(axis)])
    if rows is None:
        return [None] * len(op.out_shapes)
    states = [rows.at(axis)] * (len(op.out_shapes) - 1)
    return [rows.at(0 if axis == 0 else 2), *states]


RULES: Mapping[str, Rule] = dict.fromkeys(("LSTM", "GRU", "RNN"), recurrent)
