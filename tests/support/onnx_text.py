"""Small graphs written as ONNX text, and ONNX Runtime to run them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnxruntime
from onnx import ModelProto, parser

from etbac.frontend.exit_graph import from_elsewhere
from etbac.passes.exit_model import ExitModel

Arrays = dict[str, npt.NDArray[Any]]


def parse(graph: str, opset: int = 18) -> ModelProto:
    """`(inputs) => (outputs) <initialisers> { nodes }` as a model; `__` in a value's name stands for a dot."""
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> graph {graph}')
    for value in (*model.graph.input, *model.graph.output):
        value.name = value.name.replace("__", ".")
    for node in model.graph.node:
        node.input[:] = [name.replace("__", ".") for name in node.input]
        node.output[:] = [name.replace("__", ".") for name in node.output]
    return model


def ir_model(graph: str, opset: int = 18) -> ir.Model:
    return ir.from_proto(parse(graph, opset))


def exit_model(graph: str, opset: int = 18) -> ExitModel:
    """The graph as the frontend reads it."""
    return from_elsewhere(ir_model(graph, opset), "the graph", {})


def run(model: ModelProto | ir.Model, inputs: Mapping[str, npt.ArrayLike]) -> Arrays:
    """Every output by name."""
    proto = model if isinstance(model, ModelProto) else ir.to_proto(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(
        zip(names, session.run(names, {name: np.asarray(value) for name, value in inputs.items()}), strict=True)
    )
