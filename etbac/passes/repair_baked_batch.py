"""Batch sizes that an export wrote into reshapes as constants: put back where that is provably right."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import numpy as np
import onnx_ir as ir

from etbac.passes.infer_shapes import InferShapes
from etbac.passes.name_batch import BATCH
from etbac.passes.refuse_lost_batch import batch_refusal, loses_batch

COPY, REST = 0, -1
"""What 0 and -1 mean in a Reshape's target."""

Factor: TypeAlias = "int | str | None"


@dataclass(frozen=True)
class RepairBakedBatch(ir.passes.InPlacePass):
    """Put the batch back into reshapes that an export at one batch size made constant.

    before:  x [batch, 196, 768] ─ Reshape([1, -1, 64]) ─> …         x [101, batch, 768] ─ Reshape([101, 8, 96]) ─> …
    after:   x [batch, 196, 768] ─ Reshape([0, -1, 64]) ─> …         x [101, batch, 768] ─ Reshape([101, -1, 96]) ─> …

    A target that fixes the number of elements is wrong at every other batch size, so it is always an artefact. One that
    a -1 keeps possible (the first) may be meant, and is touched only where otherwise an output loses its batch. Either
    is repaired only if the axis that held the batch follows from the order of the elements; the graph is then the same
    at the batch size of the export, and works row by row at others. A reshape of the first kind for which it does not
    follow is refused, by its name.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        modified = False
        while (repair := _next_repair(model)) is not None:
            node, target = repair
            _forget_shapes_below(node, model)
            _set_target(node, target)
            InferShapes()(model)
            modified = True
        return ir.passes.PassResult(model, modified)


def _next_repair(model: ir.Model) -> tuple[ir.Node, list[int]] | None:
    """The first reshape that no other batch size can pass, else the first suspicious one if an output has no batch."""
    reshapes = list(_constant_reshapes(model.graph))
    for node, factors, target in reshapes:
        if REST not in target:
            repaired = _repaired(factors, target)
            if repaired is None:
                raise batch_refusal(node, "fixes the batch size, and does not show where it stood")
            return node, repaired
    if not any(loses_batch(value, model) for value in model.graph.outputs):
        return None
    suspicious = ((node, _repaired(factors, target)) for node, factors, target in reshapes if REST in target)
    return next(((node, repaired) for node, repaired in suspicious if repaired is not None), None)


def _constant_reshapes(graph: ir.Graph) -> Iterator[tuple[ir.Node, list[Factor], list[int]]]:
    """Reshapes of a value with one batch to a constant target that does not copy the batch's axis.

    With each come the factors of its input's size in row-major order, `batch` among them, and the target.
    """
    for node in graph:
        if (
            node.op_type != "Reshape"
            or node.domain not in ("", "ai.onnx")
            or node.attributes.get_int("allowzero", False)
        ):
            continue
        source, shape = node.inputs
        constant = None if shape is None else ir.convenience.get_const_tensor(shape)
        if source is None or source.shape is None or constant is None:
            continue
        target = [int(size) for size in constant.numpy()]
        axes = [_factors(dim) for dim in source.shape]
        if COPY in target:
            target = _without_copies(target, axes)
        factors = [factor for axis in axes for factor in axis]
        if factors.count(BATCH) == 1 and COPY not in target:
            yield node, factors, target


def _factors(dim: int | ir.SymbolicDim) -> list[Factor]:
    """[n] of a fixed size, [`batch`], [`batch`, n] of the size of a batch merged with n, [None] of anything else."""
    if isinstance(dim, int):
        return [dim]
    if dim.value is None:
        return [None]
    merged = re.fullmatch(rf"{BATCH}\*(\d+)", dim.value)
    if merged is not None:
        return [BATCH, int(merged[1])]
    return [BATCH] if dim.value == BATCH else [None]


def _without_copies(target: Sequence[int], axes: Sequence[list[Factor]]) -> list[int]:
    """`target` with the 0s that copy a fixed size written out."""
    sizes = list(target)
    for place, size in enumerate(target):
        if size == COPY and place < len(axes) and isinstance(axes[place][0], int):
            sizes[place] = cast(int, axes[place][0])
    return sizes


def _repaired(factors: Sequence[Factor], target: Sequence[int]) -> list[int] | None:
    """`target` with the batch on the one axis where row-major order allows it; None where there is none, or two."""
    at = factors.index(BATCH)
    before, rest = _product(factors[:at]), _product([*factors[:at], *factors[at + 1 :]])
    places = [place for place in range(len(target)) if _product(target[:place]) == before is not None]
    if REST in target:
        first = at == 0 and target[0] == 1
        return [COPY, *target[1:]] if first else None

    if rest is None or math.prod(target) % rest != 0:
        return None
    exported_at = math.prod(target) // rest
    alone = [place for place in places if target[place] == exported_at]
    merged = [place for place in places if target[place] % exported_at == 0]
    chosen = [at] if at in alone else alone or merged
    return [*target[: chosen[0]], REST, *target[chosen[0] + 1 :]] if len(chosen) == 1 else None


def _product(factors: Sequence[Factor]) -> int | None:
    known = [factor for factor in factors if isinstance(factor, int) and factor >= 0]
    return math.prod(known) if len(known) == len(factors) else None


def _forget_shapes_below(node: ir.Node, model: ir.Model) -> None:
    """Forget what was inferred from the constant; of outputs the first axis alone."""
    below: set[ir.Node] = set()
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if current not in below:
            below.add(current)
            waiting.extend(current.successors())
    outputs = set(model.graph.outputs)
    for value in (value for current in below for value in current.outputs):
        if value.shape is not None:
            value.shape = ir.Shape([None, *value.shape[1:]]) if value in outputs and len(value.shape) else None


def _set_target(node: ir.Node, target: list[int]) -> None:
    """Give the node a target of its own, since the old one may be shared, and its output the shape that follows."""
    graph, source, output = node.graph, node.inputs[0], node.outputs[0]
    assert isinstance(graph, ir.Graph)
    assert source is not None
    assert source.shape is not None
    name = f"{output.name}.shape"
    initializer = ir.Value(name=name, const_value=ir.tensor(np.array(target, np.int64), name=name))
    initializer.shape, initializer.dtype = ir.Shape([len(target)]), ir.DataType.INT64
    graph.register_initializer(initializer)
    node.replace_input_with(1, initializer)

    factors = [factor for dim in source.shape for factor in _factors(dim)]
    rest, fixed = _product([factor for factor in factors if factor != BATCH]), _product(target)
    if COPY not in target and rest is not None and fixed is None:
        merged_with = rest // math.prod(size for size in target if size != REST)
        batch = BATCH if merged_with == 1 else f"{BATCH}*{merged_with}"
        output.shape = ir.Shape([batch if size == REST else size for size in target])
