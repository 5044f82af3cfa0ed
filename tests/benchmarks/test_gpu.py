from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import gpu, tensorrt_zoo
from etbac.backends.interface import Engine, Runner
from etbac.backends.onnxruntime_backend import OnnxRuntimeBackend
from etbac.contract import TensorSpec


def on_cpu(path: Path) -> Runner:
    """In the place of a GPU's engines, so that the measuring itself runs."""
    return OnnxRuntimeBackend().load(Engine("onnxruntime", "cpu", "fp32", path))


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> gpu.Work:
    monkeypatch.setattr(gpu, "BATCHES", (1, 5))
    monkeypatch.setattr(gpu, "REPEATS", 3)
    (found,) = gpu.prepare("tiny", ["fp32"], tmp_path)
    return found


def test_build_only_builds_every_engine_in_every_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "gpu.json"
    assert gpu.main(["--build-only", "--model", "tiny", "--output", str(output)]) == 0
    rows = json.loads(output.read_text())["rows"]
    assert [(row["dtype"], row["engines"]) for row in rows] == [("fp32", 6), ("fp16", 6)]
    assert "fp16" in capsys.readouterr().out


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(gpu, "first_gpu", lambda: None)
    assert gpu.main(["--model", "tiny"]) == 1
    assert "there is no NVIDIA GPU here; --build-only" in capsys.readouterr().out


def test_the_comparison_has_a_row_for_each_batch(work: gpu.Work) -> None:
    rows = gpu.compared(work, on_cpu, on_cpu, {1: 0.001, 5: 0.001})
    assert [row["batch"] for row in rows] == [1, 5]
    assert all(row["difference"] < 1e-5 for row in rows)
    assert all(row["chain_to_full"] == row["chain_ms"] / row["full_ms"] for row in rows)
    assert all(row[name] > 0 for row in rows for name in ("gather_share", "without_graphs_ms", "switching"))


def test_every_boundary_is_gathered_alone(work: gpu.Work, tmp_path: Path) -> None:
    assert set(gpu.gathering(work, on_cpu, tmp_path)) == {1, 5}
    carried = sum(len(contract.inputs) for contract in work.files.contracts[1:])
    assert len(list(tmp_path.glob("gather-*.onnx"))) == carried >= 4


@pytest.mark.parametrize("dtype", gpu.TYPES)
def test_the_gather_gives_the_rows_asked_for(dtype: str, tmp_path: Path) -> None:
    import onnx

    onnx.save(gpu.gather_model(TensorSpec("x", dtype, ("slots", 2, 3), 0)), tmp_path / "gather.onnx")
    pool = np.arange(24).reshape(4, 2, 3).astype(dtype)
    with on_cpu(tmp_path / "gather.onnx") as runner:
        rows, one = runner.run({"pool": pool, "keep": np.array([1, 3])}, ("rows", "one"))
    np.testing.assert_array_equal(np.asarray(rows), pool[[1, 3]])
    np.testing.assert_array_equal(np.asarray(one), pool[[1]])


def test_answers_that_differ_from_the_cpus_are_seen(work: gpu.Work) -> None:
    other = gpu.Work(work.model, work.dtype, work.files, work.samples, [2 * answers for answers in work.expected])
    with gpu.ExitStack() as stack:
        stages = gpu.stages_of(work.files, stack, on_cpu)
        assert max(gpu.differences(stages, work)) < 1e-5
        assert min(gpu.differences(stages, other)) > 0.1


def test_a_backend_that_cannot_run_has_a_row_that_says_why(work: gpu.Work, tmp_path: Path) -> None:
    rows = [row for backend in gpu.BACKENDS for row in gpu.measured(work, tmp_path / "engines", backend)]
    assert [row["backend"] for row in rows] == ["tensorrt-rtx", "onnxruntime"]
    assert "needs an NVIDIA GPU" in rows[0]["note"]
    assert rows[1]["note"] == "ONNX Runtime has no CUDA here: pip install 'etbac[gpu]'"


def test_samples_leave_at_every_exit(work: gpu.Work) -> None:
    with gpu.ExitStack() as stack:
        stages = gpu.stages_of(work.files, stack, on_cpu)
        sizes = [len(answers) for answers in gpu.walk(stages, work.first(10), 0.4)]
    assert sizes == [10, 6, 4, 2, 1]


def test_a_row_of_the_zoo_is_built_segment_by_segment() -> None:
    row = tensorrt_zoo.build_row("ensemble of exits", "fp16")
    assert (row.built, row.refused, row.note) == (5, (), "")
    assert row.megabytes > 0
