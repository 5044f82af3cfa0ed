from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from support.two_blocks import CLASSES, make_engine_dir, make_inputs

from etbac.backends import registry
from etbac.backends.interface import BuildOptions, Engine
from etbac.backends.onnxruntime_backend import (
    BoundRunner,
    BoundTensor,
    OnnxRuntimeBackend,
    OnnxRuntimeRunner,
    _create_session,
    thread_pool,
)
from etbac.errors import EtbacError, MissingPackageError, UsageError


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_engine_dir(tmp_path_factory.mktemp("backend") / "engines").path


@pytest.fixture(scope="module")
def first_segment(engines: Path) -> Path:
    return next(engines.glob("segment-00.*.onnx"))


def run_in_a_new_process(code: str, engines: Path, **environment: str) -> str:
    """What `code` prints; it finds the engine directory in `engines` and a batch in `inputs`."""
    prelude = f"""
    import numpy as np
    engines = {str(engines)!r}
    inputs = {{"x": np.ones((2, 6), np.float32), "scale": np.ones(6, np.float32), "unread": np.arange(2)}}
    def plain_session():
        return onnxruntime.InferenceSession({str(next(engines.glob("full.*.onnx")))!r})
    """
    root = str(Path(registry.__file__).parents[2])
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(prelude) + textwrap.dedent(code)],
        env={"PATH": "", "PYTHONPATH": root, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_outputs_come_in_the_order_asked_for(first_segment: Path) -> None:
    inputs = make_inputs(5)
    feed = {"x": inputs["x"], "scale": inputs["scale"], "threshold": np.array(0.5, np.float32)}
    backend = OnnxRuntimeBackend()
    with backend.load(backend.build(first_segment, BuildOptions(), first_segment.parent)) as runner:
        mask, prediction = runner.run(feed, ("exit_mask", "prediction"))
    assert (mask.dtype, mask.shape) == (np.bool_, (5,))
    assert (prediction.dtype, prediction.shape) == (np.float32, (5, CLASSES))


def test_the_portable_source_is_the_engine(first_segment: Path) -> None:
    engine = OnnxRuntimeBackend().build(first_segment, BuildOptions(), first_segment.parent)
    assert engine == Engine("onnxruntime", "cpu", "fp32", first_segment)


def test_a_dtype_that_it_has_not_is_refused(first_segment: Path) -> None:
    with pytest.raises(
        UsageError, match="--dtype bf16: backend onnxruntime has no arithmetic for it; it has fp32, fp16"
    ):
        OnnxRuntimeBackend().build(first_segment, BuildOptions(dtype="bf16"), first_segment.parent)


@pytest.mark.parametrize(
    ("machine", "flags", "bits"),
    [
        ("x86_64", "avx2", "7"),
        ("x86_64", "avx2 avx512_vnni", "8"),
        ("x86_64", "avx_vnni", "8"),
        ("arm64", "", "8"),
    ],
)
def test_int8_weights_have_seven_bits_where_sums_saturate(monkeypatch, machine, flags, bits) -> None:
    monkeypatch.setattr("etbac.backends.onnxruntime_backend.machine", lambda: machine)
    monkeypatch.setattr("etbac.backends.onnxruntime_backend._read", lambda path: f"flags : {flags}")
    backend = OnnxRuntimeBackend()
    assert backend.int8_options().seven_bit_weights is (bits == "7")
    made_for = backend.made_for(BuildOptions(dtype="int8"))
    assert backend.unfit(made_for) is None
    monkeypatch.setattr("etbac.backends.onnxruntime_backend._read", lambda path: "flags : avx2")
    unfit = machine == "x86_64" and bits == "8"
    assert (backend.unfit(made_for) is not None) is unfit


def test_bound_outputs_stay_where_they_are_and_go_into_the_next_run(first_segment: Path) -> None:
    inputs = make_inputs(5)
    feed = {"x": inputs["x"], "scale": inputs["scale"], "threshold": np.array(0.5, np.float32)}
    session = _create_session(first_segment, "cpu")
    names = ("prediction", "confidence", "exit_mask")
    plain = OnnxRuntimeRunner(first_segment, session).run(feed, names)
    with BoundRunner(first_segment, session, "cpu") as runner:
        bound = runner.run(feed, names)
        assert all(isinstance(tensor, BoundTensor) for tensor in bound)
        assert [tensor.shape for tensor in bound] == [tensor.shape for tensor in plain]
        for ours, theirs in zip(bound, plain, strict=True):
            assert np.array_equal(np.asarray(ours), np.asarray(theirs))
        again = runner.run({**feed, "x": BoundTensor(onnxruntime.OrtValue.ortvalue_from_numpy(inputs["x"]))}, names)
    assert np.array_equal(np.asarray(again[0]), np.asarray(plain[0]))


def test_threads_that_load_at_once_share_the_one_pool(engines: Path) -> None:
    code = """
    import threading
    import etbac
    from etbac.backends.onnxruntime_backend import thread_pool
    together, found = threading.Barrier(4), []
    def load():
        together.wait()
        with etbac.load(engines) as chain:
            found.append((thread_pool().shared, chain.run(inputs).exit_id.tolist()))
    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(found)
    """
    assert run_in_a_new_process(code, engines) == str([(True, [0, 0])] * 4)


def test_failures_name_the_file_on_one_line(first_segment: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no model")
    backend = OnnxRuntimeBackend()
    with pytest.raises(EtbacError, match=r"cannot load .*damaged\.onnx") as raised:
        backend.load(Engine("onnxruntime", "cpu", "fp32", damaged))
    assert "\n" not in str(raised.value)
    runner = backend.load(Engine("onnxruntime", "cpu", "fp32", first_segment))
    with runner, pytest.raises(EtbacError, match=f"ONNX Runtime failed on {first_segment.name}"):
        runner.run({"x": np.ones((2, 5), np.float32)}, ("prediction",))


def test_available_looks_and_does_not_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert OnnxRuntimeBackend().available().usable
    monkeypatch.setattr("importlib.metadata.version", _not_found)
    found = OnnxRuntimeBackend().available()
    assert (found.usable, found.version, found.install) == (False, None, "pip install 'etbac[cpu]'")


def test_a_broken_installation_is_told_from_a_missing_one(monkeypatch: pytest.MonkeyPatch, first_segment: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    engine = Engine("onnxruntime", "cpu", "fp32", first_segment)
    with pytest.raises(MissingPackageError, match=r"cannot be imported.*pip install 'etbac\[cpu\]'"):
        OnnxRuntimeBackend().load(engine)
    monkeypatch.setattr("importlib.metadata.version", _not_found)
    with pytest.raises(MissingPackageError, match=r"is not installed.*pip install 'etbac\[cpu\]'"):
        OnnxRuntimeBackend().load(engine)


def test_the_pool_of_a_program_with_its_own_sessions_is_left_alone() -> None:
    assert not thread_pool().shared  # the tests import onnxruntime themselves


def test_all_chains_of_a_process_share_one_pool(engines: Path) -> None:
    code = """
    import etbac
    from etbac.backends.onnxruntime_backend import thread_pool
    with etbac.load(engines) as one, etbac.load(engines) as other:
        assert (one.run(inputs).prediction == other.run(inputs).prediction).all()
    print(thread_pool())
    """
    assert run_in_a_new_process(code, engines, ETBAC_THREADS="1") == "ThreadPool(threads=1, shared=True)"


def test_a_programs_own_sessions_work_before_and_after_a_chain_is_loaded(engines: Path) -> None:
    code = """
    import onnxruntime, etbac
    before = plain_session()
    with etbac.load(engines) as chain:
        expected = chain.run(inputs).prediction
    for session in (before, plain_session()):
        np.testing.assert_allclose(session.run(["prediction"], inputs)[0], expected, rtol=1e-5)
    print("equal")
    """
    assert run_in_a_new_process(code, engines) == "equal"


@pytest.mark.parametrize("threads", ["0", "many", "-1", ""])
def test_a_number_of_threads_that_makes_no_sense_is_refused(engines: Path, threads: str) -> None:
    code = """
    import etbac
    try:
        etbac.load(engines)
    except etbac.errors.UsageError as error:
        print(error)
    """
    expected = f"ETBAC_THREADS={threads}: write a number of threads, 1 or more"
    assert run_in_a_new_process(code, engines, ETBAC_THREADS=threads) == expected


def test_an_unknown_backend_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no backend 'abacus'; there are onnxruntime"):
        registry.get("abacus")


def _not_found(name: str) -> str:
    from importlib.metadata import PackageNotFoundError

    raise PackageNotFoundError(name)
