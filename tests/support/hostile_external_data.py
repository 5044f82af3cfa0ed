"""ONNX models whose weights lie, or seem to lie, where no model file may reach."""

from __future__ import annotations

import os

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from support.graph_builder import OPSET
from support.sandbox import Sandbox


def _external(model: onnx.ModelProto, location: str, **entries: object) -> onnx.ModelProto:
    """The weight of `small` kept elsewhere."""
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        weight.external_data.add(key=key, value=str(value))
    return model


def outside_by_path(box: Sandbox) -> onnx.ModelProto:
    relative = f"../{box.outside.name}/secret.bin"
    paths = [str(box.secret), relative, f"a/../{relative}", f"./{relative}", f"{box.folder}/{relative}", "/etc/passwd"]
    return _external(box.small(), str(box.pick(paths)))


def outside_by_link(box: Sandbox) -> onnx.ModelProto:
    style = int(box.rng.integers(4))
    link = box.folder / "weights.bin"
    if style == 0:
        link.symlink_to(box.secret)
    elif style == 1:
        os.link(box.secret, link)
    elif style == 2:
        (box.folder / "data").symlink_to(box.outside, target_is_directory=True)
        return _external(box.small(), "data/secret.bin")
    else:
        link.symlink_to("/dev/zero")
    return _external(box.small(), "weights.bin")


def not_a_file(box: Sandbox) -> onnx.ModelProto:
    target = box.folder / "weights.bin"
    if box.rng.random() < 0.5:
        target.mkdir()
    else:
        os.mkfifo(target)
    return _external(box.small(), "weights.bin")


def strange_location(box: Sandbox) -> onnx.ModelProto:
    return _external(
        box.small(), str(box.pick(["", ".", "..", "a\0b", "absent.bin", "\\\\host\\x", "C:\\x", "~/x", "//"]))
    )


def wrong_extent(box: Sandbox) -> onnx.ModelProto:
    (box.folder / "weights.bin").write_bytes(bytes(48))
    entries = [
        {},
        {"offset": 10**6},
        {"offset": -64},
        {"length": 2**62},
        {"length": -1},
        {"offset": 0, "length": 16},
        {"offset": "zero"},
        {"length": "0x40"},
        {"offset": 2**64},
    ]
    chosen = box.pick(entries)
    assert isinstance(chosen, dict)
    return _external(box.small(), "weights.bin", **chosen)


def external_constant(box: Sandbox) -> onnx.ModelProto:
    """External data where it is easily overlooked: in a node's attribute, in a sub-graph, in a function."""
    model = box.small()
    tensor = _external(box.small(), f"../{box.outside.name}/secret.bin").graph.initializer[0]
    constant = helper.make_node("Constant", [], ["c"], value=tensor)
    use = helper.make_node("MatMul", ["hidden", "c"], ["d"])
    style = int(box.rng.integers(3))
    if style == 0:
        model.graph.node.insert(1, constant)
        model.graph.node.insert(2, use)
    elif style == 1:
        info = helper.make_tensor_value_info("d", TensorProto.FLOAT, None)
        body = helper.make_graph([constant, use], "body", [], [info])
        model.graph.initializer.append(numpy_helper.from_array(np.array(True), "flag"))
        model.graph.node.insert(1, helper.make_node("If", ["flag"], ["d_out"], then_branch=body, else_branch=body))
    else:
        opset = [helper.make_opsetid("", OPSET)]
        inner = helper.make_node("MatMul", ["hidden", "c"], ["d"])
        model.functions.append(helper.make_function("local", "f", ["hidden"], ["d"], [constant, inner], opset))
        model.opset_import.append(helper.make_opsetid("local", 1))
        model.graph.node.insert(1, helper.make_node("f", ["hidden"], ["d_out"], domain="local"))
    model.graph.node[-1].input[0] = "d" if style == 0 else "d_out"
    return model
