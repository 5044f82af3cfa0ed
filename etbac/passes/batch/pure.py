"""Facts of values that are computed from sizes and constants alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from etbac.passes.batch.facts import BATCH, OTHER, Content, Fact, Factors, Rows, World
from etbac.passes.batch.rule import RowsMixError


def shape_fact(node: ir.Node, source: Fact | None, worlds: tuple[World, ...], open_sizes: bool) -> Fact:
    """Of Shape or Size."""
    if source is None or any(shape is None for shape in source.shapes):
        raise RowsMixError("the rank of its input is not known")
    shapes = [shape for shape in source.shapes if shape is not None]
    bits = np.array(_depends(shapes, source.rows, open_sizes), np.int64)
    contents = tuple(_shape_content(node, np.array(shape, np.int64), bits) for shape in shapes)
    sizes = tuple(content.array.shape for content in contents)
    return pure_fact(Fact(ir.DataType.INT64, sizes, contents), worlds)


def _shape_content(node: ir.Node, sizes: npt.NDArray[np.int64], bits: npt.NDArray[np.int64]) -> Content:
    if node.op_type == "Size":
        return Content(np.array(np.prod(sizes), np.int64), np.array(np.bitwise_or.reduce(bits, initial=0), np.int64))
    start, end = (node.attributes.get_int(name, default) for name, default in (("start", 0), ("end", None)))
    return Content(sizes[start:end], bits[start:end])


def _depends(shapes: Sequence[tuple[int, ...]], rows: Rows | None, open_sizes: bool) -> list[int]:
    """What each dimension depends on; where the other sizes could not be varied, any may depend on them."""
    if len(shapes) == 3:
        depends = [OTHER if a != b else 0 for a, b in zip(shapes[0], shapes[2], strict=True)]
    else:
        depends = [OTHER if open_sizes else 0] * len(shapes[0])
    if rows is not None:
        depends[rows.axis] |= BATCH
    return depends


def pure_fact(fact: Fact, worlds: tuple[World, ...]) -> Fact:
    """Add where the rows are (on the axis that grows with the batch) and whether the elements depend on the batch."""
    contents = [content for content in fact.contents if content is not None]
    told = any(content.any(BATCH) for content in contents)
    first, second = contents[0].array.shape, contents[1].array.shape
    if len(first) != len(second):
        raise RowsMixError("its rank depends on the batch size")
    grown = [axis for axis, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    if not grown:
        told = told or not np.array_equal(contents[0].array, contents[1].array)
        return replace(fact, sized=told, contents=_marked(contents) if told else fact.contents)
    if len(grown) > 1:
        raise RowsMixError("two axes of its output grow with the batch")
    rows, equal = _rows(contents, grown[0], worlds)
    if equal:
        return replace(fact, rows=rows, sized=told)
    return replace(fact, rows=rows, sized=True, contents=_marked(contents))


def _marked(contents: Sequence[Content]) -> tuple[Content, ...]:
    """Contents that differ from batch to batch, told so where nothing else tells it."""
    if any(content.any(BATCH) for content in contents):
        return tuple(contents)
    return tuple(Content(content.array, content.depends | BATCH) for content in contents)


def _rows(contents: Sequence[Content], axis: int, worlds: tuple[World, ...]) -> tuple[Rows, bool]:
    """Where the rows are, and whether they are equal to each other."""
    totals = []
    for content, world in zip(contents, worlds, strict=True):
        size = content.array.shape[axis]
        if size % world.batch:
            raise RowsMixError(f"its output has {size} elements on axis {axis} for {world.batch} rows")
        totals.append(size // world.batch)
    arrays = [content.array for content in contents]
    uniform = all(bool(np.all(array == np.take(array, [0], axis))) for array in arrays)
    behind, before = [(1, total) for total in totals], [(total, 1) for total in totals]
    for factors in (behind, before):
        if all(_equal(a, axis, w.batch, f) for a, w, f in zip(arrays, worlds, factors, strict=True)):
            return Rows(axis, tuple(factors), uniform), True
    return Rows(axis, tuple(behind)), False


def _equal(array: npt.NDArray[np.generic], axis: int, batch: int, factors: Factors) -> bool:
    """Whether all rows hold the same."""
    split = array.reshape(*array.shape[:axis], factors[0], batch, factors[1], *array.shape[axis + 1 :])
    return bool(np.all(split == np.take(split, [0], axis + 1)))
