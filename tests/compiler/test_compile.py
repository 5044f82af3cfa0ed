from __future__ import annotations

import errno
import importlib
import os
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from support.small_network import make_images, make_network, torch_answers
from support.two_blocks import make_engine_dir

import etbac
from etbac.compiler import CompileOptions, compile_model
from etbac.contract import Plan
from etbac.engine_dir import EngineDir, write_plan
from etbac.errors import EtbacError, InputError, UsageError, VerificationError
from etbac.frontend.load import load_model
from etbac.frontend.torch_export import from_module
from etbac.passes.exit_model import ExitModel
from etbac.passes.gates.registry import parse
from etbac.runtime.chain import load

NETWORK = make_network()


@pytest.fixture(scope="module")
def exported() -> ExitModel:
    return from_module(NETWORK, make_images(2), {"path": "small", "kind": "module", "sha256": None})


@pytest.fixture
def exit_model(exported: ExitModel) -> ExitModel:
    return exported.copy()


def files(path: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(path.iterdir()) if p.is_file() and p.name != ".lock"}


def test_every_exit_of_the_chain_answers_as_the_torch_model(tmp_path):
    directory = etbac.compile(NETWORK, tmp_path / "engines", example_inputs=make_images(2))
    images = make_images(37, seed=3)
    expected = torch_answers(NETWORK, images)
    with load(directory.path) as chain:
        assert chain.exits == (1, 2)
        every = chain.run_all(images)
        full = chain.full(images)
    for place, exit_id in enumerate(every.exit_ids):
        np.testing.assert_allclose(every.prediction[place], expected[exit_id], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(full, expected[0], rtol=1e-4, atol=1e-5)


def test_only_the_exits_asked_for_are_kept(exit_model, tmp_path):
    compiled = compile_model(exit_model, tmp_path / "engines", CompileOptions(exits=[2]))
    assert compiled.engine_dir.manifest.exits == (2,)
    assert len(compiled.segments) == 2


def test_weights_are_stored_once_and_the_directory_moves_as_a_whole(exit_model, tmp_path):
    path = compile_model(exit_model, tmp_path / "engines", CompileOptions()).engine_dir.path
    weights = sum(p.stat().st_size for p in path.glob("weights.*.bin"))
    parameters = sum(p.numel() * 4 for p in NETWORK.parameters())
    assert weights < 1.5 * parameters
    path.rename(tmp_path / "elsewhere")
    with load(tmp_path / "elsewhere") as chain:
        chain.run(make_images(3))


def test_the_same_model_again_changes_no_file_and_keeps_the_plan(exit_model, tmp_path):
    directory = compile_model(exit_model.copy(), tmp_path / "engines", CompileOptions()).engine_dir
    write_plan(directory, "onnxruntime-cpu-fp32", Plan((1, 2), {1: 0.5}, 0.9, False, "a test"))
    before = files(directory.path)
    again = compile_model(exit_model, tmp_path / "engines", CompileOptions())
    assert not again.dropped_plan
    assert files(directory.path) == before


def test_another_set_of_exits_drops_the_plan_and_says_so(exit_model, tmp_path):
    directory = compile_model(exit_model.copy(), tmp_path / "engines", CompileOptions()).engine_dir
    write_plan(directory, "onnxruntime-cpu-fp32", Plan((1, 2), {1: 0.5}, 0.9, False, "a test"))
    again = compile_model(exit_model, tmp_path / "engines", CompileOptions(exits=[1]))
    assert again.dropped_plan
    assert again.engine_dir.plan is None


def test_a_wrong_split_is_not_put_in_place(exit_model, tmp_path, monkeypatch):
    before = make_engine_dir(tmp_path / "engines")
    right = _module().split_at_exits

    def wrong(model, max_batch):
        *segments, last = right(model, max_batch)
        return [*segments, _reversed_rows(last)] if segments else [last]

    monkeypatch.setattr(_module(), "split_at_exits", wrong)
    with pytest.raises(VerificationError, match="differs from the uncut model"):
        compile_model(exit_model, tmp_path / "engines", CompileOptions())
    assert EngineDir.open(tmp_path / "engines").manifest == before.manifest


@pytest.mark.parametrize("write", [1, 2, 3, 5])
def test_a_full_disk_leaves_the_old_directory_whole(exit_model, tmp_path, monkeypatch, write):
    before = make_engine_dir(tmp_path / "engines")
    kept = files(tmp_path / "engines")
    real, calls = os.write, iter(range(1, 1_000))

    def full(descriptor: int, data: bytes) -> int:
        if next(calls) == write:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        compile_model(exit_model, tmp_path / "engines", CompileOptions())
    monkeypatch.undo()
    assert files(tmp_path / "engines") == kept
    assert EngineDir.open(tmp_path / "engines").manifest == before.manifest


def test_an_exit_that_does_not_exist_is_named_beside_those_that_do(exit_model, tmp_path):
    with pytest.raises(EtbacError, match="no exit 9; it has exits 1, 2"):
        compile_model(exit_model, tmp_path / "engines", CompileOptions(exits=[1, 9]))


def test_bad_requests(exit_model, tmp_path):
    with pytest.raises(UsageError, match="--max-batch 0"):
        compile_model(exit_model.copy(), tmp_path / "engines", CompileOptions(max_batch=0))
    exit_model.exits.clear()
    with pytest.raises(UsageError, match="this model has no exits"):
        compile_model(exit_model, tmp_path / "engines", CompileOptions())
    assert not (tmp_path / "engines" / "manifest.json").exists()


def test_a_model_that_gives_nan_on_made_up_inputs_asks_for_real_ones(tmp_path):
    text = """<ir_version: 9, opset_import: ["" : 18]>
    nan (float[batch, 4] x) => (float[batch, 4] exit_1, float[batch, 4] prediction) {
        exit_1 = Identity(x)
        below = Abs(x)
        minus = Neg(below)
        prediction = Log(minus)
    }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "nan.onnx")
    with pytest.raises(InputError, match="gives NaN on 10 draws of made-up inputs; give real ones with --data"):
        compile_model(load_model(tmp_path / "nan.onnx"), tmp_path / "engines", CompileOptions())


@pytest.mark.parametrize("gate", ["max-prob:temperature=2", "margin", "entropy", "patience"])
def test_each_gates_options_stand_in_the_manifest(exit_model, tmp_path, gate):
    directory = compile_model(exit_model, tmp_path / "engines", CompileOptions(gate=parse(gate))).engine_dir
    assert directory.manifest.segments[0].contract.gate["name"] == gate.split(":")[0]


def test_a_gate_of_one_exit_decides_there_alone(exit_model, tmp_path):
    first, *others = exit_model.exits
    images = make_images(5)
    confidences = {}
    for name, gates in {"plain": {}, "warm": {first: parse("max-prob:temperature=3")}}.items():
        etbac.compile(exit_model.copy(), tmp_path / name, gates=gates)
        with load(tmp_path / name) as chain:
            confidences[name] = chain.run_all(images).confidence
    ids = list(exit_model.exits)
    assert (confidences["warm"][ids.index(first)] < confidences["plain"][ids.index(first)]).all()
    for other in others:
        place = ids.index(other)
        np.testing.assert_array_equal(confidences["warm"][place], confidences["plain"][place])


def test_what_a_compilation_gives_back_holds_no_weights_in_memory(exit_model, tmp_path):
    compiled = compile_model(exit_model, tmp_path / "engines", CompileOptions())
    weights = [value.const_value for value in compiled.exit_model.model.graph.initializers.values()]
    large = [tensor for tensor in weights if tensor.nbytes >= 1024]
    assert large
    assert all(isinstance(tensor, ir.ExternalTensor) for tensor in large)


def _module():
    return importlib.import_module("etbac.compiler.compile")


def _reversed_rows(segment):
    """The last segment with `keep` read backwards: every answer lands in another row."""
    graph = segment.model.graph
    keep = next(value for value in graph.inputs if value.name == "keep")
    users = list(keep.uses())
    bounds = []
    for name, number in (("start", -1), ("end", np.iinfo(np.int64).min), ("axis", 0), ("step", -1)):
        tensor = ir.tensor(np.array([number], np.int64), name=f"backwards.{name}")
        bounds.append(ir.Value(name=tensor.name, const_value=tensor))
        graph.register_initializer(bounds[-1])
    node = ir.node("Slice", [keep, *bounds])
    for user, place in users:
        user.replace_input_with(place, node.outputs[0])
    graph.insert_before(graph[0], node)
    return segment
