"""Which batch sizes to measure, and at which lengths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from etbac.contract import TensorSpec
from etbac.errors import UsageError

MORE = 4
BEND = 0.05
"""Of the latency between two sizes: where a straight line misses by more, a size is measured between them."""


class Point(NamedTuple):
    """What engines are measured at. `length`: of every dynamic dimension but the batch; None where there is none."""

    batch: int
    length: int | None = None

    def __str__(self) -> str:
        return f"batch {self.batch}" if self.length is None else f"batch {self.batch} and length {self.length}"


def points(batch_sizes: Sequence[int], lengths: Sequence[int]) -> list[Point]:
    """Every batch size at the first length, then at the next; without lengths every batch size."""
    return [Point(size, length) for length in lengths or (None,) for size in batch_sizes]


def powers_of_two(last: int) -> tuple[int, ...]:
    """1, 2, 4, … and `last`."""
    return (*(1 << k for k in range(last.bit_length()) if 1 << k < last), last)


def check_sizes(batch_sizes: Sequence[int], max_batch: int) -> tuple[int, ...]:
    """Each once, ascending; a UsageError for one that the chain was not compiled for."""
    sizes = tuple(sorted(set(batch_sizes)))
    if not sizes or sizes[0] < 1:
        raise UsageError(f"batch sizes start at 1; found {', '.join(map(str, sizes)) or 'none'}")
    if sizes[-1] > max_batch:
        raise UsageError(
            f"batch size {sizes[-1]}: this chain was compiled for batches of up to {max_batch} and splits larger ones. "
            f"Measure up to {max_batch}, or compile it again with --max-batch {sizes[-1]}"
        )
    return sizes


def check_lengths(lengths: Sequence[int], specs: Sequence[TensorSpec]) -> tuple[int, ...]:
    """Each once, ascending; a UsageError where nothing of the inputs has a length to choose."""
    found = tuple(sorted(set(lengths)))
    if not found or found[0] < 1:
        raise UsageError(f"lengths start at 1; found {', '.join(map(str, found)) or 'none'}")
    if not any(spec.lengths for spec in specs):
        shapes = ", ".join(f"{spec.name} [{', '.join(map(str, spec.shape))}]" for spec in specs)
        raise UsageError(
            f"lengths {', '.join(map(str, found))} were asked for, but no dimension of this chain's inputs is dynamic "
            f"besides the batch: {shapes}. Leave --lengths out"
        )
    return found


def where_it_bends(latency: Callable[[int], float], last: int) -> tuple[int, ...]:
    """Powers of two up to `last`, and up to MORE sizes between them where the latency is least like a straight line.

    `latency`: a rough measurement of one size; it is asked once for each size looked at.
    """
    sizes = list(powers_of_two(last))
    found = {size: latency(size) for size in sizes}
    for _ in range(MORE):
        bends = {middle: bend for middle, bend in _bends(sizes, found, latency).items() if bend > BEND}
        if not bends:
            break
        sizes = sorted([*sizes, max(bends, key=lambda middle: bends[middle])])
    return tuple(sizes)


def _bends(sizes: Sequence[int], found: dict[int, float], latency: Callable[[int], float]) -> dict[int, float]:
    """Middle of each gap -> how far a straight line misses it, ÷ its latency."""
    bends = {}
    for low, high in pairwise(sizes):
        middle = (low + high) // 2
        if middle in (low, high):
            continue
        if middle not in found:
            found[middle] = latency(middle)
        straight = np.interp(middle, [low, high], [found[low], found[high]])
        bends[middle] = abs(found[middle] - straight) / found[middle]
    return bends
