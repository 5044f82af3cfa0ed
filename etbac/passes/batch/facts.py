"""What the analysis knows of a value: where its rows are, what it holds, how large it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

CONSTANT, BATCH, OTHER, CURVED, UNKNOWN = 0, 1, 2, 4, 8
"""What an element of a small value depends on (bits, or-ed): nothing, the batch size, another dynamic dimension;
CURVED: by more than sums and products, so that its value in the worlds says nothing of its value elsewhere; UNKNOWN:
the model's inputs, and its number here is made up."""

MAX_ELEMENTS = 4096
"""Values larger than this are no shape arithmetic."""

Factors = tuple[int, int]


@dataclass(frozen=True)
class World:
    """One choice of every size that a model leaves open: its batch and all its other dynamic dimensions."""

    batch: int
    other: int


@dataclass(frozen=True)
class Rows:
    """Where a value holds the rows of the batch.

    Axis `axis` has size outer·B·inner and index i on it belongs to row (i // inner) % B; `factors` has (outer, inner)
    for each world, for they may depend on dynamic dimensions. `uniform`: all elements along the axis are equal.
    """

    axis: int
    factors: tuple[Factors, ...]
    uniform: bool = False

    @property
    def alone(self) -> bool:
        """Whether the axis holds the batch and nothing else."""
        return all(pair == (1, 1) for pair in self.factors)

    def at(self, axis: int) -> Rows:
        """The same rows on another axis."""
        return Rows(axis, self.factors, self.uniform)

    def __str__(self) -> str:
        outer, inner = self.factors[0]
        merged = "·".join([*([str(outer)] if outer != 1 else []), "B", *([str(inner)] if inner != 1 else [])])
        return f"axis {self.axis} of size {merged}"


@dataclass(frozen=True)
class Content:
    """The elements of a small value in one world, and what each depends on (bits as above)."""

    array: npt.NDArray[Any]
    depends: npt.NDArray[np.int64]

    @property
    def known(self) -> bool:
        return not self.any(UNKNOWN)

    def any(self, bits: int) -> bool:
        """Whether an element depends on one of `bits`."""
        return bool(np.any(self.depends & bits))

    @staticmethod
    def of_constant(array: npt.NDArray[Any]) -> Content:
        return Content(array, np.full(array.shape, CONSTANT, np.int64))

    @staticmethod
    def unknown(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Content:
        return Content(np.zeros(shape, dtype), np.full(shape, UNKNOWN, np.int64))


@dataclass(frozen=True)
class Fact:
    """What is known of one value; tuples have one entry for each world.

    `shapes`: None where not even the rank is known. `contents`: those of small integers, and of all small values that
    are computed from sizes and constants alone (`pure`). `sized`: the elements depend on how many rows there are or on
    a row's number, so that computing the value again from fewer rows gives something else than taking its rows.
    """

    dtype: ir.DataType | None
    shapes: tuple[tuple[int, ...] | None, ...]
    contents: tuple[Content | None, ...]
    rows: Rows | None = None
    sized: bool = False

    @property
    def pure(self) -> bool:
        return all(content is not None and content.known for content in self.contents)


@dataclass(frozen=True)
class BatchAnalysis:
    """A fact for every value of a model, values of sub-graphs included.

    `whole_uses`: (node, input number) of every place that reads, as data, a pure value that depends on the batch size
    or on row numbers: there it means the whole batch. Everywhere else such a value is a shape or an index and means the
    rows that are there; `local` holds those indices that are not pure.
    """

    worlds: tuple[World, ...]
    open_sizes: bool
    """Whether the model has dynamic dimensions besides the batch, or sizes that depend on data."""
    facts: Mapping[ir.Value, Fact]
    whole_uses: frozenset[tuple[ir.Node, int]]
    local: frozenset[ir.Value]

    @property
    def one_size_only(self) -> bool:
        """Whether no second size of the open dimensions fitted, so that nothing is known of what varies with them."""
        return self.open_sizes and len(self.worlds) < 3

    def rows(self, value: ir.Value) -> Rows | None:
        """Where `value` holds the batch, or None if it holds none."""
        return self.facts[value].rows

    def dims(self, value: ir.Value) -> tuple[int | None, ...]:
        """The shape of `value`; None for a dimension that is, or may be, dynamic, and for the axis of the rows."""
        fact = self.facts[value]
        shapes = [shape for shape in fact.shapes if shape is not None]
        fixed = [sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*shapes, strict=True)]
        if self.open_sizes:
            recorded = [isinstance(dim, int) for dim in value.shape or ()]
            proved = recorded if len(recorded) == len(fixed) else [False] * len(fixed)
            fixed = [size if known else None for size, known in zip(fixed, proved, strict=True)]
        return tuple(None if fact.rows is not None and axis == fact.rows.axis else d for axis, d in enumerate(fixed))

    def bytes_per_sample(self, value: ir.Value, max_batch: int) -> float:
        """Bytes that one row of `value` takes; of a value without rows, its bytes shared by `max_batch` rows."""
        fact = self.facts[value]
        shape, dtype = fact.shapes[0], fact.dtype
        if shape is None or dtype is None:
            return float("inf")
        total = float(np.prod(shape)) * dtype.itemsize
        return total / (max_batch if fact.rows is None else self.worlds[0].batch)
