from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, parser
from support.onnx_text import parse, run

from etbac.errors import EtbacError, UnsafeFileError
from etbac.frontend import LoadOptions, load_model
from etbac.frontend.external_data import check_external_data
from etbac.passes.model_passes import PassOptions, model_passes

GRAPH = """(float[B, 3] x) => (float[B, 4] exit_1, float[B, 4] y)
<float[3, 4] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}> { h = MatMul(x, w) exit_1 = Relu(h) y = Neg(h) }"""

FUNCTIONS = """<ir_version: 9, opset_import: ["": 18, "local": 1]>
graph (float[B, 3] x) => (float[B, 3] exit_1, float[B, 3] y) { h = local.twice(x) exit_1 = Relu(h) y = local.outer(h) }
<domain: "local", opset_import: ["": 18]> twice (a) => (b) { b = Add(a, a) }
<domain: "local", opset_import: ["": 18, "local": 1]> outer (a) => (c) { b = local.twice(a) c = Neg(b) }"""


def _with_external_weights(folder: Path, location: str, content: bytes | None) -> Path:
    model = parse(GRAPH)
    weight = model.graph.initializer[0]
    weight.ClearField("float_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    if content is not None:
        (folder / location).parent.mkdir(exist_ok=True)
        (folder / location).write_bytes(content)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_a_file_is_read_and_its_source_recorded(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(parse(GRAPH), path)
    found = load_model(path)
    assert found.exits == {1: {"prediction": "exit_1"}}
    assert found.batch_axes == {"x": 0}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.source == {"path": str(path), "kind": "onnx", "sha256": digest}


def test_outputs_are_named_by_the_user(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(parse(GRAPH.replace("exit_1", "early")), path)
    assert load_model(path, LoadOptions(exits=("4=early",))).exits == {4: {"prediction": "early"}}


def test_local_functions_are_inlined(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(parser.parse_model(FUNCTIONS), path)
    found = load_model(path).model
    assert not found.functions
    assert {node.domain for node in found.graph} == {""}
    x = np.array([[1, -2, 3]], np.float32)
    np.testing.assert_array_equal(run(found, {"x": x})["y"], -4 * x)


def test_weights_beside_the_file_are_read(tmp_path: Path) -> None:
    weights = np.arange(1, 13, dtype=np.float32)
    path = _with_external_weights(tmp_path, "deep/weights.bin", weights.tobytes())
    found = ir.external_data.load_to_model(model_passes(load_model(path), PassOptions()).model)
    x = np.ones((2, 3), np.float32)
    expected = run(parse(GRAPH), {"x": x})["y"]
    np.testing.assert_array_equal(run(found, {"x": x, "gate_1.threshold": np.float32(1)})["y"], expected)


def test_small_tensors_beside_the_file_come_into_the_graph(tmp_path: Path) -> None:
    path = _with_external_weights(tmp_path, "weights.bin", np.ones(12, np.float32).tobytes())
    found = load_model(path)
    (tmp_path / "weights.bin").unlink()
    np.testing.assert_array_equal(run(found.model, {"x": np.ones((2, 3), np.float32)})["y"], np.full((2, 4), -3))


@pytest.mark.parametrize("location", ["../secret.bin", "link.bin"])
def test_a_file_with_weights_elsewhere_is_refused(tmp_path: Path, location: str) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(48))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "link.bin").symlink_to(secret)
    with pytest.raises(EtbacError):
        load_model(_with_external_weights(tmp_path / "models", location, None))


@pytest.mark.parametrize("location", ["/etc/hostname", "../secret.bin", "a/../../secret.bin", "./../secret.bin", ""])
def test_a_location_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    path = _with_external_weights(tmp_path, location, None)
    with pytest.raises(UnsafeFileError, match="outside its folder"):
        check_external_data(ir.load(path), path)


def test_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "w.bin").write_bytes(bytes(48))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "folder").symlink_to(tmp_path / "outside", target_is_directory=True)
    path = _with_external_weights(tmp_path / "models", "folder/w.bin", None)
    with pytest.raises(UnsafeFileError, match="is a link"):
        check_external_data(ir.load(path), path)


def test_the_frontends_own_check_refuses_links_and_short_files(tmp_path: Path) -> None:
    """ONNX's checker catches most of it first; what it lets through must not depend on its version."""
    path = _with_external_weights(tmp_path, "w.bin", bytes(48))
    check_external_data(ir.load(path), path)
    (tmp_path / "w.bin").write_bytes(bytes(20))
    with pytest.raises(EtbacError, match=r"ends at byte 48 of w\.bin, which has 20"):
        check_external_data(ir.load(path), path)
    (tmp_path / "w.bin").rename(tmp_path / "other.bin")
    with pytest.raises(EtbacError, match="not beside it"):
        check_external_data(ir.load(path), path)
    (tmp_path / "w.bin").symlink_to(tmp_path / "other.bin")
    with pytest.raises(UnsafeFileError, match="is a link"):
        check_external_data(ir.load(path), path)
    (tmp_path / "w.bin").unlink()
    os.link(tmp_path / "other.bin", tmp_path / "w.bin")
    with pytest.raises(UnsafeFileError, match="hard link"):
        check_external_data(ir.load(path), path)


def test_external_data_in_a_sub_graph_is_checked(tmp_path: Path) -> None:
    tensor = onnx.TensorProto(name="c", data_type=1, dims=[2], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../secret.bin")
    node = helper.make_node("Constant", [], ["c"], value=tensor)
    body = helper.make_graph([node], "body", [], [helper.make_tensor_value_info("c", 1, [2])])
    model = parse("(bool flag) => (float[2] y) { y = Cast <to = 1> (flag) }")
    model.graph.node.insert(0, helper.make_node("If", ["flag"], ["z"], then_branch=body, else_branch=body))
    with pytest.raises(UnsafeFileError, match="outside its folder"):
        check_external_data(ir.from_proto(model), tmp_path / "model.onnx")


def test_a_damaged_file_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(parse(GRAPH).SerializeToString()[:60])
    with pytest.raises(EtbacError, match=rf"^{path} is not a valid ONNX file \(.+\); export it again$"):
        load_model(path)


def test_reading_and_passes_need_no_torch(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(parse(GRAPH), path)
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from etbac.frontend import load_model\n"
        "from etbac.passes.model_passes import PassOptions, model_passes\n"
        f"print(len(model_passes(load_model({str(path)!r}), PassOptions()).exits))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (found.stdout.strip(), found.stderr) == ("1", "")


SLIPS_THROUGH = [("name", "is not UTF-8 text"), ("attribute", "refers to a function's attribute")]


@pytest.mark.parametrize(("place", "message"), SLIPS_THROUGH)
def test_what_the_checker_lets_through_is_refused(tmp_path: Path, place: str, message: str) -> None:
    model = parse(
        "(float[B, 3] x) => (float[B, 3] exit_1, float[B, 3] y) { hidden = Softmax <axis = 1> (x) "
        "exit_1 = Neg(hidden) y = Abs(hidden) }"
    )
    if place == "attribute":
        model.graph.node[0].attribute[0].ref_attr_name = "axis"
    content = model.SerializeToString()
    if place == "name":
        content = content.replace(b"hidden", b"\xf3\xee\xfe\xf3\xee\xfe")
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(EtbacError, match=message):
        load_model(tmp_path / "model.onnx")
