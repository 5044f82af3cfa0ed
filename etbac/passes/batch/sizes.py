"""Concrete shapes and small contents of one node's outputs, by ONNX's own inference and reference operators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from etbac.passes.batch.facts import CONSTANT, CURVED, MAX_ELEMENTS, Content, World
from etbac.passes.batch.operators import ELEMENTWISE

MOVING = frozenset(
    [
        "Identity",
        "Reshape",
        "Squeeze",
        "Unsqueeze",
        "Flatten",
        "Transpose",
        "Gather",
        "Slice",
        "Concat",
        "Split",
        "Expand",
        "Tile",
        "GatherND",
    ]
)
"""Operators whose output elements are elements of their inputs."""

LINEAR = frozenset(["Mul", "Add", "Sub"])

COUNTING = frozenset(["Reshape", "Expand", "Tile", "Squeeze", "Unsqueeze", "Split", "ConstantOfShape"])
"""Operators whose second input (the only one, of ConstantOfShape) says how many elements, never which."""


@dataclass(frozen=True)
class Sized:
    """One value in one world; `guessed`: a dimension depends on data, and counts as the world's other size."""

    dtype: ir.DataType | None
    shape: tuple[int, ...] | None
    content: Content | None = None
    guessed: bool = False


@dataclass
class NodeSizes:
    """Infers outputs of nodes of one model, world by world."""

    opsets: dict[str, int]
    _schemas: dict[tuple[str, str], onnx.defs.OpSchema | None] = field(default_factory=dict)
    _protos: dict[ir.Node, onnx.NodeProto] = field(default_factory=dict)
    _evaluators: dict[ir.Node, ReferenceEvaluator] = field(default_factory=dict)

    def infer(self, node: ir.Node, inputs: Sequence[Sized | None], world: World) -> list[Sized]:
        """What `node` gives for such inputs; unknown dimensions count as the world's other size.

        Raises onnx.shape_inference.InferenceError where the sizes do not fit.
        """
        proto = self._proto(node)
        names = list(proto.input)
        given = {name: value for name, value in zip(names, inputs, strict=True) if name and value is not None}
        contents = self._evaluate(node, proto, given)
        inferred = {} if all(contents) else self._infer_types(node, proto, given)
        return [
            _sized(output, inferred.get(output.name or ""), content, world)
            for output, content in zip(node.outputs, contents, strict=True)
        ]

    def _infer_types(self, node: ir.Node, proto: onnx.NodeProto, given: dict[str, Sized]) -> dict[str, onnx.TypeProto]:
        schema = self._schema(node)
        if schema is None or any(value.dtype is None for value in given.values()):
            return {}
        types = {name: _type_proto(value) for name, value in given.items()}
        data = {
            name: onnx.numpy_helper.from_array(value.content.array, name)
            for name, value in given.items()
            if value.content is not None and value.content.known
        }
        opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in self.opsets.items()]
        return onnx.shape_inference.infer_node_outputs(schema, proto, types, data, opset_imports=opsets)

    def _proto(self, node: ir.Node) -> onnx.NodeProto:
        if node not in self._protos:
            self._protos[node] = ir.serde.serialize_node(node)
        return self._protos[node]

    def _schema(self, node: ir.Node) -> onnx.defs.OpSchema | None:
        key = (node.domain, node.op_type)
        if key not in self._schemas:
            try:
                schema = onnx.defs.get_schema(node.op_type, self.opsets.get(node.domain, 1), node.domain)
            except onnx.defs.SchemaError:
                schema = None
            self._schemas[key] = schema
        return self._schemas[key]

    def _evaluate(self, node: ir.Node, proto: onnx.NodeProto, given: dict[str, Sized]) -> list[Content | None]:
        unknown: list[Content | None] = [None] * len(node.outputs)
        contents = {name: value.content for name, value in given.items()}
        known = {name: content for name, content in contents.items() if content is not None}
        if len(known) < len(contents) or not _small(node, known) or self._schema(node) is None:
            return unknown
        elements = _elements(node, list(proto.input))
        if not all(content.known or name in elements for name, content in known.items()):
            return unknown
        if node not in self._evaluators:
            self._evaluators[node] = ReferenceEvaluator(proto, opsets=self.opsets)
        evaluator = self._evaluators[node]
        try:
            arrays = [np.asarray(a) for a in evaluator.run(None, {name: c.array for name, c in known.items()})]
        except Exception:  # the reference operators raise anything; the content stays unknown
            return unknown
        if any(array.size > MAX_ELEMENTS for array in arrays):
            return unknown
        depends = _depends(node, evaluator, list(proto.input), known, arrays)
        return [Content(array, bits) for array, bits in zip(arrays, depends, strict=True)]


def _small(node: ir.Node, known: dict[str, Content]) -> bool:
    if node.op_type == "ConstantOfShape":
        return all(math.prod(int(d) for d in content.array) <= MAX_ELEMENTS for content in known.values())
    if node.op_type == "Expand":
        target = known.get(node.inputs[1].name or "") if node.inputs[1] is not None else None
        return target is not None and math.prod(int(d) for d in target.array) <= MAX_ELEMENTS
    return True


def _elements(node: ir.Node, names: list[str]) -> list[str]:
    """The inputs whose elements the node moves to its output."""
    if node.op_type == "Concat":
        return names
    return names[:1] if node.op_type in MOVING or node.op_type == "Cast" else []


def _depends(
    node: ir.Node,
    evaluator: ReferenceEvaluator,
    names: list[str],
    known: dict[str, Content],
    arrays: list[np.ndarray],
) -> list[np.ndarray]:
    elements = _elements(node, names)
    others = [known[name] for name in names if name and name not in elements]
    if node.op_type == "ConstantOfShape":
        return [np.zeros(array.shape, np.int64) for array in arrays]
    if node.op_type == "Cast":
        return [known[names[0]].depends]
    if node.op_type in MOVING:
        extra = 0 if node.op_type in COUNTING else _any(others)
        feeds = {name: known[name].depends if name in elements else known[name].array for name in known}
        return [np.asarray(bits, np.int64) | extra for bits in evaluator.run(None, feeds)]
    if node.op_type in ELEMENTWISE:
        joined = np.zeros(arrays[0].shape, np.int64)
        for content in known.values():
            joined = joined | content.depends
        return [joined if node.op_type in LINEAR else _curved(joined)]
    return [_curved(np.full(array.shape, _any(list(known.values())), np.int64)) for array in arrays]


def _curved(depends: np.ndarray) -> np.ndarray:
    return np.where(depends == CONSTANT, CONSTANT, depends | CURVED)


def _any(contents: Sequence[Content]) -> int:
    return int(np.bitwise_or.reduce([np.bitwise_or.reduce(c.depends, axis=None) for c in contents] or [0]))


def _sized(output: ir.Value, inferred: onnx.TypeProto | None, content: Content | None, world: World) -> Sized:
    if content is not None:
        return Sized(ir.DataType.from_numpy(content.array.dtype), content.array.shape, content)
    if inferred is not None and inferred.HasField("tensor_type"):
        tensor = inferred.tensor_type
        dtype = ir.DataType(tensor.elem_type) if tensor.elem_type else output.dtype
        if tensor.HasField("shape"):
            dims = [dim.dim_value if dim.HasField("dim_value") else world.other for dim in tensor.shape.dim]
            unknown = any(not dim.HasField("dim_value") for dim in tensor.shape.dim)
            return Sized(dtype, tuple(dims), guessed=unknown)
        return Sized(dtype, declared_shape(output, world), guessed=True)
    return Sized(output.dtype, declared_shape(output, world), guessed=True)


def declared_shape(value: ir.Value, world: World) -> tuple[int, ...] | None:
    """The shape that the model records for a value, unknown dimensions as in `world`."""
    if value.shape is None:
        return None
    return tuple(dim if isinstance(dim, int) else world.other for dim in value.shape)


def _type_proto(value: Sized) -> onnx.TypeProto:
    assert value.dtype is not None
    return onnx.helper.make_tensor_type_proto(value.dtype.value, value.shape)
