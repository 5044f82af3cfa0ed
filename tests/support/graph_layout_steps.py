"""Row-independent steps of random graphs that move rows: transposes, merges of the batch with other axes and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from support.graph_builder import MAX_ROW_SIZE, Graph, Tensor
from support.graph_steps import Step, spelled


def transpose(g: Graph, t: Tensor) -> Tensor | None:
    return g.transpose(t, [int(p) for p in g.rng.permutation(t.rank)]) if t.rank > 1 else None


def to_rows(g: Graph, t: Tensor) -> Tensor:
    return g.rows(t)


def merge(g: Graph, t: Tensor) -> Tensor | None:
    """The batch and a neighbouring axis become one: heads * B or B * windows."""
    if t.axis is None or t.rank < 3:
        return None
    sides = [side for side in (-1, 1) if 0 <= t.axis + side < t.rank and t.dims[t.axis + side] > 1]
    if not sides:
        return None
    side = int(str(g.choose(sides)))
    other = t.dims[t.axis + side]
    low = min(t.axis, t.axis + side)
    dims = (*t.dims[:low], t.dims[t.axis] * other, *t.dims[low + 2 :])
    outer, inner = (t.outer * other, t.inner) if side < 0 else (t.outer, t.inner * other)
    return g.reshape(t, dims, low, outer, inner)


def unmerge(g: Graph, t: Tensor) -> Tensor | None:
    return None if t.alone else g.unmerge(t)


def windows(g: Graph, t: Tensor) -> Tensor | None:
    """[B, T, C] → [B * windows, T / windows, C], as a windowed attention does."""
    even = [axis for axis in t.free_axes if t.dims[axis] % 2 == 0 and t.dims[axis] > 2]
    if not t.is_rows or t.rank != 3 or 1 not in even:
        return None
    split = g.reshape(t, (1, 2, t.dims[1] // 2, t.dims[2]), 0)
    return merge(g, split)


def heads(g: Graph, t: Tensor) -> Tensor | None:
    """[B, T, C] → [heads * B, T, C / heads] or [B * heads, T, C / heads]."""
    if not t.is_rows or t.rank != 3 or t.dims[2] % 2 or t.dims[2] < 4:
        return None
    split = g.reshape(t, (1, t.dims[1], 2, t.dims[2] // 2), 0)
    if g.chance(0.5):
        placed = g.transpose(split, (2, 0, 1, 3))
        return g.reshape(placed, (2, t.dims[1], t.dims[2] // 2), 0, outer=2)
    placed = g.transpose(split, (0, 2, 1, 3))
    return g.reshape(placed, (2, t.dims[1], t.dims[2] // 2), 0, inner=2)


def reshape_features(g: Graph, t: Tensor) -> Tensor | None:
    """Splits an axis without the batch in two, or merges two such neighbours."""
    pairs = [axis for axis in t.free_axes if axis + 1 in t.free_axes]
    if pairs and g.chance(0.6):
        axis = int(str(g.choose(pairs)))
        dims = (*t.dims[:axis], t.dims[axis] * t.dims[axis + 1], *t.dims[axis + 2 :])
        moved = t.axis - 1 if t.axis is not None and axis < t.axis else t.axis
        return g.reshape(t, dims, moved, t.outer, t.inner)
    even = [axis for axis in t.free_axes if t.dims[axis] % 2 == 0]
    if not even or t.rank > 4:
        return None
    axis = int(str(g.choose(even)))
    dims = (*t.dims[:axis], 2, t.dims[axis] // 2, *t.dims[axis + 1 :])
    moved = t.axis + 1 if t.axis is not None and axis < t.axis else t.axis
    return g.reshape(t, dims, moved, t.outer, t.inner)


def unsqueeze(g: Graph, t: Tensor) -> Tensor | None:
    if t.rank > 3:
        return None
    axis = int(g.rng.integers(t.rank + 1))
    moved = t.axis + 1 if t.axis is not None and axis <= t.axis else t.axis
    name = g.op("Unsqueeze", t.name, g.const([spelled(g, axis, t.rank + 1)]))
    return replace(t, name=name, dims=(*t.dims[:axis], 1, *t.dims[axis:]), axis=moved)


def squeeze(g: Graph, t: Tensor) -> Tensor | None:
    ones = [axis for axis in t.free_axes if t.dims[axis] == 1]
    if not ones or t.rank < 3:
        return None
    axis = ones[0]
    moved = t.axis - 1 if t.axis is not None and axis < t.axis else t.axis
    name = g.op("Squeeze", t.name, g.const([axis]))
    return replace(t, name=name, dims=t.dims[:axis] + t.dims[axis + 1 :], axis=moved)


# -- several batches on one axis --


def join_batches(g: Graph, t: Tensor) -> Tensor | None:
    """Two batches one behind the other, or the same one twice: an axis of size 2 * B."""
    if t.axis is None or 2 * t.size > MAX_ROW_SIZE:
        return None
    if g.chance(0.3):
        name = g.op("Tile", t.name, g.const([2 if axis == t.axis else 1 for axis in range(t.rank)]))
    else:
        other = g.adapt(g.pick(g.pool, 0.2), t)
        name = g.op("Concat", t.name, other.name, axis=spelled(g, t.axis, t.rank))
    return replace(t.with_dim(t.axis, 2 * t.dims[t.axis], name), outer=2 * t.outer)


def part_batches(g: Graph, t: Tensor) -> Tensor | None:
    """The halves of an axis that holds an even number of batches, one behind the other, subtracted."""
    if t.axis is None or t.outer % 2:
        return None
    first, second = g.ops("Split", [t.name], 2, axis=t.axis, num_outputs=2)
    half = replace(t.with_dim(t.axis, t.dims[t.axis] // 2, first), outer=t.outer // 2)
    g.pool.insert(0, replace(half, name=second))
    return replace(half, name=g.op("Sub", first, second))


LAYOUTS: Sequence[Step] = (
    transpose, transpose, to_rows, merge, merge, unmerge, windows, heads, reshape_features, unsqueeze, squeeze,
    join_batches, join_batches, part_batches, part_batches,
)  # fmt: skip
