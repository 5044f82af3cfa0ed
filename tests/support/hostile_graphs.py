"""ONNX models that are well-formed as bytes and wrong, or hostile, as graphs."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper
from support.graph_builder import IR_VERSION, OPSET
from support.sandbox import Sandbox


def cycle(box: Sandbox) -> onnx.ModelProto:
    model = box.small()
    model.graph.node[0].input[0] = "output" if box.rng.random() < 0.5 else "hidden"
    return model


def dangling_input(box: Sandbox) -> onnx.ModelProto:
    model = box.small()
    model.graph.node[int(box.rng.integers(3))].input[0] = "nowhere"
    return model


def unmade_output(box: Sandbox) -> onnx.ModelProto:
    model = box.small()
    model.graph.node[2].output[0] = "another"
    return model


def made_twice(box: Sandbox) -> onnx.ModelProto:
    model = box.small()
    model.graph.node[1].output[0] = str(box.pick(["output", "hidden", "x", "weight"]))
    return model


def missing_types(box: Sandbox) -> onnx.ModelProto:
    model = box.small()
    broken = box.pick([model.graph.input[0], model.graph.input[0].type.tensor_type])
    broken.ClearField("type" if hasattr(broken, "type") else "elem_type")  # type: ignore[attr-defined]
    return model


def unknown_element_type(box: Sandbox) -> onnx.ModelProto:
    model = box.small()
    code = int(str(box.pick([0, 99, 2**30])))
    if box.rng.random() < 0.5:
        model.graph.initializer[0].data_type = code
    else:
        model.graph.input[0].type.tensor_type.elem_type = code
    return model


def wrong_tensor_size(box: Sandbox) -> onnx.ModelProto:
    model = box.small()
    weight = model.graph.initializer[0]
    style = int(box.rng.integers(4))
    if style == 0:
        weight.raw_data = weight.raw_data[:-4]
    elif style == 1:
        weight.raw_data += bytes(64)
    elif style == 2:
        weight.ClearField("raw_data")
        weight.float_data.extend([1.0] * 3)
    else:
        weight.dims[0] = 5
    return model


def impossible_dimensions(box: Sandbox) -> onnx.ModelProto:
    model = box.small()
    weight = model.graph.initializer[0]
    weight.dims[0] = int(str(box.pick([2**40, 2**62, -4, -(2**63), 2**63 - 1])))
    return model


def huge_input(box: Sandbox) -> onnx.ModelProto:
    model = box.small()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = int(str(box.pick([2**62, 2**40, -7])))
    return model


def _with_constant_chain(box: Sandbox, node: onnx.NodeProto, *constants: tuple[str, object]) -> onnx.ModelProto:
    """`node` makes "large" of constants; its mean is added to the first MatMul's result."""
    model = box.small()
    for name, value in constants:
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.int64), name))
    extra = [
        node,
        helper.make_node("Cast", ["large"], ["as_float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["as_float"], ["mean"], keepdims=0),
        helper.make_node("Add", ["x", "mean"], ["shifted"]),
    ]
    model.graph.node[0].input[0] = "shifted"
    nodes = [*extra, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def memory_bomb(box: Sandbox) -> onnx.ModelProto:
    """A few bytes that a constant folder would make terabytes of."""
    size = int(str(box.pick([2**40, 2**45, 2**62])))
    style = int(box.rng.integers(4))
    if style == 0:
        return _with_constant_chain(box, helper.make_node("ConstantOfShape", ["n"], ["large"]), ("n", [size]))
    if style == 1:
        node = helper.make_node("Range", ["zero", "n", "one"], ["large"])
        return _with_constant_chain(box, node, ("zero", 0), ("one", 1), ("n", size))
    if style == 2:
        node = helper.make_node("Expand", ["one", "n"], ["large"])
        return _with_constant_chain(box, node, ("one", [1]), ("n", [size]))
    node = helper.make_node("Tile", ["one", "n"], ["large"])
    return _with_constant_chain(box, node, ("one", [1]), ("n", [size]))


def deep_nesting(box: Sandbox) -> onnx.ModelProto:
    """If inside If inside If, as deep as a parser may allow."""

    def graph(node: onnx.NodeProto) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)
        return helper.make_graph([node], f"g_{node.output[0]}", [], [out])

    body = graph(helper.make_node("Identity", ["hidden"], ["leaf"]))
    for level in range(int(str(box.pick([4, 12, 25])))):
        other = graph(helper.make_node("Identity", ["hidden"], [f"else_{level}"]))
        body = graph(helper.make_node("If", ["flag"], [f"v{level}"], then_branch=body, else_branch=other))
    model = box.small()
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "flag"))
    model.graph.node.insert(1, helper.make_node("If", ["flag"], ["deep"], then_branch=body, else_branch=body))
    model.graph.node[3].input[0] = "deep"
    return model


def deeper_than_parsers_go(box: Sandbox) -> bytes:
    """Thousands of graphs inside each other, written as bytes: no library would write them."""

    def field(number: int, content: bytes) -> bytes:
        size, length = len(content), b""
        while size > 127:
            length += bytes([size & 127 | 128])
            size >>= 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + content

    graph = b""
    for _ in range(int(str(box.pick([200, 3000])))):
        attribute = field(1, b"then_branch") + field(6, graph)
        graph = field(1, field(4, b"If") + field(5, attribute))
    return bytes([8, IR_VERSION]) + field(7, graph)


def recursive_function(box: Sandbox) -> onnx.ModelProto:
    model = box.small()
    names = ["f"] if box.rng.random() < 0.5 else ["f", "g"]
    opset = [helper.make_opsetid("", OPSET), helper.make_opsetid("local", 1)]
    for place, name in enumerate(names):
        called = names[(place + 1) % len(names)]
        node = helper.make_node(called, ["a"], ["b"], domain="local")
        model.functions.append(helper.make_function("local", name, ["a"], ["b"], [node], opset))
    model.opset_import.append(helper.make_opsetid("local", 1))
    model.graph.node[1].op_type, model.graph.node[1].domain = "f", "local"
    return model


def unknown_operator(box: Sandbox) -> onnx.ModelProto:
    model = box.small()
    model.graph.node[0].op_type = str(box.pick(["Exit", "", "matmul", "../../MatMul"]))
    if box.rng.random() < 0.3:
        model.graph.node[0].domain = "com.example"
    return model


def wrong_versions(box: Sandbox) -> onnx.ModelProto:
    model = box.small()
    style = int(box.rng.integers(4))
    if style == 0:
        model.ir_version = int(str(box.pick([0, 2**31, 10**6])))
    elif style == 1:
        model.opset_import[0].version = int(str(box.pick([0, -1, 999, 2**62])))
    elif style == 2:
        del model.opset_import[:]
    else:
        model.opset_import[0].domain = "ai.example"
    return model


def wrong_attribute(box: Sandbox) -> onnx.ModelProto:
    model = box.small()
    node = model.graph.node[1]
    node.op_type = "Softmax"
    node.attribute.append(
        box.pick(  # type: ignore[arg-type]
            [
                helper.make_attribute("axis", "one"),
                helper.make_attribute("axis", 2**40),
                helper.make_attribute("axis", [1, 2]),
                AttributeProto(name="axis", type=AttributeProto.INT, ref_attr_name="nothing"),
                AttributeProto(name="axis", type=AttributeProto.GRAPH),
            ]
        )
    )
    return model


def missing_inputs(box: Sandbox) -> onnx.ModelProto:
    model = box.small()
    node = model.graph.node[int(str(box.pick([0, 2])))]
    del node.input[int(box.rng.integers(1, 2)) :]
    return model


def nothing_there(box: Sandbox) -> onnx.ModelProto:
    model = box.small()
    field = str(box.pick(["node", "output", "graph"]))
    if field == "graph":
        model.ClearField("graph")
    else:
        model.graph.ClearField(field)
    return model


def strange_exits(box: Sandbox) -> onnx.ModelProto:
    """Output names that look like exits and are none, or whose exits cannot be the full model's."""
    model = box.small()
    name = str(box.pick(["exit_0", "exit_-1", "exit_1.", "exit_", "exit_1.a.b", "Exit_1", "exit_1 "]))
    model.graph.node[1].output[0] = model.graph.output[0].name = name
    return model


def exits_unlike_the_full_model(box: Sandbox) -> onnx.ModelProto:
    model = box.small()
    node, output = model.graph.node[1], model.graph.output[0]
    if box.rng.random() < 0.5:
        node.op_type = "Cast"
        node.attribute.append(helper.make_attribute("to", TensorProto.DOUBLE))
        output.type.tensor_type.elem_type = TensorProto.DOUBLE
    else:
        node.op_type = "Concat"
        node.input.append("hidden")
        node.attribute.append(helper.make_attribute("axis", 1))
        output.type.tensor_type.shape.dim[1].dim_value = 8
    return model


def wrong_declared_shape(box: Sandbox) -> onnx.ModelProto:
    """Declared shapes that the graph contradicts."""
    model = box.small()
    shape = model.graph.output[int(box.rng.integers(2))].type.tensor_type.shape
    if box.rng.random() < 0.5:
        shape.dim[1].dim_value = 7
    else:
        shape.dim.add(dim_value=3)
    return model


def invalid_text(box: Sandbox) -> bytes:
    """Names that are no UTF-8."""
    return box.small().SerializeToString().replace(b"hidden", bytes(box.rng.integers(128, 256, 6, dtype=np.uint8)))


def bad_sparse_tensor(box: Sandbox) -> onnx.ModelProto:
    model = box.small()
    values = numpy_helper.from_array(np.ones(2, np.float32), "weight")
    indices = numpy_helper.from_array(np.array([3, 10**12], np.int64), "weight_indices")
    del model.graph.initializer[:]
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4, 4]))
    return model


def mutated_graph(box: Sandbox) -> onnx.ModelProto:
    """A sound graph with a few of its names, attributes, operators, nodes or dimensions exchanged."""
    model = box.model()
    graph = model.graph
    names = [value.name for value in graph.input] + [name for node in graph.node for name in node.output]
    for _ in range(int(str(box.pick([1, 2, 5])))):
        node = graph.node[int(box.rng.integers(len(graph.node)))]
        style = int(box.rng.integers(6))
        if style == 0 and node.input:
            node.input[int(box.rng.integers(len(node.input)))] = str(box.pick(names))
        elif style == 1 and node.attribute:
            attribute = node.attribute[int(box.rng.integers(len(node.attribute)))]
            attribute.i = int(str(box.pick([-1, 0, 1, 2, 7])))
        elif style == 2:
            node.op_type = graph.node[int(box.rng.integers(len(graph.node)))].op_type
        elif style == 3:
            graph.node.remove(node)
        elif style == 4 and graph.initializer:
            tensor = graph.initializer[int(box.rng.integers(len(graph.initializer)))]
            array = np.atleast_1d(numpy_helper.to_array(tensor))
            tensor.CopyFrom(numpy_helper.from_array(np.concatenate([array, array]), tensor.name))
        else:
            dims = next(value for value in graph.input if value.name == "x").type.tensor_type.shape.dim
            dims[int(box.rng.integers(len(dims)))].dim_value = int(str(box.pick([1, 2, 3, 0])))
    return model
