"""Engines that really run on a GPU: skipped where there is none, or where a backend's packages are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from support.small_network import make_images, make_network
from support.two_blocks import make_engine_dir, make_inputs
from support.walks import run_twice_and_read_the_first, walk, walk_together

import etbac
from etbac.backends import registry
from etbac.backends.interface import Backend, BuildOptions, Runner
from etbac.backends.tensorrt.backend import TensorRt, TensorRtRtx
from etbac.backends.tensorrt.cuda import first_gpu
from etbac.compiler import CompileOptions, EngineOptions, compile_model
from etbac.contract import THRESHOLD
from etbac.engine_dir import EngineDir
from etbac.frontend.torch_export import from_module
from etbac.runtime.stage import Stage

MAX_BATCH = 8
TOLERANCE = {"fp32": 1e-4, "fp16": 0.02, "bf16": 0.1, "int8": 0.2}
BACKENDS = ("tensorrt-rtx", "tensorrt", "onnxruntime")

pytestmark = pytest.mark.skipif(first_gpu() is None, reason="no NVIDIA GPU here")

Opener = Callable[..., list[Runner]]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    found = registry.get(request.param)
    here = found.available()
    if not (here.usable and here.device.startswith("cuda")):
        pytest.skip(f"{request.param} does not run on the GPU here: {here.detail}")
    return found


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opener]:
    """Builds sources and opens them."""
    with ExitStack() as stack:

        def open_all(backend: Backend, sources: Sequence[Path], dtype: str = "fp32") -> list[Runner]:
            options = BuildOptions(dtype=dtype, max_batch=MAX_BATCH)
            engines = [backend.build(source, options, tmp_path / backend.name) for source in sources]
            return [stack.enter_context(backend.load(engine)) for engine in engines]

        yield open_all


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> EngineDir:
    return make_engine_dir(tmp_path_factory.mktemp("gpu") / "engines", max_batch=MAX_BATCH)


@pytest.fixture
def stages(backend: Backend, chain: EngineDir, opened: Opener) -> list[Stage]:
    segments = chain.manifest.segments
    runners = opened(backend, [chain.path / entry.file for entry in segments])
    return [Stage(entry.contract, runner) for entry, runner in zip(segments, runners, strict=True)]


def test_a_chain_answers_as_it_should_at_every_size(stages: list[Stage]) -> None:
    for repeat in range(4):
        for rows in (1, 2, 7, MAX_BATCH, 3):
            walk(stages, rows, seed=10 * repeat + rows)


def test_boundaries_stay_on_the_gpu_and_results_outlive_later_runs(stages: list[Stage]) -> None:
    inputs = make_inputs(4)
    assert not isinstance(stages[0].run([inputs["x"], inputs["scale"]], np.arange(4), 0.5).boundary[0], np.ndarray)
    run_twice_and_read_the_first(stages, atol=1e-5)


def test_threads_share_a_chain(stages: list[Stage]) -> None:
    walk_together(stages, MAX_BATCH)


@pytest.mark.parametrize("flavour", [TensorRtRtx, TensorRt])
def test_without_cuda_graphs_the_answers_are_the_same(flavour, chain: EngineDir, opened: Opener) -> None:
    plain = flavour(graphs=False)
    if not plain.available().usable:
        pytest.skip(plain.available().detail)
    segments = chain.manifest.segments
    runners = opened(plain, [chain.path / entry.file for entry in segments])
    for rows in (3, 3, MAX_BATCH):
        walk([Stage(entry.contract, runner) for entry, runner in zip(segments, runners, strict=True)], rows)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_every_number_format_computes_what_fp32_does(
    backend: Backend, dtype: str, sources_in: dict[str, list[Path]], opened: Opener
) -> None:
    if backend.name == "onnxruntime" and dtype == "bf16":
        pytest.skip("it has no arithmetic for bf16")
    images = make_images(MAX_BATCH, seed=3)
    cpu = registry.get("reference")
    expected = _first_answers(opened(cpu, sources_in["fp32"][:1])[0], images)
    found = _first_answers(opened(backend, sources_in[dtype][:1], dtype)[0], images)
    assert np.abs(found - expected).max() <= TOLERANCE[dtype] * np.abs(expected).max()


def _first_answers(runner: Runner, images: Mapping[str, np.ndarray]) -> np.ndarray:
    (answer,) = runner.run({**images, THRESHOLD: np.array(np.inf, np.float32)}, ("prediction",))
    return np.asarray(answer).astype(np.float32)


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_a_compiled_chain_runs_is_measured_and_rebatched(
    backend: Backend, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    engines, images = EngineOptions(backend=backend.name, dtype=dtype), make_images(40, seed=5)
    options = CompileOptions(max_batch=MAX_BATCH, samples=images, engines=engines)
    exported = from_module(make_network(), make_images(2), {"path": "small", "kind": "module", "sha256": None})
    path = compile_model(exported, tmp_path / "engines", options).engine_dir.path
    measured = etbac.profile(path, budget_s=2, max_batch=MAX_BATCH)
    assert (measured.device, measured.dtype) == (backend.device(dtype), dtype)
    assert measured.machine["gpu"] == getattr(first_gpu(), "name", None)
    with etbac.load(path) as chain:
        assert chain.note is None
        everyone = chain.run_all(images)
        threshold = float(np.median(everyone.confidence[0]))
        found = [chain.run(images, threshold)]
        whole = chain.full(images)
        with etbac.rebatch(chain, thresholds=threshold) as together:
            parts = [{name: array[start : start + 5] for name, array in images.items()} for start in range(0, 40, 5)]
            futures = [together.submit(part) for part in parts]
        found += [future.result(0) for future in futures]
    allowed = TOLERANCE[dtype] * np.abs(everyone.prediction).max()
    assert np.abs(whole - everyone.prediction[-1]).max() <= allowed
    for result, rows in zip(found, [np.arange(40), *np.arange(40).reshape(8, 5)], strict=True):
        places = [everyone.exit_ids.index(exit_id) for exit_id in result.exit_id]
        assert np.abs(result.prediction - everyone.prediction[places, rows]).max() <= allowed
    assert len(set(found[0].exit_id)) > 1
