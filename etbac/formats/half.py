"""Half precision in the graph."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import onnx_ir as ir
from onnxscript.version_converter import ConvertVersionPass

from etbac.formats.wide import Widths, find_widths, is_float, narrow_positions
from etbac.passes.quiet import quiet
from etbac.passes.split.values import bodies

BFLOAT16_OPSET = 22
"""The first in which Conv and the poolings are allowed bfloat16."""

Weights = dict[int, tuple[ir.TensorProtocol, ir.TensorProtocol]]
"""id of a float32 tensor -> that tensor, kept so that the id stays its own, and its narrow copy."""

Positions = dict[ir.Node, tuple[list[bool], list[bool]]]
"""Node -> which of its inputs, and which of its outputs, are narrow."""


@dataclass(frozen=True)
class UseHalfPrecision(ir.passes.InPlacePass):
    """Compute in fp16 or bf16 what is safe there (see `find_widths`), with half as many bytes of weights.

    before:  x ─ Conv ─ Relu ─ MatMul ─ Softmax ─> y
    after:   x ─ Cast(fp16) ─ Conv ─ Relu ─ MatMul ─ Cast(fp32) ─ Softmax ─> y

    `dtype`: FLOAT16 or BFLOAT16. `gates`: names of the gates' values, which are computed in fp32. `huge`: names of the
    inputs that the type cannot hold. `narrow`: names of the inputs and outputs that take the narrow type; all others
    keep theirs. `weights`: tensors narrowed so far, for segments that share them. Every value has one type and is cast
    at most once, so that no pairs of casts arise. A model in bf16 is raised to the opset in which Conv is allowed it.

    Converters of whole files (onnxruntime.transformers.float16, onnxconverter-common, ModelOpt's AutoCast) decide by
    lists of operator names alone, and know neither gates, nor boundaries, nor weights that several models share.
    """

    dtype: ir.DataType
    gates: Collection[str] = ()
    huge: Collection[str] = ()
    narrow: Collection[str] = ()
    weights: Weights = field(default_factory=dict)

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        if self.dtype == ir.DataType.BFLOAT16 and model.opset_imports[""] < BFLOAT16_OPSET:
            with quiet("onnxscript.version_converter", "onnx_ir"):
                ConvertVersionPass(target_version=BFLOAT16_OPSET, fallback=True)(model)
        _remove_casts_to_float32(model.graph)
        wide, opset = self.widths(model).wide, model.opset_imports[""]
        positions = {
            node: narrow_positions(node, opset, self.dtype) if node not in wide else ([False] * len(node.inputs), [])
            for node in model.graph
        }
        reads = _float_reads(model.graph, positions)
        self._set_types(model.graph, positions)
        casts = _Casts(model.graph, self.dtype, self.weights)
        for node, place, narrow in reads:
            value = node.inputs[place]
            assert value is not None
            node.replace_input_with(place, casts.to(value, self.dtype if narrow else ir.DataType.FLOAT))
        for body in (body for node in model.graph.all_nodes() for body in bodies(node)):
            body.outputs[:] = [casts.to(v, ir.DataType.FLOAT) if v.dtype == self.dtype else v for v in body.outputs]
        for value in list(model.graph.outputs):
            wanted = self.dtype if value.name in self.narrow else ir.DataType.FLOAT
            if value.dtype in (self.dtype, ir.DataType.FLOAT) and value.dtype != wanted:
                casts.replace_output(value, wanted)
        return ir.passes.PassResult(model, modified=True)

    def widths(self, model: ir.Model) -> Widths:
        """What stays in fp32."""
        gates = {node for node in model.graph if any(value.name in self.gates for value in node.outputs)}
        huge = {value for value in model.graph.inputs if value.name in self.huge}
        return find_widths(model, self.dtype, gates, huge)

    def _set_types(self, graph: ir.Graph, positions: Positions) -> None:
        given = [value for value in graph.inputs if value.name in self.narrow]
        made = [
            value
            for node, (_, outputs) in positions.items()
            for value, narrow in zip(node.outputs, outputs)  # noqa: B905  wide nodes have no flags
            if narrow
        ]
        for value in (*given, *made):
            value.type = ir.TensorType(self.dtype)  # a new one: values share theirs, also with the model's copies


class _Casts:
    """One cast of each value to each type, and one narrow copy of each weight."""

    def __init__(self, graph: ir.Graph, dtype: ir.DataType, weights: Weights) -> None:
        self.graph, self.dtype, self.weights = graph, dtype, weights
        self.made: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def to(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        if value.dtype == dtype:
            return value
        if (value, dtype) not in self.made:
            make = self._weight if value.is_initializer() else self._cast
            self.made[value, dtype] = make(value, dtype)
        return self.made[value, dtype]

    def replace_output(self, value: ir.Value, dtype: ir.DataType) -> None:
        """Let the graph give `value` as `dtype`, under the name that it has."""
        output = self.to(value, dtype)
        value.name, output.name = f"{value.name}.{value.dtype.name.lower()}" if value.dtype else None, value.name
        self.graph.outputs[self.graph.outputs.index(value)] = output

    def _cast(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        name = f"{value.name}.as_{dtype.name.lower()}"
        output = ir.Value(name=name, type=ir.TensorType(dtype), shape=value.shape)
        cast = ir.node("Cast", [value], {"to": dtype}, outputs=[output], name=name)
        producer = value.producer()
        if producer is not None:
            self.graph.insert_after(producer, cast)
        else:
            self.graph.insert_before(self.graph[0], cast)
        return output

    def _weight(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        tensor = value.const_value
        assert tensor is not None
        name = f"{value.name}.{dtype.name.lower()}"
        if id(tensor) not in self.weights:
            self.weights[id(tensor)] = tensor, ir.tensor(tensor.numpy().astype(dtype.numpy()), name=name)
        _, narrow = self.weights[id(tensor)]
        copy = ir.Value(name=name, type=ir.TensorType(dtype), shape=value.shape, const_value=narrow)
        self.graph.register_initializer(copy)
        return copy


def _float_reads(graph: ir.Graph, positions: Positions) -> list[tuple[ir.Node, int, bool]]:
    """Every read of a float32 value of `graph`, with whether it will be narrow; those inside sub-graphs never are."""
    own = {value for node in graph for value in node.outputs} | set(graph.inputs) | set(graph.initializers.values())
    reads = []
    for node in graph.all_nodes():
        flags, _ = positions.get(node, ([False] * len(node.inputs), []))
        for place, value in enumerate(node.inputs):
            if is_float(value) and value in own:
                reads.append((node, place, flags[place]))
    return reads


def _remove_casts_to_float32(graph: ir.Graph) -> None:
    """Casts of what is float32 already, which exporters leave around norms."""
    for node in list(graph):
        given, output = node.inputs[0] if node.inputs else None, node.outputs[0]
        if node.op_type != "Cast" or given is None or not is_float(given) or output.dtype != ir.DataType.FLOAT:
            continue
        if output.is_graph_output():
            if given.producer() is None or given.is_graph_output():
                continue
            given.name, given.shape = output.name, output.shape
        output.replace_all_uses_with(given, replace_graph_outputs=True)
        graph.remove(node, safe=True)
