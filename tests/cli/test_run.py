from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from support.pictures import make_picture_engine_dir
from support.two_blocks import make_engine_dir, make_inputs, make_weights, reference

from etbac.cli.main import cli
from etbac.contract import Plan
from etbac.engine_dir import EngineDir, write_plan
from etbac.profiles.profiler import profile

NAME = "onnxruntime-cpu-fp32"


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_engine_dir(tmp_path_factory.mktemp("run") / "engines").path


@pytest.fixture(scope="module")
def picture_engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_picture_engine_dir(tmp_path_factory.mktemp("pictures") / "engines").path


def run(engines: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["run", "--engine-dir", str(engines), *map(str, arguments)])


def answers(engines: Path, *arguments: str | Path) -> dict[str, Any]:
    result = run(engines, "--json", *arguments)
    assert result.exit_code == 0, result.stderr
    payload: dict[str, Any] = json.loads(result.stdout)
    return payload


def certified_plan(engine_dir: EngineDir, **changes: Any) -> Plan:
    made_with = {
        "segments": list(engine_dir.segment_hashes),
        "backends": ["onnxruntime"] * 3,
        "backend": "onnxruntime",
        "device": "cpu",
        "dtype": "fp32",
    }
    return Plan((3, 7), {3: 0.5, 7: 0.5}, precision=0.99, certified=True, certificate={**made_with, **changes})


def test_without_input_the_directorys_samples_are_answered(engines: Path) -> None:
    found = answers(engines, "--threshold", "0.5")
    expected = reference(make_weights(), make_inputs(16))
    places = np.argmax([*(expected.confidence[:-1] >= 0.5), np.ones(16, bool)], axis=0)
    assert [sample["exit_id"] for sample in found["samples"]] == np.array([3, 7, 0])[places].tolist()
    assert [sample["prediction"] for sample in found["samples"]] == expected.answers[places, range(16)].argmax(
        1
    ).tolist()
    assert [sample["confidence"] is None for sample in found["samples"]] == (places == 2).tolist()
    assert [entry["samples"] for entry in found["exits"]] == np.bincount(places, minlength=3).tolist()


@pytest.mark.parametrize("size", [1, 3, 16, 100])
def test_the_batch_size_changes_no_answer(engines: Path, tmp_path: Path, size: int) -> None:
    for name, batch_size in (("one", 5), ("other", size)):
        answers(engines, "--threshold", "0.6", "--batch-size", str(batch_size), "--output", tmp_path / f"{name}.npz")
    one, other = np.load(tmp_path / "one.npz"), np.load(tmp_path / "other.npz")
    assert set(one.files) == {"prediction", "exit_id", "exit", "confidence"}
    np.testing.assert_array_equal(one["exit_id"], other["exit_id"])
    np.testing.assert_allclose(one["prediction"], other["prediction"], rtol=1e-5)


def test_the_output_appears_whole_and_leaves_nothing_else(engines: Path, tmp_path: Path) -> None:
    target = tmp_path / "answers"
    target.write_text("an older file")
    answers(engines, "--output", target)
    assert len(np.load(target)["prediction"]) == 16
    assert [path.name for path in tmp_path.iterdir()] == ["answers"]


def test_an_npz_file_may_hold_labels_too(engines: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", labels=np.arange(4), **make_inputs(4))
    assert answers(engines, "--input", tmp_path / "data.npz")["rows"] == 4


def test_without_a_plan_it_says_how_to_make_one(engines: Path) -> None:
    result = run(engines)
    assert "no plan: every sample takes the whole chain; run `etbac plan --precision 0.9968`" in result.stderr
    assert "certified: false (there is no plan)" in result.stdout
    assert "full model" in result.stdout


def test_twenty_rows_are_printed_and_the_rest_is_counted(engines: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", **make_inputs(25))
    printed = run(engines, "--input", tmp_path / "data.npz").stdout
    assert "│ 19 " in printed
    assert "│ 20 " not in printed
    assert "5 more" in printed


def test_percentiles_are_told_only_where_there_are_batches_enough(engines: Path) -> None:
    assert answers(engines, "--batch-size", "16")["latency_ms"]["p50"] is None  # the first batch pays for the start
    some = answers(engines, "--batch-size", "2")["latency_ms"]
    assert some["p50"] > 0
    assert some["p99"] is None


@pytest.mark.parametrize(
    ("changes", "options", "reason"),
    [
        ({}, [], None),
        ({"segments": ["0" * 64]}, [], "other segments: 00000000, here"),
        ({"backend": "abacus"}, [], "other backend: abacus, here onnxruntime"),
        ({"device": "cuda"}, [], "other device: cuda, here cpu"),
        ({"dtype": "int8"}, [], "other dtype: int8, here fp32"),
        ({}, ["--threshold", "0.5"], "the thresholds are not the plan's"),
    ],
)
def test_a_certificate_counts_only_for_what_it_was_made_with(
    tmp_path: Path, changes: dict[str, Any], options: list[str], reason: str | None
) -> None:
    engine_dir = make_engine_dir(tmp_path / "engines")
    write_plan(engine_dir, NAME, certified_plan(engine_dir, **changes))
    found = answers(engine_dir.path, *options)
    assert found["certified"] is (reason is None)
    assert reason is None or reason in found["reason"]
    assert found["precision"] == 0.99


def test_a_plan_without_a_profile_of_this_machine_is_said(tmp_path: Path) -> None:
    engine_dir = make_engine_dir(tmp_path / "engines")
    assert "no profile" not in run(engine_dir.path).stderr  # nor is there a plan
    write_plan(engine_dir, NAME, certified_plan(engine_dir))
    said = run(engine_dir.path)
    assert said.exit_code == 0
    assert said.stderr.count("no profile of onnxruntime-cpu-fp32 on this machine") == 1
    assert "run `etbac profile`" in said.stderr
    profile(engine_dir.path, batch_sizes=[1], budget_s=0.01)
    assert run(engine_dir.path).stderr == ""


def test_a_profile_that_was_damaged_counts_as_none(tmp_path: Path) -> None:
    engine_dir = make_engine_dir(tmp_path / "engines")
    write_plan(engine_dir, NAME, certified_plan(engine_dir))
    profile(engine_dir.path, batch_sizes=[1], budget_s=0.01)
    (file,) = engine_dir.path.glob("profiles/*.json")
    file.write_text("{}")
    said = run(engine_dir.path)
    assert (said.exit_code, "no profile" in said.stderr) == (0, True)


def test_an_uncertified_plan_gives_its_own_reason(tmp_path: Path) -> None:
    engine_dir = make_engine_dir(tmp_path / "engines")
    write_plan(engine_dir, NAME, replace(certified_plan(engine_dir), certified=False, reason="too few samples"))
    assert answers(engine_dir.path)["reason"] == "too few samples"


def test_exits_switched_off_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine_dir = make_engine_dir(tmp_path / "engines")
    write_plan(engine_dir, NAME, certified_plan(engine_dir))
    monkeypatch.setenv("ETBAC_EXITS", "off")
    found = answers(engine_dir.path)
    assert found["exits"][-1] == {"exit_id": 0, "samples": 16, "share": 1.0}
    assert "ETBAC_EXITS=off" in found["reason"]


# Pictures


def test_a_folder_of_pictures_is_read_in_the_order_of_names(picture_engines: Path, tmp_path: Path) -> None:
    pixels = {name: np.random.default_rng(seed).integers(0, 256, (4, 5), np.uint8) for seed, name in enumerate("bca")}
    for name, content in pixels.items():
        Image.fromarray(content).save(tmp_path / f"{name}.png")
    (tmp_path / ".hidden").write_text("no picture")
    found = answers(picture_engines, "--input", tmp_path, "--batch-size", "2", "--output", tmp_path.parent / "out.npz")
    assert [sample["file"] for sample in found["samples"]] == ["a.png", "b.png", "c.png"]
    # The model's scores are the mean of the preprocessed picture, its negative and a half
    expected = [(pixels[name] / 255 - 0.5).mean() / 0.25 for name in "abc"]
    np.testing.assert_allclose(np.load(tmp_path.parent / "out.npz")["prediction"][:, 0], expected, rtol=1e-4, atol=1e-5)


def test_pictures_of_other_sizes_and_modes_are_fitted_and_said_once(picture_engines: Path, tmp_path: Path) -> None:
    Image.new("RGB", (50, 40), (255, 255, 255)).save(tmp_path / "a.jpg")
    Image.new("L", (7, 7)).save(tmp_path / "b.png")
    Image.new("RGBA", (5, 4), (0, 0, 0, 255)).save(tmp_path / "c.png")
    result = run(picture_engines, "--input", tmp_path)
    assert result.stderr.count("resized") == 1
    assert "2 pictures were resized to 5×4; the first was a.jpg (50×40)" in result.stderr


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (lambda folder: (folder / "notes.txt").write_text("x"), "notes.txt is no picture; remove it"),
        (lambda folder: None, "holds no pictures"),
        (lambda folder: _truncated(folder / "a.png"), "a.png is a damaged picture"),
    ],
)
def test_a_folder_that_is_not_of_pictures_is_refused(
    picture_engines: Path, tmp_path: Path, fill: Any, message: str
) -> None:
    fill(tmp_path)
    result = run(picture_engines, "--input", tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr


def _truncated(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-2000])


# What is wrong, in one sentence


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.npy", np.zeros((2, 4, 5, 1), np.float32), r"the shape [2, 4, 5, 1]; the model takes [batch, 1, 4, 5]"),
        ("x.npy", np.zeros((1, 4, 5), np.float32), "A single sample needs a batch axis: np.expand_dims(x, 0)"),
        ("x.npy", np.zeros((2, 1, 4, 5)), "is float64; the model takes float32"),
        ("x.npy", np.full((2, 1, 4, 5), np.nan, np.float32), "NaN in 2 of 2 rows"),
        ("x.npy", np.zeros((0, 1, 4, 5), np.float32), "is empty"),
        ("x.npy", np.array([object()]), "is not a whole .npy file of plain arrays"),
        ("x.npz", {"picture": np.zeros(1)}, "takes the inputs image; found picture"),
        ("x.npz", b"PK\x03\x04 damaged", "is not a whole .npz file"),
        ("x.npz", b"", "is not a whole .npz file"),
        ("x.npz", b"some text", "is not a whole .npz file"),
        ("x.csv", b"1,2", "takes an .npy or .npz file of image, or a folder of pictures"),
        ("x.npy", None, "there is no such file or folder"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(
    picture_engines: Path, tmp_path: Path, name: str, content: Any, message: str
) -> None:
    path = tmp_path / name
    if isinstance(content, dict):
        np.savez(path, **content)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    result = run(picture_engines, "--input", path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_one_array_for_a_model_of_several_inputs_is_refused(engines: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 6), np.float32))
    result = run(engines, "--input", tmp_path / "x.npy")
    assert result.exit_code == 1
    assert "holds one array; the model takes x, scale, unread: give an .npz file" in result.stderr


def test_pictures_for_a_model_that_takes_none_are_refused(engines: Path, tmp_path: Path) -> None:
    result = run(engines, "--input", tmp_path)
    assert result.exit_code == 1
    assert "this model takes an .npy or .npz file of x, scale, unread\n" in result.stderr


@pytest.mark.parametrize(
    "options",
    [
        ["--batch-size", "0"],
        ["--batch-size", "-1"],
        ["--threshold", "high"],
        ["--threshold", "3=0.5,0.6"],
        ["--threshold", "4=0.5"],
        ["--threshold", "nan"],
        ["--backend", "abacus"],
        ["--output", "no/such/folder/out.npz"],
    ],
)
def test_wrong_usage_has_exit_code_2(engines: Path, options: list[str]) -> None:
    result = run(engines, *options)
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shutil.rmtree, "there is no such engine directory"),
        (lambda path: (path / "manifest.json").unlink(), "no compile has finished there"),
        (lambda path: (path / "manifest.json").write_text("{"), "manifest.json is incomplete or damaged"),
        (lambda path: next(path.glob("weights.*")).write_bytes(b"x"), "has changed since it was built"),
    ],
)
def test_a_directory_that_is_not_whole_is_refused(engines: Path, tmp_path: Path, spoil: Any, message: str) -> None:
    path = shutil.copytree(engines, tmp_path / "engines")
    spoil(path)
    result = run(path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr
    assert "etbac compile" in result.stderr


def test_run_imports_neither_torch_nor_onnx(tmp_path: Path) -> None:
    engine_dir = make_engine_dir(tmp_path / "engines")
    write_plan(engine_dir, NAME, certified_plan(engine_dir))
    profile(engine_dir.path, batch_sizes=[1], budget_s=0.01)
    code = f"""
import sys
from etbac.cli.main import cli
cli(["run", "--engine-dir", {str(engine_dir.path)!r}], standalone_mode=False)
print(sorted({{"torch", "onnx", "onnx_ir", "onnxscript", "scipy", "etbac.passes", "etbac.models"}} & set(sys.modules)))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"


def test_a_trace_is_written_beside_the_answers(engines: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"
    found = answers(engines, "--threshold", "0.6", "--batch-size", "5", "--trace", trace)
    events = json.loads(trace.read_text())["traceEvents"]
    batches = [event["args"]["rows"] for event in events if event.get("cat") == "batch"]
    assert batches == [5, 5, 5, 1]
    assert [event["name"] for event in events].count("read inputs") == 4
    left = {entry["exit_id"]: entry["samples"] for entry in found["exits"]}
    for exit_id, samples in left.items():
        runs = [event["args"] for event in events if event.get("cat") == "engine"]
        assert sum(run["left"] for run in runs if run["exit_id"] == exit_id) == samples


def test_a_trace_without_a_folder_is_refused_before_anything_runs(engines: Path, tmp_path: Path) -> None:
    result = run(engines, "--trace", tmp_path / "nowhere" / "trace.json")
    assert result.exit_code == 2
    assert "--trace" in result.stderr
    assert "there is no folder" in result.stderr
