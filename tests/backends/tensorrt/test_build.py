"""Engines really built, by TensorRT for RTX and without a GPU."""

from __future__ import annotations

import os
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import onnx
import pytest
from support.onnx_text import parse
from support.two_blocks import make_engine_dir

from etbac.backends.interface import BuildOptions, Engine
from etbac.backends.tensorrt.backend import TensorRt, TensorRtRtx
from etbac.backends.tensorrt.build import _parse
from etbac.backends.tensorrt.flavour import RTX
from etbac.backends.tensorrt.tools import tools
from etbac.compiler.compile import Compiled
from etbac.errors import BackendRefusal, EtbacError, UsageError

OPTIONS = BuildOptions(max_batch=8)


def save(graph: str, path: Path) -> Path:
    onnx.save(parse(graph), path)
    return path


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16", "int8"])
def test_every_segment_builds_in_every_number_format(
    backend: TensorRtRtx, sources_in: dict[str, list[Path]], dtype: str, tmp_path: Path
) -> None:
    for source in sources_in[dtype]:
        engine = backend.build(source, BuildOptions(dtype=dtype, max_batch=8), tmp_path)
        assert engine == Engine("tensorrt-rtx", backend.device(dtype), dtype, tmp_path / f"{source.stem}.engine")
        assert engine.path.read_bytes()[:4] == b"vtrt"


def test_the_number_format_is_the_graphs(sources_in: dict[str, list[Path]]) -> None:
    found = tools(RTX)
    for dtype, wanted in (("fp32", "FLOAT"), ("fp16", "HALF"), ("bf16", "BF16"), ("int8", "INT8")):
        with found.quiet():
            _, network, _ = _parse(found, sources_in[dtype][1])
        types = {
            network.get_layer(place).get_output(0).dtype.name
            for place in range(network.num_layers)
            if network.get_layer(place).num_outputs
        }
        assert wanted in types
        assert network.get_flag(found.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def test_the_full_model_builds_with_weights_that_stand_outside(
    backend: TensorRtRtx, compiled: Compiled, tmp_path: Path
) -> None:
    source = compiled.engine_dir.path / compiled.engine_dir.manifest.full
    engine = backend.build(source, OPTIONS, tmp_path)
    assert engine.path.stat().st_size > 10_000


def test_inputs_without_a_batch_build(backend: TensorRtRtx, tmp_path: Path) -> None:
    folder = make_engine_dir(tmp_path / "chain").path
    for source in sorted(folder.glob("*.onnx")):
        assert backend.build(source, OPTIONS, tmp_path / "built").path.exists()
    assert len(list((tmp_path / "built").iterdir())) == 4


def test_a_build_is_silent_and_leaves_nothing_but_a_private_engine(
    backend: TensorRtRtx, sources: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "engines" / "tensorrt-rtx-any-fp32"
    path = backend.build(sources[1], BuildOptions(max_batch=8, timing_cache=tmp_path / "cache"), folder).path
    assert list(folder.iterdir()) == [path]
    assert not (tmp_path / "cache").exists()  # nothing was measured
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert capfd.readouterr() == ("", "")


def test_an_engine_is_whole_or_what_was_there_stays(
    backend: TensorRtRtx, sources: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = backend.build(sources[0], OPTIONS, tmp_path).path.read_bytes()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        backend.build(sources[0], BuildOptions(max_batch=2), tmp_path)
    (left,) = tmp_path.iterdir()
    assert left.read_bytes() == before


def test_threads_build_side_by_side(backend: TensorRtRtx, sources: list[Path], tmp_path: Path) -> None:
    def build(number: int) -> Path:
        return backend.build(sources[number % 3], OPTIONS, tmp_path / str(number)).path

    with ThreadPoolExecutor(4) as pool:
        assert all(path.exists() for path in pool.map(build, range(8)))


REFUSED = "(float[batch, 3, 3] x) => (float[batch] y) { a = Relu(x)  y = Det(a) }"


def test_a_refusal_names_the_file_the_node_and_the_operator(backend: TensorRtRtx, tmp_path: Path) -> None:
    model = parse(REFUSED)
    model.graph.node[1].name = "heads.0.determinant"
    onnx.save(model, tmp_path / "segment-03.onnx")
    with pytest.raises(BackendRefusal) as raised:
        backend.build(tmp_path / "segment-03.onnx", OPTIONS, tmp_path / "engines")
    assert str(raised.value) == (
        f"tensorrt-rtx {backend.available().version} cannot build segment-03.onnx: node 'heads.0.determinant' (Det) "
        "is refused (unsupported node); --fallback runs this segment on ONNX Runtime"
    )
    assert not (tmp_path / "engines").exists()


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (REFUSED, r"node number 1 \(Det\)"),
        ("(float[batch] x) => (float[n] y) { a = Relu(x)  y = Unique(a) }", r"node number 1 \(Unique\)"),
        (
            "(float[batch] x) => (int64[1, n] y) { y = NonZero(x) }",
            r"\(NonZero\) is refused \(NonZero plugin creator version 1 was not found in plugin registry\.\)",
        ),
        (
            "(float[batch, 2] x) => (float[batch, 2] y) { y = elsewhere.Odd(x) }",
            r"\(Odd\) is refused \(Plugin not found, are the plugin name, version, and namespace correct\?\)",
        ),
        (
            "(float[batch, 3] x, int64[2] size) => (float[n, m] y) { y = Expand(x, size) }",
            "its input 'size' is read as a shape",
        ),
    ],
)
def test_what_the_parser_cannot_do_is_refused_with_its_reason(
    backend: TensorRtRtx, tmp_path: Path, graph: str, words: str
) -> None:
    model = parse(graph)
    model.opset_import.add(domain="elsewhere", version=1)
    onnx.save(model, tmp_path / "segment.onnx")
    with pytest.raises(BackendRefusal, match=words) as raised:
        backend.build(tmp_path / "segment.onnx", OPTIONS, tmp_path)
    assert "segment.onnx" in str(raised.value)
    assert "--fallback" in str(raised.value)


def test_what_parses_and_does_not_build_is_refused_with_the_builders_reason(
    backend: TensorRtRtx, tmp_path: Path
) -> None:
    graph = "(float[batch, 4] x, float[batch, other] y) => (float[batch, 4] z) { z = Add(x, y) }"
    options = BuildOptions(max_batch=8, dims={"other": (7, 7, 7)})
    with pytest.raises(BackendRefusal, match=r"cannot build add\.onnx: .*; --fallback") as raised:
        backend.build(save(graph, tmp_path / "add.onnx"), options, tmp_path)
    assert "\n" not in str(raised.value)


def test_a_build_after_a_refusal_has_reasons_of_its_own(
    backend: TensorRtRtx, sources: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(BackendRefusal):
        backend.build(save(REFUSED, tmp_path / "refused.onnx"), OPTIONS, tmp_path)
    backend.build(sources[0], OPTIONS, tmp_path)
    assert tools(RTX).log.errors == []


def test_files_that_cannot_be_read_are_said_in_one_sentence(
    backend: TensorRtRtx, sources_in: dict[str, list[Path]], tmp_path: Path
) -> None:
    junk, alone = tmp_path / "junk.onnx", tmp_path / "alone.onnx"
    junk.write_bytes(b"no model")
    shutil.copy(sources_in["fp32"][0], alone)
    for path, reason in (
        (junk, "Failed to parse the ONNX model"),
        (tmp_path / "absent.onnx", "Input file cannot be found"),
        (alone, "Failed to import initializer: "),
    ):
        with pytest.raises(EtbacError, match=f"cannot read {path}: {reason}") as raised:
            backend.build(path, OPTIONS, tmp_path / "engines")
        assert not isinstance(raised.value, BackendRefusal)
        assert "\n" not in str(raised.value)


def test_a_number_format_that_there_is_not_is_named(backend: TensorRtRtx, sources: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--dtype fp8: backend tensorrt-rtx computes in fp32, fp16, bf16, int8"):
        backend.build(sources[0], BuildOptions(dtype="fp8"), tmp_path)


def test_tensorrt_itself_does_not_build_without_a_gpu(
    sources: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etbac.backends.tensorrt.backend.first_gpu", lambda: None)
    with pytest.raises(EtbacError, match="backend tensorrt: its builder measures on an NVIDIA GPU"):
        TensorRt().build(sources[0], OPTIONS, tmp_path)
