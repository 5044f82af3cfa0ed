"""Writes random ONNX graphs node by node, and knows of every tensor where its rows are.

A tensor's batch stands on one axis, alone or merged with fixed factors: an axis of size `outer * B * inner` is what a
reshape makes of `[outer, B, inner]`. That is all the steps of `graph_steps` need to stay row-independent by
construction, whichever layout they meet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
IR_VERSION = 9
MAX_ROW_SIZE = 72


@dataclass(frozen=True)
class Typed:
    """An input or output of a sub-graph; `shape` None: of unknown rank."""

    name: str
    kind: int = TensorProto.FLOAT
    shape: tuple[int | None, ...] | None = None

    def info(self) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(self.name, self.kind, self.shape)


@dataclass(frozen=True)
class Tensor:
    """A float tensor; `dims` are sizes for one row, so `dims[axis] == outer * inner`; `axis` None: no batch."""

    name: str
    dims: tuple[int, ...]
    axis: int | None = 0
    outer: int = 1
    inner: int = 1

    @property
    def rank(self) -> int:
        return len(self.dims)

    @property
    def size(self) -> int:
        return math.prod(self.dims)

    @property
    def alone(self) -> bool:
        return self.outer == 1 and self.inner == 1

    @property
    def is_rows(self) -> bool:
        return self.axis == 0 and self.alone

    @property
    def free_axes(self) -> tuple[int, ...]:
        return tuple(axis for axis in range(self.rank) if axis != self.axis)

    def same_layout(self, other: Tensor) -> bool:
        return replace(self, name="") == replace(other, name="")

    def with_dim(self, axis: int, size: int, name: str) -> Tensor:
        return replace(self, name=name, dims=(*self.dims[:axis], size, *self.dims[axis + 1 :]))


@dataclass(frozen=True)
class Input:
    """A graph input. `kind`: "float", "ids" (int64 below `vocabulary`), "mask" (bool), "scalar" (float, rank 0)."""

    name: str
    kind: str
    dims: tuple[int, ...]
    axis: int | None
    vocabulary: int = 0

    @property
    def element_type(self) -> int:
        return {"ids": TensorProto.INT64, "mask": TensorProto.BOOL}.get(self.kind, TensorProto.FLOAT)

    def draw(self, rng: np.random.Generator, batch: int) -> np.ndarray:
        shape = [batch if axis == self.axis else size for axis, size in enumerate(self.dims)]
        if self.kind == "ids":
            return rng.integers(0, self.vocabulary, shape, dtype=np.int64)
        if self.kind == "mask":
            return rng.random(shape) < 0.7
        return np.asarray(rng.standard_normal(shape), np.float32)


@dataclass
class Graph:
    """Nodes and initialisers so far, and the tensors that later steps may read (`pool`).

    `rng` is replaced before every step, so that leaving a step out changes the others as little as possible.
    """

    rng: np.random.Generator
    inputs: list[Input] = field(default_factory=list)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: dict[str, np.ndarray] = field(default_factory=dict)
    pool: list[Tensor] = field(default_factory=list)
    prefix: str = ""
    _names: Iterator[int] = field(default_factory=lambda: iter(range(10**6)))
    _batch_sizes: list[str] = field(default_factory=list)
    _row_numbers: list[str] = field(default_factory=list)

    # -- choices --

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def choose(self, options: Sequence[object]) -> object:
        return options[int(self.rng.integers(len(options)))]

    def pick(self, options: Sequence[Tensor], recent: float = 0.5) -> Tensor:
        """The latest tensor with probability `recent`, else any."""
        return options[-1] if self.chance(recent) else options[int(self.rng.integers(len(options)))]

    def size(self, low: int = 2, high: int = 4) -> int:
        return int(self.rng.integers(low, high + 1))

    # -- nodes --

    def name(self, stem: str) -> str:
        return f"{self.prefix}{stem}_{next(self._names)}"

    def op(self, op_type: str, *inputs: str, **attributes: object) -> str:
        return self.ops(op_type, inputs, 1, **attributes)[0]

    def ops(self, op_type: str, inputs: Sequence[str], outputs: int, **attributes: object) -> list[str]:
        name = self.name(op_type.lower())
        names = [name] if outputs == 1 else [f"{name}.{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op_type, list(inputs), names, name=f"{self.prefix}n_{name}", **attributes))
        return names

    def const(self, value: object, dtype: type = np.int64) -> str:
        """An initialiser or, as often, a Constant node."""
        array = np.asarray(value, dtype)
        if self.chance(0.5):
            name = self.name("c")
            self.initializers[name] = array
            return name
        return self.op("Constant", value=numpy_helper.from_array(array))

    def weight(self, *shape: int, scale: float | None = None) -> str:
        """A float initialiser; now and then one that other nodes use too."""
        shared = [name for name, array in self.initializers.items() if name.startswith("w_") and array.shape == shape]
        if shared and self.chance(0.3):
            return str(self.choose(shared))
        fan = shape[-2] if len(shape) > 1 else 4
        name = f"w_{self.name('')}"
        values = self.rng.standard_normal(shape) * (1 / math.sqrt(fan) if scale is None else scale)
        self.initializers[name] = values.astype(np.float32)
        return name

    def body(self, build: Callable[[Graph], Sequence[Typed]], inputs: Sequence[Typed] = ()) -> onnx.GraphProto:
        """A sub-graph; what `build` reads of this graph's tensors it captures."""
        inner = Graph(self.rng, prefix=self.prefix, _names=self._names)
        outputs = build(inner)
        return helper.make_graph(
            inner.nodes,
            self.name("body"),
            [value.info() for value in inputs],
            [value.info() for value in outputs],
            [numpy_helper.from_array(array, name) for name, array in inner.initializers.items()],
        )

    # -- the batch as a value --

    def batch_size(self, like: Tensor | None = None) -> str:
        """B as int64 [1], from the shape of any tensor; often a value that is there already."""
        if self._batch_sizes and self.chance(0.4):
            return str(self.choose(self._batch_sizes))
        batched = [Tensor(i.name, i.dims, i.axis) for i in self.inputs if i.axis is not None]
        batched += [t for t in self.pool if t.axis is not None]
        source = like if like is not None and self.chance(0.6) else self.pick(batched, 0.3)
        axis = source.axis or 0
        style = int(self.rng.integers(3))
        if style == 0:
            size = self.op("Shape", source.name, start=axis, end=axis + 1)
        elif style == 1:
            size = self.op("Gather", self.op("Shape", source.name), self.const([axis]), axis=0)
        else:
            size = self.op("Slice", self.op("Shape", source.name), self.const([axis]), self.const([axis + 1]))
        if not source.alone:
            size = self.op("Div", size, self.const([source.outer * source.inner]))
        self._batch_sizes.append(size)
        return size

    def row_numbers(self) -> str:
        """0 … B − 1 as int64 [B]; often a value that is there already."""
        if self._row_numbers and self.chance(0.5):
            return str(self.choose(self._row_numbers))
        limit = self.op("Squeeze", self.batch_size(), self.const([0]))
        rows = self.op("Range", self.const(0), limit, self.const(1))
        self._row_numbers.append(rows)
        return rows

    def shape(self, dims: Sequence[int], axis: int | None, like: Tensor | None = None) -> str:
        """A shape vector, computed from the batch size; `dims[axis]` is the factor of B."""
        if axis is None:
            return self.const(list(dims))
        size = self.batch_size(like)
        if dims[axis] != 1:
            size = self.op("Mul", size, self.const([dims[axis]]))
        parts = [self.const(list(dims[:axis])), size, self.const(list(dims[axis + 1 :]))]
        kept = [part for part, dim in zip(parts, (axis, 1, len(dims) - axis - 1), strict=True) if dim]
        return kept[0] if len(kept) == 1 else self.op("Concat", *kept, axis=0)

    # -- layouts --

    def reshape(self, t: Tensor, dims: Sequence[int], axis: int | None, outer: int = 1, inner: int = 1) -> Tensor:
        """Reshape whose target is a constant with −1 or 0, or computed from a shape."""
        result = Tensor("", tuple(dims), axis, outer, inner)
        target = list(dims)
        style = int(self.rng.integers(4))
        if axis is None:
            target_name = self.const(target)
        elif style == 0:
            target_name = self.shape(target, axis, t)
        elif style == 1 and t.axis == axis and t.dims[axis] == target[axis]:
            target[axis] = 0
            target_name = self.const(target)
        elif style == 2 and t.axis is not None and t.dims[: axis + 1] == tuple(target[: axis + 1]) and t.axis == axis:
            kept = self.op("Shape", t.name, start=0, end=axis + 1)
            rest = target[axis + 1 :]
            target_name = self.op("Concat", kept, self.const(rest), axis=0) if rest else kept
        else:
            target[axis] = -1
            target_name = self.const(target)
        return replace(result, name=self.op("Reshape", t.name, target_name))

    def transpose(self, t: Tensor, perm: Sequence[int]) -> Tensor:
        if tuple(perm) == tuple(range(t.rank)):
            return t
        axis = None if t.axis is None else list(perm).index(t.axis)
        name = self.op("Transpose", t.name, perm=list(perm))
        return replace(t, name=name, dims=tuple(t.dims[p] for p in perm), axis=axis)

    def unmerge(self, t: Tensor) -> Tensor:
        """The batch alone on its axis, its former factors beside it."""
        if t.alone or t.axis is None:
            return t
        before = (*t.dims[: t.axis], *((t.outer,) if t.outer > 1 else ()))
        after = (*((t.inner,) if t.inner > 1 else ()), *t.dims[t.axis + 1 :])
        return self.reshape(t, (*before, 1, *after), len(before))

    def rows(self, t: Tensor) -> Tensor:
        """The batch alone on axis 0; a tensor without a batch is expanded to it."""
        if t.axis is None:
            shape = self.shape((1, *t.dims), 0)
            return Tensor(self.op("Expand", t.name, shape), (1, *t.dims), 0)
        t = self.unmerge(t)
        axis = t.axis or 0
        return self.transpose(t, (axis, *(a for a in range(t.rank) if a != axis)))

    def flat_rows(self, t: Tensor) -> Tensor:
        t = self.rows(t)
        if t.rank == 2:
            return t
        features = t.size
        if self.chance(0.5):
            return Tensor(self.op("Flatten", t.name, axis=1), (1, features))
        return self.reshape(t, (1, features), 0)

    def linear(self, t: Tensor, features: int) -> Tensor:
        """Rows [B, F] times a weight, by Gemm or MatMul."""
        t = self.flat_rows(t)
        if self.chance(0.5):
            name = self.op("Gemm", t.name, self.weight(t.dims[1], features), self.weight(features, scale=0.3))
        else:
            name = self.op("MatMul", t.name, self.weight(t.dims[1], features))
        return Tensor(name, (1, features))

    def adapt(self, t: Tensor, like: Tensor) -> Tensor:
        """`t` in the layout of `like`: a projection of its rows, then the layout's transposes and reshapes."""
        if t.same_layout(like):
            return t
        if like.axis is None:
            raise ValueError("a batch cannot be given up")
        axis = like.axis
        before = (*like.dims[:axis], *((like.outer,) if like.outer > 1 else ()))
        after = (*((like.inner,) if like.inner > 1 else ()), *like.dims[axis + 1 :])
        projected = self.linear(t, math.prod(before + after))
        unmerged = projected
        if len(before + after) != 1:
            unmerged = self.reshape(projected, (1, *before, *after), 0)
        k = len(before)
        placed = self.transpose(unmerged, (*range(1, k + 1), 0, *range(k + 1, unmerged.rank)))
        if like.alone:
            return placed
        return self.reshape(placed, like.dims, axis, like.outer, like.inner)
