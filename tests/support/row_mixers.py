"""Steps that make one row's answer depend on other rows, or on chance; every node they add is named `mixer.…`.

Each takes rows `[B, …]` (rank 2 to 4) and gives rows of the same layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx
from support.graph_builder import Graph, Tensor, Typed
from support.random_graphs import Mixer


def _like(t: Tensor, name: str) -> Tensor:
    return replace(t, name=name)


def _flat(g: Graph, t: Tensor) -> Tensor:
    return g.flat_rows(t)


def batch_mean(g: Graph, t: Tensor) -> Tensor:
    return _like(t, g.op("Sub", t.name, g.op("ReduceMean", t.name, g.const([0]), keepdims=1)))


def global_maximum(g: Graph, t: Tensor) -> Tensor:
    return _like(t, g.op("Div", t.name, g.op("ReduceL2", t.name, keepdims=0)))


def batch_softmax(g: Graph, t: Tensor) -> Tensor:
    return _like(t, g.op("Softmax", t.name, axis=-t.rank))


def batch_cumulative_sum(g: Graph, t: Tensor) -> Tensor:
    return _like(t, g.op("CumSum", t.name, g.const(0)))


def contraction(g: Graph, t: Tensor) -> Tensor:
    """t (tᵀ t): the inner product sums over rows."""
    flat = _flat(g, t)
    covariance = g.op("MatMul", g.op("Transpose", flat.name, perm=[1, 0]), flat.name)
    return _like(flat, g.op("MatMul", flat.name, covariance))


def gram(g: Graph, t: Tensor) -> Tensor:
    """softmax(t tᵀ) t: rows attend to rows."""
    flat = _flat(g, t)
    scores = g.op("MatMul", flat.name, g.op("Transpose", flat.name, perm=[1, 0]))
    return _like(flat, g.op("MatMul", g.op("Softmax", scores, axis=-1), flat.name))


def gemm_transposed(g: Graph, t: Tensor) -> Tensor:
    flat = _flat(g, t)
    return _like(flat, g.op("MatMul", flat.name, g.op("Gemm", flat.name, flat.name, transA=1)))


def einsum_contraction(g: Graph, t: Tensor) -> Tensor:
    flat = _flat(g, t)
    return _like(flat, g.op("Einsum", flat.name, flat.name, flat.name, equation="bi,cj,ci->bj"))


def first_row(g: Graph, t: Tensor) -> Tensor:
    return _like(t, g.op("Sub", t.name, g.op("Gather", t.name, g.const([0]), axis=0)))


def last_row(g: Graph, t: Tensor) -> Tensor:
    row = g.op("Slice", t.name, g.const([-1]), g.const([2**31]), g.const([0]))
    return _like(t, g.op("Add", t.name, row))


def training_batch_norm(g: Graph, t: Tensor) -> Tensor:
    channels = t.dims[1]
    parameters = [g.const(np.ones(channels), np.float32) for _ in range(4)]
    outputs = g.ops("BatchNormalization", [t.name, *parameters], 3, training_mode=1, epsilon=0.1)
    return _like(t, outputs[0])


def dynamic_quantization(g: Graph, t: Tensor) -> Tensor:
    return _like(t, g.op("DequantizeLinear", *g.ops("DynamicQuantizeLinear", [t.name], 3)))


def random_noise(g: Graph, t: Tensor) -> Tensor:
    return _like(t, g.op("Add", t.name, g.op("RandomNormalLike", t.name)))


def random_uniform(g: Graph, t: Tensor) -> Tensor:
    noise = g.op("RandomUniform", shape=[t.dims[-1]], low=-1.0, high=1.0)
    return _like(t, g.op("Add", t.name, noise))


def training_dropout(g: Graph, t: Tensor) -> Tensor:
    ratio, training = g.const(0.5, np.float32), g.const(True, np.bool_)
    return _like(t, g.op("Dropout", t.name, ratio, training))


def bernoulli(g: Graph, t: Tensor) -> Tensor:
    return _like(t, g.op("Mul", t.name, g.op("Bernoulli", g.op("Sigmoid", t.name))))


def sort_rows(g: Graph, t: Tensor) -> Tensor:
    count = g.op("Shape", t.name, start=0, end=1)
    return _like(t, g.ops("TopK", [t.name, count], 2, axis=0)[0])


def transposed_mean(g: Graph, t: Tensor) -> Tensor:
    """The batch is moved to the last axis and averaged there."""
    moved = g.op("Transpose", t.name, perm=[*range(1, t.rank), 0])
    return _like(t, g.op("Add", t.name, g.op("ReduceMean", moved, g.const([-1]), keepdims=0)))


def flip(g: Graph, t: Tensor) -> Tensor:
    bounds = [g.const([-1]), g.const([-(2**31)]), g.const([0]), g.const([-1])]
    return _like(t, g.op("Add", t.name, g.op("Slice", t.name, *bounds)))


def roll(g: Graph, t: Tensor) -> Tensor:
    """The first row moved behind the last one."""
    rest = g.op("Slice", t.name, g.const([1]), g.const([2**31]), g.const([0]))
    first = g.op("Slice", t.name, g.const([0]), g.const([1]), g.const([0]))
    return _like(t, g.op("Add", t.name, g.op("Concat", rest, first, axis=0)))


def merged_softmax(g: Graph, t: Tensor) -> Tensor:
    """A softmax over rows and features together."""
    flat = _flat(g, t)
    merged = g.op("Reshape", flat.name, g.const([-1]))
    return _like(flat, g.op("Reshape", g.op("Softmax", merged, axis=0), g.op("Shape", flat.name)))


def swapped_merge(g: Graph, t: Tensor) -> Tensor:
    """[B, F] read as [F, B]: rows and features change places without a transpose."""
    flat = _flat(g, t)
    turned = g.op("Reshape", flat.name, g.const([flat.dims[1], -1]))
    return _like(flat, g.op("Transpose", turned, perm=[1, 0]))


def conditional(g: Graph, t: Tensor) -> Tensor:
    """A whole branch chosen by one row."""
    first = g.op("Gather", _flat(g, t).name, g.const(0), axis=0)
    positive = g.op("Greater", g.op("ReduceSum", first, keepdims=0), g.const(0.0, np.float32))

    def then(inner: Graph) -> Sequence[Typed]:
        return [Typed(inner.op("Neg", t.name))]

    def otherwise(inner: Graph) -> Sequence[Typed]:
        return [Typed(inner.op("Identity", t.name))]

    return _like(t, g.op("If", positive, then_branch=g.body(then), else_branch=g.body(otherwise)))


def mean_in_branch(g: Graph, t: Tensor) -> Tensor:
    """Rows mixed inside a sub-graph."""

    def mixing(inner: Graph) -> Sequence[Typed]:
        mean = inner.op("ReduceMean", t.name, inner.const([0]), keepdims=1)
        return [Typed(inner.op("Add", t.name, mean))]

    always = g.const(True, np.bool_)
    return _like(t, g.op("If", always, then_branch=g.body(mixing), else_branch=g.body(mixing)))


def recurrence_over_rows(g: Graph, t: Tensor) -> Tensor:
    """An LSTM that takes the batch for time: [B, F] as a series of B steps."""
    flat = _flat(g, t)
    series = g.op("Unsqueeze", flat.name, g.const([1]))
    width = flat.dims[1]
    weights = [g.weight(1, 4 * width, width, scale=0.5), g.weight(1, 4 * width, width, scale=0.5)]
    outputs = g.ops("LSTM", [series, *weights], 2, hidden_size=width)
    return _like(flat, g.op("Squeeze", outputs[0], g.const([1, 2])))


def scan_over_rows(g: Graph, t: Tensor) -> Tensor:
    flat = _flat(g, t)
    state, row, shape = g.name("state"), g.name("row"), (flat.dims[1],)

    def body(inner: Graph) -> Sequence[Typed]:
        following = inner.op("Tanh", inner.op("Add", state, row))
        return [Typed(following, shape=shape), Typed(inner.op("Identity", following), shape=shape)]

    graph = g.body(body, [Typed(state, shape=shape), Typed(row, shape=shape)])
    start = g.const(np.zeros(flat.dims[1]), np.float32)
    return _like(flat, g.ops("Scan", [start, flat.name], 2, body=graph, num_scan_inputs=1)[1])


def convolution_over_rows(g: Graph, t: Tensor) -> Tensor:
    """[B, F] as one picture of F channels and B pixels."""
    flat = _flat(g, t)
    picture = g.op("Unsqueeze", g.op("Transpose", flat.name, perm=[1, 0]), g.const([0]))
    width = flat.dims[1]
    convolved = g.op("Conv", picture, g.weight(width, width, 3, scale=0.5), pads=[1, 1])
    return _like(flat, g.op("Transpose", g.op("Squeeze", convolved, g.const([0])), perm=[1, 0]))


def ranked_rows(g: Graph, t: Tensor) -> Tensor:
    """Rows gathered by an order that is computed from the rows."""
    flat = _flat(g, t)
    best = g.op("ArgMax", flat.name, axis=0, keepdims=0)
    return _like(
        flat, g.op("Add", flat.name, g.op("ReduceMean", g.op("Gather", flat.name, best, axis=0), g.const([0])))
    )


def reversed_by_numbers(g: Graph, t: Tensor) -> Tensor:
    """Rows gathered by B − 1 − row number."""
    count = g.op("Shape", t.name, start=0, end=1)
    numbers = g.op("Range", g.const(0), g.op("Squeeze", count), g.const(1))
    turned = g.op("Sub", g.op("Sub", count, g.const([1])), numbers)
    return _like(t, g.op("Add", t.name, g.op("Gather", t.name, turned, axis=0)))


def normalized_over_rows(g: Graph, t: Tensor) -> Tensor:
    """A layer norm whose axes include the batch."""
    flat = _flat(g, t)
    return _like(flat, g.op("MeanVarianceNormalization", flat.name, axes=[0]))


_ALL = (
    batch_mean, global_maximum, batch_softmax, batch_cumulative_sum, contraction, gram, gemm_transposed,
    einsum_contraction, first_row, last_row, training_batch_norm, dynamic_quantization, random_noise, random_uniform,
    training_dropout, bernoulli, sort_rows, transposed_mean, flip, roll, merged_softmax, swapped_merge, conditional,
    mean_in_branch, recurrence_over_rows, scan_over_rows, convolution_over_rows, ranked_rows, reversed_by_numbers,
    normalized_over_rows,
)  # fmt: skip

RANDOM = ("random_noise", "random_uniform", "training_dropout", "bernoulli")


def _named(mixer: Mixer) -> Mixer:
    """The mixer with its nodes, also those inside sub-graphs, named after it."""

    def add(g: Graph, t: Tensor) -> Tensor:
        before = len(g.nodes)
        result = mixer(g, t)
        for node in g.nodes[before:]:
            _rename(node)
        return result

    return add


def _rename(node: onnx.NodeProto) -> None:
    node.name = f"mixer.{node.name}"
    for attribute in node.attribute:
        for inner in attribute.g.node:
            _rename(inner)


MIXERS: Mapping[str, Mixer] = {mixer.__name__: _named(mixer) for mixer in _ALL}
