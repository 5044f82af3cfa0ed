"""Sets of engines: built, found again, chosen, refused. TensorRT-RTX really builds here; nothing needs a GPU."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from support.small_network import make_images, make_network

from etbac.compiler import Compiled, CompileOptions, EngineOptions, compile_model
from etbac.contract import Plan
from etbac.engine_dir import EngineDir, sealed, write_plan
from etbac.errors import BackendRefusal, EngineDirError, EtbacError, UsageError
from etbac.frontend.load import LoadOptions, load_model
from etbac.frontend.torch_export import from_module
from etbac.passes.exit_model import ExitModel
from etbac.runtime.certificate import made_with, standing
from etbac.runtime.chain import load
from etbac.verification.engines import compare_engines

RTX = EngineOptions(backend="tensorrt-rtx")
INT8 = EngineOptions(dtype="int8", calibration=make_images(64))
NETWORK = make_network()


@pytest.fixture(autouse=True)
def own_key(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def exported() -> ExitModel:
    return from_module(NETWORK, make_images(2), {"path": "small", "kind": "module", "sha256": None})


@pytest.fixture
def compiled(exported: ExitModel, tmp_path: Path):
    """Compiles the small network again and again into one directory."""

    def again(engines: EngineOptions = RTX, **options) -> Compiled:
        return compile_model(exported.copy(), tmp_path / "engines", CompileOptions(engines=engines, **options))

    return again


def misses(made: Compiled) -> list[str | None]:
    return [built.miss for built in made.built]


def test_every_segment_and_the_full_model_are_built_and_listed(compiled):
    made = compiled()
    assert [built.stem for built in made.built] == ["segment-00", "segment-01", "segment-02", "full"]
    assert misses(made) == ["not built before"] * 4
    (engines,) = made.engine_dir.engine_sets().values()
    assert engines.folder == "engines/tensorrt-rtx-any-fp32"
    assert all(entry.is_code and (made.engine_dir.path / entry.engine).stat().st_size for entry in engines.entries())


def test_a_second_build_is_all_hits_and_changes_no_file(compiled):
    first = compiled().engine_dir
    again = compiled()
    assert misses(again) == [None] * 4
    assert again.engine_dir.manifest.files == first.manifest.files


def test_a_miss_names_the_field_that_changed(compiled):
    compiled()
    assert misses(compiled(max_batch=4)) == ["max_batch was 32, is 4"] * 4


def test_a_segment_that_stays_is_found_again_when_others_change(compiled):
    compiled()
    again = compiled(exits=[1])
    assert misses(again)[0] is None
    assert misses(again)[1] == "the segment has changed"
    assert misses(again)[-1] is None


def test_engines_of_another_user_are_built_again(compiled, monkeypatch, tmp_path):
    compiled()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "somebody else"))
    assert misses(compiled()) == ["not built here"] * 4


def test_a_damaged_engine_is_built_again(compiled):
    made = compiled()
    (engines,) = made.engine_dir.engine_sets().values()
    damaged = made.engine_dir.path / engines.segments[1].engine
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    again = compiled()
    assert misses(again) == ["not built before"] * 4
    again.engine_dir.check_all(again.engine_dir.manifest.files)


def test_without_a_gpu_the_portable_sources_run_and_that_is_said(compiled):
    path = compiled().engine_dir.path
    images = make_images(9)
    with load(path) as chain:
        assert (chain.backend, chain.dtype) == ("onnxruntime", "fp32")
        assert chain.note == (
            "engines/tensorrt-rtx-any-fp32 is not used (no NVIDIA GPU here): "
            "the portable fp32 sources run on onnxruntime"
        )
        answers = chain.run(images).prediction
    compiled(EngineOptions())
    with load(path) as portable:
        assert portable.note is None
        np.testing.assert_array_equal(portable.run(images).prediction, answers)


def test_a_backend_that_was_asked_for_is_not_replaced(compiled):
    path = compiled().engine_dir.path
    with pytest.raises(EtbacError, match="tensorrt-rtx-any-fp32 cannot run here: no NVIDIA GPU here"):
        load(path, backend="tensorrt-rtx")
    with pytest.raises(UsageError, match=r"no engines of backend tensorrt-rtx in fp16; it has engines/tensor"):
        load(path, backend="tensorrt-rtx", dtype="fp16")
    with pytest.raises(EtbacError, match=r"--backend tensorrt cannot run here: .*pip install 'etbac\[gpu\]'"):
        load(path, backend="tensorrt")


@pytest.mark.parametrize("what", ["engine", "list"])
def test_a_wrong_hash_is_refused_even_where_another_source_would_run(compiled, what):
    made = compiled()
    (name,) = made.engine_dir.engine_sets()
    victim = made.engine_dir.path / (name if what == "list" else made.engine_dir.read_set(name).segments[0].engine)
    victim.write_bytes(victim.read_bytes() + b"?")
    with pytest.raises(EngineDirError, match=f"{victim.name} has changed since it was built"):
        load(made.engine_dir.path)


def test_int8_runs_its_own_sources_and_the_fp32_ones_stay(compiled):
    made = compiled(INT8)
    assert len(made.engine_dir.segment_hashes) == 3
    images = make_images(50, seed=4)
    with load(made.engine_dir.path) as chain, load(made.engine_dir.path, dtype="fp32") as portable:
        assert (chain.dtype, portable.dtype) == ("int8", "fp32")
        assert chain.note is None
        assert not set(chain.sources) & set(portable.sources)
        cost = compare_engines(chain, portable, images)
        assert (cost.engines, cost.samples, cost.broken) == ("onnxruntime-cpu-int8", 50, None)
        assert 0 < cost.typical <= cost.largest < 0.1
        np.testing.assert_array_equal(chain.full(images), portable.full(images))


def test_segments_kept_in_fp32_run_their_portable_source(compiled):
    made = compiled(replace(INT8, keep_fp32="1,last"))
    (engines,) = made.engine_dir.engine_sets().values()
    assert [entry.format for entry in engines.segments] == ["fp32", "int8", "fp32"]
    portable = [entry.file for entry in made.engine_dir.manifest.segments]
    assert [entry.source == file for entry, file in zip(engines.segments, portable, strict=True)] == [True, False, True]


def test_sets_stand_beside_each_other_until_the_chain_changes(compiled):
    compiled()
    compiled(INT8)
    made = compiled(EngineOptions(dtype="fp16"))
    folders = {engines.folder for engines in made.engine_dir.engine_sets().values()}
    assert folders == {
        f"engines/{name}" for name in ("tensorrt-rtx-any-fp32", "onnxruntime-cpu-int8", "onnxruntime-cpu-fp16")
    }
    assert made.engine_dir.manifest.engines is not None
    assert "fp16" in made.engine_dir.manifest.engines

    changed = compiled(EngineOptions(), exits=[2])
    assert changed.engine_dir.engine_sets() == {}
    assert set(changed.dropped_sets) == folders
    assert made.dropped_sets == ()
    left = [path for path in (changed.engine_dir.path / "engines").rglob("*") if path.is_file()]
    assert left == []


def test_sources_need_no_key_and_engines_do(compiled, monkeypatch, tmp_path):
    path = compiled(INT8).engine_dir.path
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "somebody else"))
    with load(path) as chain:
        assert chain.dtype == "int8"

    (engines,) = (compiled().engine_dir.engine_sets(),)
    found = next(each for each in engines.values() if each.backend == "tensorrt-rtx")
    assert found.is_built_here()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "a third one"))
    assert not found.is_built_here()


def test_a_signature_does_not_cover_what_was_changed(compiled):
    made = compiled()
    (engines,) = made.engine_dir.engine_sets().values()
    assert engines.is_built_here()
    first, *others = engines.segments
    assert not replace(engines, segments=(replace(first, engine=others[0].engine), *others)).is_built_here()
    assert not replace(engines, files=dict.fromkeys(engines.files, "0" * 64)).is_built_here()


def test_a_key_that_others_can_read_is_not_used(compiled, tmp_path):
    compiled()
    (tmp_path / "state" / "etbac" / "key").chmod(0o644)
    with pytest.raises(EtbacError, match="this key is not a whole, private key of yours"):
        compiled()


def test_a_copied_directory_still_counts_as_built_here(compiled, tmp_path):
    made = compiled()
    shutil.copytree(made.engine_dir.path, tmp_path / "copy")
    (engines,) = EngineDir.open(tmp_path / "copy").engine_sets().values()
    assert engines.is_built_here()


DETERMINANT = """<ir_version: 9, opset_import: ["" : 18]>
determinant (float[batch, 2, 2] x) => (float[batch, 2] exit_1, float[batch, 2] prediction)
<float[2, 2] w = {1.0, 0.5, 0.2, 1.0}, int64[1] axes = {1}>
{
    product = MatMul(x, w)
    exit_1 = ReduceSum <keepdims = 0> (product, axes)
    up = Relu(product)
    volume = Det(up)
    column = Unsqueeze(volume, axes)
    prediction = Mul(column, exit_1)
}"""


@pytest.fixture
def refused(tmp_path: Path) -> ExitModel:
    """Its last segment holds an operator that TensorRT has not."""
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(DETERMINANT), path)
    return load_model(path, LoadOptions())


def test_a_refused_operator_is_named_and_nothing_is_put_in_place(refused, tmp_path):
    with pytest.raises(BackendRefusal, match=r"cannot build segment-01\..*\(Det\)"):
        compile_model(refused, tmp_path / "engines", CompileOptions(engines=RTX))
    assert not (tmp_path / "engines" / "manifest.json").exists()


def test_with_fallback_onnxruntime_runs_the_refused_segment(refused, tmp_path):
    options = CompileOptions(engines=replace(RTX, fallback=True))
    made = compile_model(refused.copy(), tmp_path / "engines", options)
    assert [built.backend for built in made.built] == ["tensorrt-rtx", "onnxruntime", "onnxruntime"]
    assert "(Det)" in str(made.built[1].refusal)
    (engines,) = made.engine_dir.engine_sets().values()
    assert [entry.is_code for entry in engines.entries()] == [True, False, False]


def test_a_set_made_for_another_processor_is_not_used(compiled, monkeypatch):
    path = compiled(INT8).engine_dir.path
    monkeypatch.setattr("etbac.backends.onnxruntime_backend.OnnxRuntimeBackend.unfit", lambda self, made: "another CPU")
    with load(path) as chain:
        assert chain.dtype == "fp32"
        assert "another CPU" in str(chain.note)


def test_int8_without_inputs_says_what_to_give(compiled):
    with pytest.raises(UsageError, match="takes its ranges from real inputs, and there are none; give some"):
        compiled(replace(INT8, calibration=None))


@pytest.mark.parametrize("backend", ["openvino", "reference"])
def test_other_backends_run_the_portable_sources_without_a_build(compiled, backend):
    path = compiled(EngineOptions()).engine_dir.path
    images = make_images(5, seed=2)
    with load(path, backend=backend) as chain, load(path) as portable:
        assert chain.backend == backend
        forced = np.array([1, 2, 0, 1, 2])
        ours, theirs = chain.run(images, exit_at=forced), portable.run(images, exit_at=forced)
    np.testing.assert_allclose(ours.prediction, theirs.prediction, rtol=1e-4, atol=1e-5)


def test_the_list_of_a_set_comes_back_as_it_was(compiled):
    made = compiled(replace(INT8, keep_fp32="1"))
    ((name, engines),) = made.engine_dir.engine_sets().items()
    data = json.loads((made.engine_dir.path / name).read_text())
    assert type(engines).from_json(data) == engines
    assert sealed.parse((made.engine_dir.path / "manifest.json").read_bytes(), made.engine_dir.path)["engines"] == name


OFFLINE = EngineOptions(offline=True)


def test_what_was_optimised_offline_answers_the_same_and_is_found_again(compiled):
    path = compiled(OFFLINE).engine_dir.path
    assert misses(compiled(OFFLINE)) == [None] * 4
    images = make_images(9)
    with load(path) as chain:
        assert (chain.note, chain.dtype) == (None, "fp32")
        answers = chain.run(images, exit_at=[0, 1, 2] * 3)
    compiled(EngineOptions())
    with load(path) as portable:
        np.testing.assert_allclose(
            answers.prediction, portable.run(images, exit_at=[0, 1, 2] * 3).prediction, atol=1e-5
        )


@pytest.mark.parametrize("field", ["processor", "onnxruntime"])
def test_what_was_optimised_for_another_machine_is_not_used(compiled, monkeypatch, field):
    path = compiled(OFFLINE).engine_dir.path
    here = {"processor": "another one", "onnxruntime": "0.1"}
    monkeypatch.setattr("etbac.backends.onnxruntime_backend._offline_for", lambda: {field: here[field]})
    with load(path) as chain:
        assert f"made for {field}" in str(chain.note)
        assert chain.note is not None
        assert "the portable fp32 sources run on onnxruntime" in chain.note
    with load(path, dtype="fp32") as chain:
        assert f"made for {field}" in str(chain.note)


def test_engines_of_another_user_are_used_only_when_trusted(compiled, monkeypatch, tmp_path):
    path = compiled(OFFLINE).engine_dir.path
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "somebody else"))
    with load(path) as chain:
        assert "not built with your key; --trust uses them" in str(chain.note)
    with load(path, trust=True) as chain:
        assert chain.note is None
        chain.warm([1, 3])


@pytest.mark.parametrize(
    ("engines", "then", "options"),
    [
        (EngineOptions(dtype="fp16"), EngineOptions(dtype="fp16", keep_fp32="1"), {}),
        (EngineOptions(backend="openvino"), EngineOptions(backend="openvino"), {"exits": [1]}),
    ],
)
def test_a_source_that_is_found_again_is_the_one_with_todays_weights_file(compiled, engines, then, options):
    compiled(engines)
    made = compiled(then, **options)
    assert None in misses(made)[:-1]
    made.engine_dir.check_all(made.engine_dir.manifest.files)
    with load(made.engine_dir.path) as chain:
        assert chain.note is None
        chain.warm([1, 2])


def test_other_ranges_make_other_engines(compiled):
    compiled(INT8)
    assert misses(compiled(INT8)) == [None] * 4
    again = misses(compiled(replace(INT8, calibration={"image": 3 * make_images(64)["image"]})))
    assert again[0] == "the segment has changed"
    assert again[-1] is None


def test_another_way_of_building_builds_again(compiled, monkeypatch):
    compiled()
    monkeypatch.setattr("etbac.backends.tensorrt.backend.RECIPE", "another")
    assert misses(compiled()) == ["recipe was 1, is another"] * 4


def test_without_a_key_nothing_is_built(compiled, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("etbac.backends.tensorrt.backend.TensorRtBackend.build", lambda *_: pytest.fail("built"))
    with pytest.raises(EtbacError, match=r"which cannot be written \(Not a directory\); set XDG_STATE_HOME"):
        compiled()


def test_a_certificate_of_one_set_does_not_hold_for_another(compiled):
    path = compiled(INT8).engine_dir.path
    with load(path) as chain:
        plan = Plan((1, 2), {1: 0.5}, 0.99, certified=True, certificate=made_with(chain))
        write_plan(chain.engine_dir, "onnxruntime-cpu-int8", plan)
    for dtype, certified in (("int8", True), ("fp32", False)):
        with load(path, dtype=dtype) as chain:
            assert standing(chain).certified is certified
    compiled(replace(INT8, keep_fp32="1"))
    with load(path) as chain:
        assert "certified with other segments" in str(standing(chain).reason)
