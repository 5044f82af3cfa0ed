"""Row-independent steps of random graphs: each takes a tensor in any layout and gives a new one, or None if it cannot.

Every step is row-independent by construction: it touches the axis that carries the batch by elementwise, batched or
layout operations only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from onnx import TensorProto
from support.graph_builder import MAX_ROW_SIZE, Graph, Tensor

Step = Callable[[Graph, Tensor], "Tensor | None"]


def free_axis(g: Graph, t: Tensor) -> int | None:
    """Any axis without the batch, written from the end now and then by `spelled`."""
    return int(str(g.choose(t.free_axes))) if t.free_axes else None


def spelled(g: Graph, axis: int, rank: int) -> int:
    return axis - rank if g.chance(0.3) else axis


# -- elementwise --


def activate(g: Graph, t: Tensor) -> Tensor:
    op = str(g.choose(["Relu", "Tanh", "Sigmoid", "Neg", "Abs", "Erf", "LeakyRelu", "Softplus", "HardSwish", "Selu"]))
    return replace(t, name=g.op(op, t.name))


def clip(g: Graph, t: Tensor) -> Tensor:
    return replace(t, name=g.op("Clip", t.name, "", g.const(1.5, np.float32)))


def combine(g: Graph, t: Tensor) -> Tensor:
    other = g.adapt(g.pick(g.pool, 0.2), t) if t.axis is not None else t
    operands = [t.name, other.name] if g.chance(0.5) else [other.name, t.name]
    return replace(t, name=g.op(str(g.choose(["Add", "Sub", "Max", "Min", "Add"])), *operands))


def gate_by(g: Graph, t: Tensor) -> Tensor:
    other = g.adapt(g.pick(g.pool, 0.2), t) if t.axis is not None else t
    return replace(t, name=g.op("Mul", t.name, g.op("Sigmoid", other.name)))


def scale_by_constant(g: Graph, t: Tensor) -> Tensor:
    last = t.rank - 1
    width = () if last == t.axis or g.chance(0.3) else (t.dims[last],)
    if len(width) == 1 and last - 1 >= 0 and last - 1 != t.axis and g.chance(0.4):
        width = (t.dims[last - 1], 1)
    return replace(t, name=g.op(str(g.choose(["Add", "Mul"])), t.name, g.weight(*width, scale=1.0)))


def add_input_without_batch(g: Graph, t: Tensor) -> Tensor | None:
    free = [i for i in g.inputs if i.axis is None and i.kind in ("float", "scalar")]
    fitting = [i for i in free if not i.dims or (t.rank - 1 != t.axis and i.dims[-1] == t.dims[-1])]
    if not fitting:
        return None
    chosen = fitting[int(g.rng.integers(len(fitting)))]
    return replace(t, name=g.op(str(g.choose(["Add", "Mul"])), t.name, g.op("Tanh", chosen.name)))


def where_mask(g: Graph, t: Tensor) -> Tensor | None:
    masks = [i for i in g.inputs if i.kind == "mask"]
    if t.axis is None:
        return None
    if masks and g.chance(0.6):
        mask = masks[0]
        as_float = Tensor(g.op("Cast", mask.name, to=TensorProto.FLOAT), mask.dims)
        condition = g.op("Greater", g.adapt(as_float, t).name, g.const(0.0, np.float32))
    else:
        # The larger of the two: comparing nearly equal numbers may go either way, and then either answer is right.
        other = g.adapt(g.pick(g.pool, 0.1), t)
        condition = g.op("Less", other.name, t.name)
        return replace(t, name=g.op("Where", condition, t.name, other.name))
    return replace(t, name=g.op("Where", condition, t.name, g.const(-0.5, np.float32)))


# -- contractions --


def matmul_last(g: Graph, t: Tensor) -> Tensor | None:
    if t.rank < 2 or t.axis == t.rank - 1:
        return None
    width = g.size(2, 6)
    if t.size // t.dims[-1] * width > MAX_ROW_SIZE:
        return None
    return t.with_dim(t.rank - 1, width, g.op("MatMul", t.name, g.weight(t.dims[-1], width)))


def matmul_left(g: Graph, t: Tensor) -> Tensor | None:
    """A weight from the left; on rank 2 the batch may be the last axis."""
    if t.rank < 2 or t.axis == t.rank - 2 or (t.axis == t.rank - 1 and t.rank > 2 and g.chance(0.5)):
        return None
    height = g.size(2, 5)
    if t.size // t.dims[-2] * height > MAX_ROW_SIZE:
        return None
    return t.with_dim(t.rank - 2, height, g.op("MatMul", g.weight(height, t.dims[-2], scale=0.5), t.name))


def attention(g: Graph, t: Tensor) -> Tensor | None:
    """softmax(t tᵀ) t over the last two axes, the batch (merged or not) before them."""
    if t.rank < 3 or t.axis is None or t.axis >= t.rank - 2:
        return None
    swapped = (*range(t.rank - 2), t.rank - 1, t.rank - 2)
    scores = g.op("MatMul", t.name, g.transpose(t, swapped).name)
    scores = g.op("Mul", scores, g.const(1 / math.sqrt(t.dims[-1]), np.float32))
    if g.chance(0.4):
        scores = _masked_scores(g, t, scores)
    return replace(t, name=g.op("MatMul", g.op("Softmax", scores, axis=-1), t.name))


def _masked_scores(g: Graph, t: Tensor, scores: str) -> str:
    """Adds a mask that is expanded to the batch: all true, or the input's."""
    masks = [i for i in g.inputs if i.kind == "mask" and i.dims[1] == t.dims[-2]]
    if t.is_rows and t.rank == 3 and masks:
        mask = g.op("Unsqueeze", masks[0].name, g.const([1]))
        expanded = g.op("Expand", mask, g.shape((1, t.dims[-2], t.dims[-2]), 0, t))
        return g.op("Where", expanded, scores, g.const(-50.0, np.float32))
    dims = (*t.dims[:-1], t.dims[-2])
    full = g.op("Expand", g.const(np.eye(t.dims[-2]), np.float32), g.shape(dims, t.axis, t))
    return g.op("Add", scores, full)


def einsum(g: Graph, t: Tensor) -> Tensor | None:
    if not t.is_rows or t.rank != 3:
        return None
    if g.chance(0.5):
        width = g.size()
        name = g.op("Einsum", t.name, g.weight(t.dims[2], width), equation="bij,jk->bik")
        return Tensor(name, (1, t.dims[1], width))
    return Tensor(g.op("Einsum", t.name, t.name, equation="bij,bkj->bik"), (1, t.dims[1], t.dims[1]))


def convolution(g: Graph, t: Tensor) -> Tensor | None:
    """Conv over axis 0 = batch, merged or not."""
    if t.axis != 0 or t.rank not in (3, 4):
        return None
    channels, spatial = g.size(2, 4), t.rank - 2
    if channels * math.prod(t.dims[2:]) * t.dims[0] > MAX_ROW_SIZE:
        return None
    weight = g.weight(channels, t.dims[1], *([3] * spatial), scale=0.4)
    bias = [g.weight(channels, scale=0.2)] if g.chance(0.5) else []
    return t.with_dim(1, channels, g.op("Conv", t.name, weight, *bias, pads=[1] * (2 * spatial)))


def pool(g: Graph, t: Tensor) -> Tensor | None:
    if t.axis != 0 or t.rank not in (3, 4) or min(t.dims[2:]) < 2:
        return None
    spatial = t.rank - 2
    if g.chance(0.3):
        return replace(t, name=g.op("GlobalAveragePool", t.name), dims=(*t.dims[:2], *([1] * spatial)))
    name = g.op(str(g.choose(["MaxPool", "AveragePool"])), t.name, kernel_shape=[2] * spatial)
    return replace(t, name=name, dims=(*t.dims[:2], *(d - 1 for d in t.dims[2:])))


# -- reductions and norms --


def reduce(g: Graph, t: Tensor) -> Tensor | None:
    if t.rank < 3:
        return None
    axis = free_axis(g, t)
    if axis is None:
        return None
    op = str(g.choose(["ReduceMean", "ReduceMax", "ReduceSum", "ReduceL2", "ReduceMin", "ReduceLogSumExp"]))
    name = g.op(op, t.name, g.const([spelled(g, axis, t.rank)]), keepdims=0)
    moved = t.axis - 1 if t.axis is not None and axis < t.axis else t.axis
    return replace(t, name=name, dims=t.dims[:axis] + t.dims[axis + 1 :], axis=moved)


def center(g: Graph, t: Tensor) -> Tensor | None:
    axis = free_axis(g, t)
    if axis is None:
        return None
    mean = g.op("ReduceMean", t.name, g.const([spelled(g, axis, t.rank)]), keepdims=1)
    return replace(t, name=g.op("Sub", t.name, mean))


def softmax(g: Graph, t: Tensor) -> Tensor | None:
    axis = free_axis(g, t)
    if axis is None:
        return None
    op = str(g.choose(["Softmax", "LogSoftmax"]))
    return replace(t, name=g.op(op, t.name, axis=spelled(g, axis, t.rank)))


def cumulative_sum(g: Graph, t: Tensor) -> Tensor | None:
    axis = free_axis(g, t)
    if axis is None:
        return None
    return replace(t, name=g.op("CumSum", t.name, g.const(spelled(g, axis, t.rank)), reverse=int(g.chance(0.3))))


def layer_norm(g: Graph, t: Tensor) -> Tensor | None:
    last = t.rank - 1
    if t.axis == last or t.dims[last] < 2:
        return None
    scale, bias = g.weight(t.dims[last], scale=1.0), g.weight(t.dims[last], scale=0.2)
    return replace(t, name=g.op("LayerNormalization", t.name, scale, bias, axis=-1, epsilon=0.1))


def instance_norm(g: Graph, t: Tensor) -> Tensor | None:
    if t.axis != 0 or t.rank not in (3, 4):
        return None
    scale, bias = g.weight(t.dims[1], scale=1.0), g.weight(t.dims[1], scale=0.2)
    return replace(t, name=g.op("InstanceNormalization", t.name, scale, bias, epsilon=0.1))


def group_norm(g: Graph, t: Tensor) -> Tensor | None:
    """GroupNorm as exporters write it: reshape to groups, InstanceNormalization, reshape to the saved shape."""
    if not t.is_rows or t.rank < 3 or t.dims[1] % 2:
        return None
    saved = g.op("Shape", t.name)
    grouped = g.op("Reshape", t.name, g.const([0, 2, -1]))
    normed = g.op("InstanceNormalization", grouped, g.weight(2, scale=1.0), g.weight(2, scale=0.2), epsilon=0.1)
    return replace(t, name=g.op("Reshape", normed, saved))


def batch_norm(g: Graph, t: Tensor) -> Tensor | None:
    """In inference mode: fixed statistics."""
    if t.axis != 0 or t.rank < 2:
        return None
    channels = t.dims[1]
    variance = g.const(g.rng.uniform(0.5, 1.5, channels), np.float32)
    parameters = [g.weight(channels, scale=1.0) for _ in range(3)]
    return replace(t, name=g.op("BatchNormalization", t.name, *parameters, variance))


# -- pieces of an axis --


def slice_(g: Graph, t: Tensor) -> Tensor | None:
    axis = free_axis(g, t)
    if axis is None or t.dims[axis] < 3:
        return None
    if g.chance(0.3):
        bounds = [g.const([-1]), g.const([-1000]), g.const([axis]), g.const([-1])]
        return replace(t, name=g.op("Slice", t.name, *bounds))
    bounds = [g.const([1]), g.const([1000]), g.const([spelled(g, axis, t.rank)])]
    return t.with_dim(axis, t.dims[axis] - 1, g.op("Slice", t.name, *bounds))


def split_concat(g: Graph, t: Tensor) -> Tensor | None:
    """Two halves of an axis in the other order; what lies between may be used as well."""
    axis = free_axis(g, t)
    if axis is None or t.dims[axis] < 2:
        return None
    sizes = [1, t.dims[axis] - 1]
    first, second = g.ops("Split", [t.name, g.const(sizes)], 2, axis=axis)
    g.pool.insert(0, t.with_dim(axis, sizes[1], second))
    return replace(t, name=g.op("Concat", second, g.op("Tanh", first), axis=spelled(g, axis, t.rank)))


def concat(g: Graph, t: Tensor) -> Tensor | None:
    axis = free_axis(g, t)
    if axis is None or t.axis is None or t.size + t.size > MAX_ROW_SIZE:
        return None
    other = g.adapt(g.pick(g.pool, 0.2), t)
    return t.with_dim(axis, 2 * t.dims[axis], g.op("Concat", t.name, other.name, axis=axis))


def pad(g: Graph, t: Tensor) -> Tensor | None:
    axis = free_axis(g, t)
    if axis is None or t.size // t.dims[axis] * (t.dims[axis] + 1) > MAX_ROW_SIZE:
        return None
    pads = [0] * (2 * t.rank)
    pads[axis + (t.rank if g.chance(0.5) else 0)] = 1
    return t.with_dim(axis, t.dims[axis] + 1, g.op("Pad", t.name, g.const(pads)))


def gather(g: Graph, t: Tensor) -> Tensor | None:
    axis = free_axis(g, t)
    if axis is None:
        return None
    if t.rank > 2 and g.chance(0.4):
        moved = t.axis - 1 if t.axis is not None and axis < t.axis else t.axis
        name = g.op("Gather", t.name, g.const(int(g.rng.integers(-t.dims[axis], t.dims[axis]))), axis=axis)
        return replace(t, name=name, dims=t.dims[:axis] + t.dims[axis + 1 :], axis=moved)
    indices = g.rng.integers(0, t.dims[axis], g.size(2, 3))
    if t.size // t.dims[axis] * len(indices) > MAX_ROW_SIZE:
        return None
    return t.with_dim(axis, len(indices), g.op("Gather", t.name, g.const(indices), axis=spelled(g, axis, t.rank)))


def tile(g: Graph, t: Tensor) -> Tensor | None:
    axis = free_axis(g, t)
    if axis is None or 2 * t.size > MAX_ROW_SIZE:
        return None
    repeats = [2 if a == axis else 1 for a in range(t.rank)]
    return t.with_dim(axis, 2 * t.dims[axis], g.op("Tile", t.name, g.const(repeats)))


def top_values(g: Graph, t: Tensor) -> Tensor | None:
    axis = free_axis(g, t)
    if axis is None or t.dims[axis] < 3:
        return None
    values, _ = g.ops("TopK", [t.name, g.const([2])], 2, axis=axis)
    return t.with_dim(axis, 2, values)


ELEMENTWISE: Sequence[Step] = (activate, clip, combine, combine, gate_by, scale_by_constant, add_input_without_batch)
CONTRACTIONS: Sequence[Step] = (matmul_last, matmul_last, matmul_left, attention, attention, einsum, convolution, pool)
REDUCTIONS: Sequence[Step] = (
    reduce, center, softmax, cumulative_sum, layer_norm, instance_norm, group_norm, batch_norm,
)  # fmt: skip
PIECES: Sequence[Step] = (slice_, split_concat, concat, pad, gather, tile, top_values, where_mask)
