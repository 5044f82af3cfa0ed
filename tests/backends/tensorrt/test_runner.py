"""What surrounds a run on the GPU, on a pretended one: see `support.pretended_gpu` for what that proves."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.pretended_gpu import Driver, Engine
from support.two_blocks import make_engine_dir, make_inputs, make_weights, reference
from support.walks import run_twice_and_read_the_first, walk, walk_together

from etbac.backends.tensorrt import cuda as driver_module
from etbac.backends.tensorrt import runner as module
from etbac.backends.tensorrt.arrays import DeviceArray
from etbac.backends.tensorrt.cuda import Gpu
from etbac.backends.tensorrt.flavour import RTX, load
from etbac.backends.tensorrt.runner import TensorRtRunner
from etbac.engine_dir import EngineDir
from etbac.errors import EtbacError, InputError
from etbac.runtime.stage import Stage

MAX_BATCH = 8
RECORDING = replace(RTX, name="tensorrt", portable=False)
"""As `tensorrt` does it, with the packages that are here."""


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    load(RTX)
    pretended = Driver()
    monkeypatch.setattr(driver_module.ctypes, "CDLL", lambda name, **_: pretended.library)
    driver_module.cuda.cache_clear()
    driver_module.first_gpu.cache_clear()
    yield pretended
    driver_module.cuda.cache_clear()
    driver_module.first_gpu.cache_clear()


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> EngineDir:
    return make_engine_dir(tmp_path_factory.mktemp("runner") / "engines", max_batch=MAX_BATCH)


@pytest.fixture(params=[RTX, RECORDING], ids=["tensorrt-rtx", "tensorrt"])
def stages(
    request: pytest.FixtureRequest, driver: Driver, chain: EngineDir, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[Stage]]:
    opened = []
    for entry in chain.manifest.segments:
        engine = Engine(driver, chain.path / entry.file, MAX_BATCH)
        monkeypatch.setattr(module, "_deserialize", lambda *_, engine=engine: engine)
        opened.append((entry.contract, TensorRtRunner(request.param, Path(entry.file), graphs=True, own_code=False)))
    yield [Stage(*pair) for pair in opened]
    for _, runner in opened:
        runner.close()
    gc.collect()
    assert driver.live == {}


@pytest.mark.parametrize("rows", [1, 2, 7, MAX_BATCH])
def test_a_chain_answers_as_it_should_and_its_boundary_stays_on_the_device(stages: list[Stage], rows: int) -> None:
    for _ in range(4):  # plain, recorded, replayed
        walk(stages, rows)


def test_sizes_may_change_from_batch_to_batch_and_memory_is_used_again(stages: list[Stage], driver: Driver) -> None:
    for seed, rows in enumerate((3, 8, 1, 5)):
        walk(stages, rows, seed)
    pieces = driver.calls["cuMemAlloc_v2"]
    for seed, rows in enumerate((5, 2, 8, 3, 1, 8)):
        walk(stages, rows, seed + 9)
    assert driver.calls["cuMemAlloc_v2"] == pieces


def test_results_outlive_later_runs(stages: list[Stage]) -> None:
    run_twice_and_read_the_first(stages)


def test_threads_share_the_stream(stages: list[Stage]) -> None:
    walk_together(stages, MAX_BATCH)


def test_only_the_gates_answers_are_copied_unasked(stages: list[Stage], driver: Driver) -> None:
    inputs = make_inputs(4)
    given = stages[0].run([inputs["x"], inputs["scale"]], np.arange(4), 0.5)
    assert driver.calls["cuMemcpyDtoHAsync_v2"] == 2
    given.predictions()
    assert driver.calls["cuMemcpyDtoHAsync_v2"] == 3
    assert isinstance(given.boundary[0], DeviceArray)
    assert (given.boundary[0].shape, given.fields[0].shape) == ((4, 6), (4, 3))


def test_a_shape_is_recorded_once_and_then_replayed(
    driver: Driver, chain: EngineDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(driver, chain.path / chain.manifest.full, MAX_BATCH)
    monkeypatch.setattr(module, "_deserialize", lambda *_: engine)
    with TensorRtRunner(RECORDING, Path("full"), graphs=True, own_code=False) as runner:
        for seed in range(6):
            inputs = make_inputs(3, seed)
            (answer,) = runner.run(inputs, ("prediction",))
            np.testing.assert_allclose(answer, reference(make_weights(), inputs).answers[-1], rtol=1e-5, atol=1e-6)
            del answer
    assert (len(driver.graphs), driver.calls["cuGraphLaunch"]) == (1, 5)


def test_a_boundary_from_another_backend_is_copied_in(stages: list[Stage]) -> None:
    inputs = make_inputs(5)
    given = stages[0].run([inputs["x"], inputs["scale"]], np.arange(5), np.inf)
    on_host = [np.asarray(tensor) for tensor in given.boundary]
    keep = np.array([0, 3])
    found = stages[1].run(on_host, keep, np.inf).predictions()[0]
    np.testing.assert_allclose(found, reference(make_weights(), inputs).answers[1, keep], rtol=1e-5, atol=1e-6)


def test_a_shape_that_was_not_built_for_is_named(stages: list[Stage]) -> None:
    inputs = make_inputs(MAX_BATCH + 1)
    words = r"input 'x' is \[9, 6\]; the engine was built for \[1, 6\] to \[8, 6\]"
    with pytest.raises(InputError, match=words):
        stages[0].run([inputs["x"], inputs["scale"]], np.arange(9), 0.5)


def test_what_the_driver_refuses_is_said(stages: list[Stage], driver: Driver) -> None:
    driver.fails = "cuStreamSynchronize"
    inputs = make_inputs(2)
    with pytest.raises(EtbacError, match="NVIDIA GPU: cuStreamSynchronize failed: out of memory"):
        stages[0].run([inputs["x"], inputs["scale"]], np.arange(2), 0.5)
    driver.fails = ""


def test_the_gpu_is_described(driver: Driver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(driver_module, "DRIVER_VERSION", tmp_path / "absent")
    assert driver_module.first_gpu() == Gpu("Pretended GPU", (8, 9), "CUDA 13.2")
    (tmp_path / "version").write_text("580.65.06\n")
    monkeypatch.setattr(driver_module, "DRIVER_VERSION", tmp_path / "version")
    driver_module.first_gpu.cache_clear()
    found = driver_module.first_gpu()
    assert found is not None
    assert (found.driver, found.device, found.peak_mhz) == ("580.65.06", "cuda-sm89", 2520)


def test_a_driver_without_a_gpu_is_none(driver: Driver) -> None:
    driver.fails = "cuDeviceGet"
    assert driver_module.first_gpu() is None
