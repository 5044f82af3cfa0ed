"""Operators that move or copy elements: the order of the rows is followed exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from etbac.passes.batch.facts import BATCH, Factors, Rows
from etbac.passes.batch.rule import Op, RowsMixError, Rule

OUT_OF_REACH = 1 << 30
"""Bounds of a slice from here on mean "to the end"."""


def elementwise(op: Op) -> Sequence[Rows | None]:
    """Broadcasting from the right."""
    rank = len(op.out_shape())
    aligned = [
        None if rows is None else rows.at(rows.axis + rank - op.rank(index))
        for index, rows in ((index, op.rows(index)) for index in range(len(op.inputs)))
    ]
    joined = op.join(aligned)
    if joined is None:
        return [None]
    uniform = all(fact is None or fact.rows is None or fact.rows.uniform for fact in op.inputs)
    return [Rows(joined.axis, joined.factors, uniform)] * len(op.out_shapes)


def same_order(op: Op) -> Sequence[Rows | None]:
    """Reshape and its kin: the elements keep their order, so the rows are where that order puts them."""
    rows = op.rows(0)
    if rows is None:
        return [None]
    try:
        found = [_refactor(op, world, rows.axis, rows.factors[world]) for world in range(len(op.worlds))]
    except RowsMixError:
        if not rows.uniform:
            raise
        swapped = [(inner, outer) for outer, inner in rows.factors]
        found = [_refactor(op, world, rows.axis, swapped[world]) for world in range(len(op.worlds))]
    if len({axis for axis, _ in found}) != 1:
        raise RowsMixError("the batch does not stay on one axis")
    moved = Rows(found[0][0], tuple(factors for _, factors in found))
    uniform = rows.uniform and (moved.alone or moved.factors == rows.factors)
    return [Rows(moved.axis, moved.factors, uniform)]


def _refactor(op: Op, world: int, axis: int, factors: Factors) -> tuple[int, Factors]:
    batch = op.worlds[world].batch
    shape, target = op.shape(0, world), op.out_shape(0, world)
    before = math.prod(shape[:axis]) * factors[0]
    after = factors[1] * math.prod(shape[axis + 1 :])
    outside = 1
    for place, size in enumerate(target):
        if outside * size >= before * batch:
            outer, inner = before // outside, size * outside // (before * batch)
            exact = outer * outside == before and outer * batch * inner == size
            if not exact or inner * math.prod(target[place + 1 :]) != after:
                break
            return place, (outer, inner)
        outside *= size
    raise RowsMixError(f"it reshapes {_dims(shape)} to {_dims(target)} (batch {batch}), which splits the batch")


def _dims(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def transpose(op: Op) -> Sequence[Rows | None]:
    rows = op.rows(0)
    if rows is None:
        return [None]
    order = list(op.attr("perm", range(op.rank(0) - 1, -1, -1)))
    return [rows.at(order.index(rows.axis))]


def expand(op: Op) -> Sequence[Rows | None]:
    """Broadcast to a shape; a value without rows that grows with the batch gets equal ones."""
    rows, rank = op.rows(0), len(op.out_shape())
    if rows is not None:
        return [rows.at(rows.axis + rank - op.rank(0))]
    return [equal_rows(op)]


def equal_rows(op: Op) -> Rows | None:
    """Rows of an output that copies the same elements along every axis that grows with the batch."""
    first, second = op.out_shape(0, 0), op.out_shape(0, 1)
    grown = [axis for axis, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    if not grown:
        return None
    if len(grown) > 1:
        raise RowsMixError("two axes of its output grow with the batch")
    factors: list[Factors] = []
    for number, world in enumerate(op.worlds):
        size = op.out_shape(0, number)[grown[0]]
        if size % world.batch:
            raise RowsMixError(f"its output has {size} elements on axis {grown[0]} for {world.batch} rows")
        factors.append((1, size // world.batch))
    return Rows(grown[0], tuple(factors), uniform=True)


def constant_of_shape(op: Op) -> Sequence[Rows | None]:
    return [equal_rows(op)]


def tile(op: Op) -> Sequence[Rows | None]:
    rows = op.rows(0)
    if rows is None:
        if any(a != b and op.shape(0)[axis] != 1 for axis, (a, b) in _grown(op)):
            raise RowsMixError("it repeats an axis as often as there are rows")
        return [equal_rows(op)]
    repeats = [op.out_shape(0, w)[rows.axis] // op.shape(0, w)[rows.axis] for w in range(len(op.worlds))]
    factors = tuple((outer * times, inner) for (outer, inner), times in zip(rows.factors, repeats, strict=True))
    return [Rows(rows.axis, factors, rows.uniform)]


def _grown(op: Op) -> list[tuple[int, tuple[int, int]]]:
    return list(enumerate(zip(op.out_shape(0, 0), op.out_shape(0, 1), strict=True)))


def concat(op: Op) -> Sequence[Rows | None]:
    axis = op.axis("axis", op.rank(0))
    rows = [op.rows(index) for index in range(len(op.inputs))]
    if all(each is None or each.axis != axis for each in rows):
        return [op.join(rows)]
    if any(each is None or each.axis != axis for each in rows):
        raise RowsMixError("it joins rows of the batch with other rows along the batch")
    present = [each for each in rows if each is not None]
    factors = []
    for world in range(len(op.worlds)):
        inners = {each.factors[world][1] for each in present}
        if len(inners) != 1:
            raise RowsMixError("it joins batches that are merged with other axes in different ways")
        factors.append((sum(each.factors[world][0] for each in present), inners.pop()))
    return [Rows(axis, tuple(factors))]


def split(op: Op) -> Sequence[Rows | None]:
    rows, axis = op.rows(0), op.axis("axis", op.rank(0))
    if rows is None or rows.axis != axis:
        return [rows] * len(op.out_shapes)
    starts = [0] * len(op.worlds)
    parts: list[Rows | None] = []
    for output in range(len(op.out_shapes)):
        sizes = [op.out_shape(output, world)[axis] for world in range(len(op.worlds))]
        parts.append(whole_batches(op, rows, starts, sizes))
        starts = [start + size for start, size in zip(starts, sizes, strict=True)]
    return parts


def whole_batches(op: Op, rows: Rows, starts: Sequence[int], sizes: Sequence[int]) -> Rows | None:
    """The rows of a piece of the batch axis: it must hold every row equally often."""
    factors = []
    for world, (start, size) in enumerate(zip(starts, sizes, strict=True)):
        step = op.worlds[world].batch * rows.factors[world][1]
        if start % step or size % step:
            if not _is_piece_of_equal_rows(rows, sizes):
                raise RowsMixError("it takes particular rows of the batch")
            return None
        factors.append((size // step, rows.factors[world][1]))
    return Rows(rows.axis, tuple(factors), rows.uniform)


def _is_piece_of_equal_rows(rows: Rows, sizes: Sequence[int]) -> bool:
    """Whether any piece of this size is the same, whatever the batch."""
    return rows.uniform and rows.alone and sizes[0] == sizes[1]


def slice_(op: Op) -> Sequence[Rows | None]:
    rows = op.rows(0)
    if rows is None:
        return [None]
    _check_bounds(op, rows.axis, rows.uniform)
    place = _slice_place(op, rows.axis, 0)
    if place is None:
        return [rows]
    sizes = [op.out_shape(0, world)[rows.axis] for world in range(len(op.worlds))]
    starts = [_slice_start(op, rows.axis, world) for world in range(len(op.worlds))]
    return [whole_batches(op, rows, starts, sizes)]


def _check_bounds(op: Op, axis: int, uniform: bool) -> None:
    """On the axis of the rows a bound follows the batch or is out of reach; elsewhere it has nothing to do with it."""
    places = [_slice_place(op, each, 0) for each in range(op.rank(0))]
    for index in (1, 2):
        fact = op.inputs[index]
        content = None if fact is None else fact.contents[0]
        if content is None or not content.known:
            if places[axis] is not None and not uniform:
                raise RowsMixError("it takes particular rows of the batch")
            continue
        bounds, depends = content.array.reshape(-1), content.depends.reshape(-1)
        for each, place in enumerate(places):
            if place is None:
                continue
            follows = bool(depends[place] & BATCH)
            if follows and each != axis:
                raise RowsMixError("it cuts another axis by the number of rows")
            if each == axis and not uniform and not follows and 0 < abs(int(bounds[place])) < OUT_OF_REACH:
                raise RowsMixError("it takes particular rows of the batch")


def _forward(op: Op, axis: int) -> bool:
    steps = op.integers(4)
    if steps is None:
        return not op.has(4)
    place = _slice_place(op, axis, 0)
    return place is None or steps[place] == 1


def _slice_place(op: Op, axis: int, world: int) -> int | None:
    axes = op.integers(3, world) if op.has(3) else list(range(op.rank(0)))
    if axes is None:
        raise RowsMixError("the axes that it slices are not known")
    counted = [each + op.rank(0) if each < 0 else each for each in axes]
    return counted.index(axis) if axis in counted else None


def _slice_start(op: Op, axis: int, world: int) -> int:
    place, starts = _slice_place(op, axis, world), op.integers(1, world)
    if place is None or starts is None or not _forward(op, axis):
        raise RowsMixError("it takes particular rows of the batch")
    size, start = op.shape(0, world)[axis], starts[place]
    return max(start + size, 0) if start < 0 else min(start, size)


def pad(op: Op) -> Sequence[Rows | None]:
    rows = op.rows(0)
    if rows is not None and op.out_shape()[rows.axis] != op.shape(0)[rows.axis]:
        raise RowsMixError("it pads the batch")
    op.no_rows([2], "its padding value differs between rows")
    return [rows]


def resize(op: Op) -> Sequence[Rows | None]:
    rows = op.rows(0)
    if rows is not None and op.out_shape()[rows.axis] != op.shape(0)[rows.axis]:
        raise RowsMixError("it resizes the batch")
    if op.attr("coordinate_transformation_mode") == "tf_crop_and_resize":
        raise RowsMixError("it crops as it resizes")
    return [rows]


def batch_first(op: Op) -> Sequence[Rows | None]:
    """Every input that has rows has them on axis 0, and so has every output."""
    for index in range(len(op.inputs)):
        op.require(index, 0, "it expects the batch on axis 0")
    joined = op.join([op.rows(index) for index in range(len(op.inputs))])
    return [joined] * len(op.out_shapes)


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), same_order),
    "Transpose": transpose,
    "Expand": expand,
    "ConstantOfShape": constant_of_shape,
    "Tile": tile,
    "Concat": concat,
    "Split": split,
    "Slice": slice_,
    "Pad": pad,
    "Resize": resize,
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth", "Col2Im", "GridSample", "AffineGrid"), batch_first),
}
