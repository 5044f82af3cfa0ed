"""Models that come as ONNX files: one with an `If`, one with more than 2 GB of weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnx import helper, parser

from benchmarks.zoo.subject import ROWS, Subject
from etbac.frontend.load import load_model

WITH_IF = """
<ir_version: 10, opset_import: ["" : 18]>
chooses (float[batch, 16] x, bool thorough) => (float[batch, 4] exit_1, float[batch, 4] exit_2, float[batch, 4] logits)
<float[16, 16] w1, float[16, 16] w2, float[16, 16] w3, float[16, 4] head>
{
  a = MatMul(x, w1)
  h = Tanh(a)
  exit_1 = MatMul(h, head)
  chosen = If (thorough) <
    then_branch = deep () => (float[batch, 16] d) { m = MatMul(h, w2) t = Tanh(m) s = Add(t, x) d = MatMul(s, w3) },
    else_branch = shallow () => (float[batch, 16] e) { e = Identity(h) }
  >
  exit_2 = MatMul(chosen, head)
  b = Relu(chosen)
  again = If (thorough) <
    then_branch = twice () => (float[batch, 16] f) { p = Add(b, h) f = MatMul(p, w2) },
    else_branch = once () => (float[batch, 16] g) { g = Add(b, x) }
  >
  logits = MatMul(again, head)
}
"""


def with_if(folder: Path) -> Subject:
    """Its branches read values of the segment before; the condition is an input without a batch."""
    proto = parser.parse_model(WITH_IF)
    rng = np.random.default_rng(0)
    shapes = {"w1": (16, 16), "w2": (16, 16), "w3": (16, 16), "head": (16, 4)}
    del proto.graph.initializer[:], proto.graph.value_info[:]
    proto.graph.initializer.extend(
        helper.make_tensor(name, 1, shape, rng.standard_normal(shape).astype(np.float32).tobytes(), raw=True)
        for name, shape in shapes.items()
    )
    path = folder / "if.onnx"
    path.write_bytes(proto.SerializeToString())
    return Subject(load_model(path))


def large(folder: Path, width: int = 4096, depth: int = 36, classes: int = 16) -> Subject:
    """`depth` layers of width² float32 weights, each with an own value on and beside its diagonal."""
    graph = ir.Graph([], [], nodes=[], name="large", opset_imports={"": 18})
    x = ir.val("x", ir.DataType.FLOAT, ["batch", width])
    graph.inputs.append(x)
    for layer in range(1, depth + 1):
        weight = _initializer(graph, f"layer_{layer}.weight", _layer(folder, layer, width))
        x = _append(graph, "Tanh", [_append(graph, "MatMul", [x, weight], f"layer_{layer}")], f"layer_{layer}.out")
        if layer % (depth // 3) == 0:
            name = "logits" if layer == depth else f"exit_{layer}"
            head = np.random.default_rng(layer).standard_normal((width, classes)).astype(np.float32)
            answer = _append(graph, "MatMul", [x, _initializer(graph, f"{name}.head", ir.tensor(head))], name)
            answer.type, answer.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(["batch", classes])
            graph.outputs.append(answer)
    path = folder / "large.onnx"
    ir.save(ir.Model(graph, ir_version=10), path)
    samples = {"x": np.random.default_rng(0).standard_normal((ROWS, width)).astype(np.float32)}
    return Subject(load_model(path), samples)


def _layer(folder: Path, layer: int, width: int) -> ir.ExternalTensor:
    """A matrix that is written row by row and never held whole."""
    path = folder / f"layer_{layer}.bin"
    with path.open("wb") as file:
        for row in range(width):
            values = np.zeros(width, np.float32)
            values[row], values[(row + layer) % width] = 1.5, 0.1 * layer / width + 0.25
            file.write(values.tobytes())
    size = 4 * width * width
    shape = ir.Shape([width, width])
    return ir.ExternalTensor(path.name, 0, size, ir.DataType.FLOAT, shape=shape, name=path.stem, base_dir=folder)


def _initializer(graph: ir.Graph, name: str, tensor: ir.TensorProtocol) -> ir.Value:
    value = ir.Value(
        name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(tensor.shape.numpy()), const_value=tensor
    )
    graph.register_initializer(value)
    return value


def _append(graph: ir.Graph, operator: str, inputs: list[ir.Value], name: str) -> ir.Value:
    node = ir.node(operator, inputs)
    node.outputs[0].name = name
    graph.append(node)
    return node.outputs[0]
