"""What a rule sees of a node, and what it may answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from etbac.passes.batch.facts import Fact, Rows, World


class RowsMixError(Exception):
    """The rows of a batch cannot be told apart behind this node; the message says why."""


@dataclass(frozen=True)
class Op:
    """A node with the facts of its inputs (None for an omitted one) and the shapes of its outputs, for each world."""

    node: ir.Node
    worlds: tuple[World, ...]
    inputs: Sequence[Fact | None]
    out_shapes: Sequence[tuple[tuple[int, ...] | None, ...]]
    """[output][world]"""

    def rows(self, index: int) -> Rows | None:
        fact = self.inputs[index] if index < len(self.inputs) else None
        return None if fact is None else fact.rows

    def shape(self, index: int, world: int = 0) -> tuple[int, ...]:
        """The shape of an input; it must be known."""
        fact = self.inputs[index]
        shape = None if fact is None else fact.shapes[world]
        if shape is None:
            raise RowsMixError(f"the rank of its input {index} is not known")
        return shape

    def rank(self, index: int) -> int:
        return len(self.shape(index))

    def out_shape(self, index: int = 0, world: int = 0) -> tuple[int, ...]:
        shape = self.out_shapes[index][world]
        if shape is None:
            raise RowsMixError(f"the rank of its output {index} is not known")
        return shape

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and self.inputs[index] is not None

    def integers(self, index: int, world: int = 0) -> list[int] | None:
        """The elements of an input that is known, else None."""
        fact = self.inputs[index] if index < len(self.inputs) else None
        content = None if fact is None else fact.contents[world]
        if content is None or not content.known:
            return None
        return [int(element) for element in content.array.reshape(-1)]

    def attr(self, name: str, default: Any = None) -> Any:
        attribute = self.node.attributes.get(name)
        return default if attribute is None else attribute.value

    def axis(self, name: str, rank: int, default: int = 0) -> int:
        """An axis attribute, counted from 0."""
        axis = int(self.attr(name, default))
        return axis + rank if axis < 0 else axis

    def forbid(self, index: int, axes: Sequence[int], why: str) -> None:
        """The rows of an input must not be on one of `axes`."""
        rows = self.rows(index)
        if rows is not None and rows.axis in axes:
            raise RowsMixError(why)

    def require(self, index: int, axis: int, why: str) -> None:
        """The rows of an input, if it has any, must be on `axis`."""
        rows = self.rows(index)
        if rows is not None and rows.axis != axis:
            raise RowsMixError(why)

    def no_rows(self, indices: Sequence[int], why: str) -> None:
        if any(self.rows(index) is not None for index in indices):
            raise RowsMixError(why)

    def join(self, candidates: Sequence[Rows | None]) -> Rows | None:
        """The one place of the rows of values that meet element by element; equal rows fit in anywhere."""
        found = [rows for rows in candidates if rows is not None]
        if not found:
            return None
        definite = [rows for rows in found if not rows.uniform] or found[:1]
        first = definite[0]
        if any(rows.axis != first.axis for rows in found):
            raise RowsMixError("it brings rows of the batch together with other rows")
        for rows in found:
            same_size = all(math.prod(a) == math.prod(b) for a, b in zip(rows.factors, first.factors, strict=True))
            if not same_size or (not rows.uniform and rows.factors != first.factors):
                raise RowsMixError("it brings rows of the batch together with other rows")
        return first


Rule = Callable[[Op], Sequence[Rows | None]]
"""Where each output holds its rows, given where the inputs do; raises RowsMixError. Called if an input has rows."""
