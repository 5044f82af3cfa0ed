"""Lists of engines that somebody without the key has written, and those of other versions: none is believed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.two_blocks import exit_model_file

import etbac
from etbac.compiler import Compiled, CompileOptions, EngineOptions, compile_model
from etbac.engine_dir import EngineDir, EngineSet, Writer, sealed
from etbac.errors import EngineDirError, EtbacError, UsageError
from etbac.frontend.load import LoadOptions, load_model
from etbac.runtime.chain import load

OFFLINE = EngineOptions(offline=True)
FOLDER = "engines/onnxruntime-cpu-fp32"


@pytest.fixture(autouse=True)
def own_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[..., Compiled]:
    model = exit_model_file(tmp_path / "model.onnx")

    def again(engines: EngineOptions = OFFLINE, **options) -> Compiled:
        found = load_model(model, LoadOptions())
        return compile_model(found, tmp_path / "engines", CompileOptions(engines=engines, **options))

    return again


def put(engine_dir: EngineDir, **files: str) -> None:
    """Write a manifest with other hashes of files, consistent as only its owner's hand or a forger's makes it."""
    manifest = replace(engine_dir.manifest, files={**engine_dir.manifest.files, **files})
    (engine_dir.path / "manifest.json").write_bytes(sealed.seal(manifest.to_json()))


def put_set(engine_dir: EngineDir, engines: EngineSet, beside: bool = False) -> None:
    """Put a list in force as a compile would, whoever signed it; `beside` the one that is there, or in its place."""
    with Writer(engine_dir.path) as writer:
        for name in engine_dir.manifest.files:
            if beside or name not in engine_dir.engine_sets():
                writer.keep(name)
        writer.commit(replace(engine_dir.manifest, engines=writer.add_set(engines), files={}))


def swap(engine_dir: EngineDir) -> str:
    """Put another engine's bytes where one was, with a manifest that fits; returns its name."""
    (engines,) = engine_dir.engine_sets().values()
    name, other = engines.segments[0].engine, engines.segments[1].engine
    (engine_dir.path / name).write_bytes((engine_dir.path / other).read_bytes())
    put(engine_dir, **{name: engine_dir.manifest.files[other]})
    return name


def test_a_manifest_made_to_fit_another_engine_is_not_believed(compiled):
    made = compiled().engine_dir
    name = swap(made)
    with pytest.raises(EngineDirError, match=f"{name} is not the one that .* lists. Rebuild with: etbac compile"):
        load(made.path)
    with pytest.raises(EngineDirError, match="is not the one that"):
        load(made.path, trust=True)


def test_a_compile_takes_over_no_engine_that_was_swapped(compiled):
    swap(compiled().engine_dir)
    again = compiled()
    assert [built.miss for built in again.built] == ["not built before"] * 4
    with load(again.engine_dir.path) as chain:
        chain.warm([1, 2])


def as_source(engines: EngineSet) -> EngineSet:
    """The same, with the engines called sources, which need no signature."""
    segments = tuple(replace(entry, source=entry.engine) for entry in engines.segments)
    return replace(engines, segments=segments, full=replace(engines.full, source=engines.full.engine), hmac=None)


def test_engines_that_are_called_sources_need_a_signature_all_the_same(compiled):
    made = compiled().engine_dir
    (engines,) = made.engine_sets().values()
    put_set(made, as_source(engines))
    with load(made.path) as chain:
        assert "not built with your key" in str(chain.note)
    assert [built.miss for built in compiled().built] == ["not built here"] * 4


def test_a_source_is_no_engine_of_a_backend_that_runs_none(compiled, monkeypatch):
    monkeypatch.setattr("etbac.backends.tensorrt.backend.TensorRtBackend.unfit", lambda self, made_for: None)
    made = compiled(EngineOptions(backend="openvino")).engine_dir
    (engines,) = made.engine_sets().values()
    first, *others = engines.segments
    put_set(made, replace(engines, segments=(replace(first, backend="tensorrt-rtx"), *others)))
    with pytest.raises(EngineDirError, match=r"segment-00\.\w+\.onnx is no engine of tensorrt-rtx"):
        load(made.path)


@pytest.mark.parametrize("name", ["../model.onnx", "/model.onnx", "segment-00.00000000.onnx"])
def test_a_file_that_the_manifest_does_not_list_is_no_engine(compiled, name):
    made = compiled(EngineOptions(backend="openvino")).engine_dir
    (engines,) = made.engine_sets().values()
    for changed in (
        replace(engines, full=replace(engines.full, engine=name, source=name)),
        replace(engines, segments=(replace(engines.segments[0], engine=name, source=name), *engines.segments[1:])),
    ):
        put_set(made, changed)
        with pytest.raises(EngineDirError, match="is not the one that"):
            load(made.path)
        made = compiled(EngineOptions(backend="openvino")).engine_dir


def test_a_list_of_another_version_is_named_and_its_engines_are_built_again(compiled):
    made = compiled().engine_dir
    name = made.manifest.engines
    data = {**json.loads((made.path / name).read_text()), "schema": 7}
    with Writer(made.path) as writer:
        for file in made.manifest.files:
            writer.keep(file)
        newer = writer.add(f"{FOLDER}/engines", ".json", json.dumps(data).encode())
        writer.commit(replace(made.manifest, engines=newer, files={}))
    with pytest.raises(EngineDirError, match=r"has schema version 7; this etbac reads version 1. Rebuild with: etbac"):
        load(made.path)
    assert [built.miss for built in compiled().built] == ["not built before"] * 4


def test_engines_of_a_backend_that_is_not_there_leave_the_portable_sources(compiled):
    made = compiled().engine_dir
    (engines,) = made.engine_sets().values()
    first, *others = engines.segments
    put_set(made, replace(engines, segments=(replace(first, backend="somebodys"), *others)))
    with load(made.path) as chain:
        assert "(there is no backend 'somebodys'; there are onnxruntime, " in str(chain.note)


@pytest.mark.parametrize("content", [b"", b"short"])
def test_a_key_that_is_not_whole_signs_nothing(compiled, tmp_path, content):
    made = compiled().engine_dir
    (tmp_path / "state" / "etbac" / "key").write_bytes(content)
    with load(made.path) as chain:
        assert "not built with your key" in str(chain.note)
    with pytest.raises(EtbacError, match="key is not a whole, private key of yours"):
        compiled()


def test_of_several_devices_sets_the_one_that_can_be_used_here_is(compiled, monkeypatch):
    made = compiled(EngineOptions(backend="openvino")).engine_dir
    (engines,) = made.engine_sets().values()
    other = replace(engines, device="gpu", segments=tuple(replace(e, made_for={"gpu": "x"}) for e in engines.segments))
    put_set(made, other, beside=True)
    with load(made.path) as chain:
        assert (chain.device, chain.note) == ("cpu", None)  # where it runs, not what the set in force is called
    unfit = "etbac.backends.openvino_backend.OpenVinoBackend.unfit"
    monkeypatch.setattr(unfit, lambda self, made_for: "made for x" if made_for else None)
    for backend in (None, "openvino"):
        with load(made.path, backend=backend) as chain:
            assert (chain.backend, chain.note) == ("openvino", None)


def test_engines_for_smaller_batches_than_the_chains_are_not_used(compiled, monkeypatch):
    compiled(EngineOptions(backend="tensorrt-rtx"), max_batch=4)
    made = compiled(EngineOptions(), max_batch=8).engine_dir
    assert len(made.engine_sets()) == 1
    monkeypatch.setattr("etbac.backends.tensorrt.backend.TensorRtBackend.unfit", lambda self, made_for: None)
    with pytest.raises(EtbacError, match="built for batches of up to 4, and this chain runs up to 8"):
        load(made.path, backend="tensorrt-rtx")


def test_python_builds_what_the_command_line_does(tmp_path):
    made = etbac.compile(exit_model_file(tmp_path / "model.onnx"), tmp_path / "engines", offline=True)
    (engines,) = made.engine_sets().values()
    assert engines.is_code
    with pytest.raises(UsageError, match="--dim length: there is no such dynamic dimension"):
        etbac.compile(tmp_path / "model.onnx", tmp_path / "engines", dims={"length": (1, 2, 4)})
