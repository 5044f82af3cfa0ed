"""Turn a piece of the prepared model into a complete ONNX model that keeps the segment contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir import tape
from onnx_ir.passes.common import TopologicalSortPass

from etbac.contract import CONFIDENCE, EXIT_MASK, KEEP, THRESHOLD, SegmentContract, TensorSpec
from etbac.errors import UnsupportedModelError
from etbac.passes.exit_model import Segment
from etbac.passes.split.layout import from_front, placement, to_front
from etbac.passes.split.prepare import Prepared
from etbac.passes.split.values import inputs_of, keep_only, needed

ROWS, SLOTS = "batch", "slots"
"""Names of the dynamic dimension of a segment's outputs, and of the boundary tensors that it is given."""


@dataclass(frozen=True)
class Piece:
    """What one segment is given and what it must give, as values of the prepared model."""

    index: int
    exit_id: int
    inputs: Sequence[ir.Value]
    fields: Mapping[str, ir.Value]
    gate: tuple[ir.Value, ir.Value, ir.Value] | None
    """(threshold, confidence, exit_mask)."""
    boundary: Sequence[ir.Value]


def build_segment(prepared: Prepared, piece: Piece) -> Segment:
    return _Builder(prepared, piece).build()


class _Builder:
    def __init__(self, prepared: Prepared, piece: Piece) -> None:
        self.prepared, self.piece = prepared, piece
        self.analysis = prepared.analysis
        self.model = _copied(prepared, piece)
        self.graph = self.model.graph
        self.values = _by_name(self.graph)
        self.taken = set(self.values)

    def build(self) -> Segment:
        self._free_reserved_names()
        inputs = self._first_inputs() if self.piece.index == 0 else self._later_inputs()
        outputs = self._outputs()
        contract = SegmentContract(
            index=self.piece.index,
            exit_id=self.piece.exit_id,
            inputs=inputs,
            predictions=outputs[0],
            boundary=outputs[1],
            gate=dict(self.prepared.source.gates.get(self.piece.exit_id, {})),
        )
        TopologicalSortPass()(self.model)
        keep_only(self.graph, needed(self.graph.outputs))
        for node in self.graph.all_nodes():
            for value in node.outputs:
                if not value.is_graph_output():
                    value.shape = None
        return Segment(contract, self.model)

    def _free_reserved_names(self) -> None:
        fields = {_prediction_name(name, self.piece.fields) for name in self.piece.fields}
        for name in {KEEP, THRESHOLD, CONFIDENCE, EXIT_MASK, *fields} & set(self.values):
            value = self.values[name]
            if value.is_graph_input() and self.piece.index == 0 and self.prepared.source.batch_axes.get(name, -1) != -1:
                raise UnsupportedModelError(
                    f"the model has an input {name!r}, a name that segments use for themselves; rename the input"
                )
            value.name = self._fresh(f"{name}.value")

    def _first_inputs(self) -> tuple[TensorSpec, ...]:
        specs = []
        for value in self.piece.inputs:
            axis = self.prepared.source.batch_axes.get(value.name or "")
            specs.append(_declared(value, axis))
        threshold = self._threshold()
        self.graph.inputs[:] = [*(self.values[value.name or ""] for value in self.piece.inputs), *threshold]
        return tuple(specs)

    def _later_inputs(self) -> tuple[TensorSpec, ...]:
        keep = ir.val(KEEP, ir.DataType.INT64, [ROWS])
        nodes = tape.Tape()
        rows = nodes.op("Shape", [keep])
        specs, inputs = [], []
        for value in self.piece.inputs:
            original = self.values[value.name or ""]
            name = original.name or ""
            spec = self._boundary_spec(value, name, SLOTS)
            original.name = self._fresh(f"{name}.rows")
            given = ir.val(name, _dtype(spec), spec.shape)
            restored = given
            if spec.batch_axis is not None:
                place = placement(value, self.analysis)
                restored = from_front(nodes, nodes.op("Gather", [given, keep], {"axis": 0}), place, rows)
            original.replace_all_uses_with(restored, replace_graph_outputs=True)
            self.values[value.name or ""] = restored
            specs.append(spec)
            inputs.append(given)
        size = self.values[self.prepared.batch_size.name or ""]
        size.replace_all_uses_with(rows)
        self.values[self.prepared.batch_size.name or ""] = rows
        self._insert(nodes, "rows")
        self.graph.inputs[:] = [*inputs, keep, *self._threshold()]
        return tuple(specs)

    @property
    def _batch_size(self) -> ir.Value:
        return self.values[self.prepared.batch_size.name or ""]

    def _threshold(self) -> list[ir.Value]:
        if self.piece.gate is None:
            return []
        threshold = self.values[self.piece.gate[0].name or ""]
        threshold.name = THRESHOLD
        return [threshold]

    def _outputs(self) -> tuple[dict[str, TensorSpec], tuple[TensorSpec, ...]]:
        predictions = {}
        for name, value in self.piece.fields.items():
            label = _prediction_name(name, self.piece.fields)
            predictions[name] = self._add_output(value, label)
        if self.piece.gate is not None:
            self._add_output(self.piece.gate[1], CONFIDENCE)
            self._add_output(self.piece.gate[2], EXIT_MASK)
        boundary = tuple(self._add_output(value, self._fresh(f"next.{value.name}")) for value in self.piece.boundary)
        return predictions, boundary

    def _add_output(self, value: ir.Value, name: str) -> TensorSpec:
        spec = self._boundary_spec(value, name, ROWS)
        nodes = tape.Tape()
        inside = self.values[value.name or ""]
        output = inside
        if spec.batch_axis is not None:
            output = to_front(nodes, inside, placement(value, self.analysis), self._batch_size)
        if output is inside and (output.producer() is None or output.is_graph_output()):
            output = nodes.op("Identity", [inside])
        output.name = name
        self._insert(nodes, name, at_end=True)
        output.dtype, output.shape = _dtype(spec), ir.Shape(spec.shape)
        self.graph.outputs.append(output)
        return spec

    def _boundary_spec(self, value: ir.Value, name: str, rows_name: str) -> TensorSpec:
        fact = self.analysis.facts[value]
        assert fact.dtype is not None
        dtype = fact.dtype.numpy().name
        if fact.rows is None:
            dims: Sequence[int | None] = self.analysis.dims(value)
            return TensorSpec(name, dtype, _named(dims, name), None)
        dims = placement(value, self.analysis).boundary_dims
        return TensorSpec(name, dtype, (rows_name, *_named(dims, name)[1:]), 0)

    def _insert(self, nodes: tape.Tape, prefix: str, at_end: bool = False) -> None:
        for number, node in enumerate(nodes.nodes):
            for value in node.outputs:
                value.name = value.name or self._fresh(f"{prefix}.{node.op_type.lower()}.{number}")
            node.name = node.outputs[0].name
        first = next(iter(self.graph), None)
        if at_end or first is None:
            self.graph.extend(nodes.nodes)
        else:
            self.graph.insert_before(first, nodes.nodes)

    def _fresh(self, wanted: str) -> str:
        name, number = wanted, 1
        while name in self.taken:
            number += 1
            name = f"{wanted}.{number}"
        self.taken.add(name)
        return name


def _copied(prepared: Prepared, piece: Piece) -> ir.Model:
    """A copy of what the piece computes and no more, without outputs: copying all for each piece would take time that
    grows with the square of the exits."""
    results = [*piece.fields.values(), *(piece.gate or ()), *piece.boundary, prepared.batch_size]
    nodes = needed(results, piece.inputs)
    values = dict.fromkeys(results)
    values |= dict.fromkeys(value for node in nodes for value in inputs_of(node))
    whole = prepared.source.model
    view = ir.GraphView(
        [*piece.inputs, *(value for value in values if value.is_graph_input() and value not in piece.inputs)],
        [],
        nodes=[node for node in whole.graph if node in nodes],
        initializers=[value for value in whole.graph.initializers.values() if value in values],
        opset_imports=whole.graph.opset_imports,
        name=whole.graph.name,
    )
    return ir.Model(
        view.clone(),
        ir_version=whole.ir_version,
        producer_name=whole.producer_name,
        producer_version=whole.producer_version,
        domain=whole.domain,
        model_version=whole.model_version,
        doc_string=whole.doc_string,
        metadata_props=dict(whole.metadata_props),
    )


def _by_name(graph: ir.Graph) -> dict[str, ir.Value]:
    values = [*graph.inputs, *graph.initializers.values(), *(v for node in graph for v in node.outputs)]
    return {value.name or "": value for value in values}


def _prediction_name(field: str, fields: Mapping[str, ir.Value]) -> str:
    return "prediction" if len(fields) == 1 else f"prediction.{field}"


def _declared(value: ir.Value, axis: int | None) -> TensorSpec:
    assert value.shape is not None
    assert value.dtype is not None
    shape = tuple(
        dim if isinstance(dim, int) else dim.value or f"{value.name}.{place}" for place, dim in enumerate(value.shape)
    )
    return TensorSpec(value.name or "", value.dtype.numpy().name, shape, axis)


def _named(dims: Sequence[int | None], name: str) -> tuple[int | str, ...]:
    return tuple(f"{name}.{axis}" if dim is None else dim for axis, dim in enumerate(dims))


def _dtype(spec: TensorSpec) -> ir.DataType:
    return ir.DataType[_ONNX_NAMES.get(spec.dtype, spec.dtype.upper())]


_ONNX_NAMES: Mapping[str, str] = {"float32": "FLOAT", "float64": "DOUBLE"}
