"""docs/format.md: its reader gives the chain's answers, and its tables name every field of the files and no other."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.even_profile import write_even_profile
from support.pixels import pixel_data, pixel_engines
from support.small_network import make_images, make_network
from support.two_blocks import exit_model_file, make_inputs, make_weights, reference

import etbac
from etbac.compiler import CompileOptions, EngineOptions, compile_model
from etbac.engine_dir import EngineDir, sealed
from etbac.errors import EtbacError
from etbac.frontend.torch_export import from_module
from etbac.passes.gates import registry
from etbac.planner.plan import plan
from etbac.preprocessing import AudioPreprocessing, ImagePreprocessing, TextPreprocessing

DOCUMENT = (Path(__file__).parents[1] / "docs" / "format.md").read_text()
PICTURES = ImagePreprocessing("image", 8, 8, 1, 1 / 255, (0.5,), (0.25,)).to_json()
IMPORTED = {"hashlib", "json", "math", "re", "pathlib", "numpy", "onnxruntime"}
RTX = "engines/tensorrt-rtx-any-fp32"


@pytest.fixture(scope="module")
def reader() -> Any:
    """The document's own Python."""
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.S)
    assert set(re.findall(r"^(?:import|from) (\w+)", code, re.M)) == IMPORTED
    names: dict[str, Any] = {}
    exec(compile(code, "docs/format.md", "exec"), names)
    return names["Reader"]


@pytest.fixture(scope="module")
def dense(tmp_path_factory) -> Path:
    """From an ONNX file with an input without rows; certified, and profiled."""
    folder = tmp_path_factory.mktemp("dense")
    engines = etbac.compile(exit_model_file(folder / "model.onnx"), folder / "engines", max_batch=8).path
    inputs = make_inputs(4_000, seed=1)
    labels = reference(make_weights(), inputs).answers[-1].argmax(-1)
    np.savez(folder / "data.npz", **inputs, labels=np.where(np.arange(4_000) % 10, labels, (labels + 1) % 3))
    write_even_profile(engines)
    assert plan(engines, 0.95, data=folder / "data.npz").thresholds
    return engines


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """From a module that takes pictures, with four sets of engines; int8 is profiled beside fp32."""
    folder = tmp_path_factory.mktemp("pictures")
    model = from_module(make_network(), make_images(2), {"path": "Trunk", "kind": "module", "sha256": None})
    model.preprocessing = PICTURES
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        for engines in (
            EngineOptions("tensorrt-rtx"),
            EngineOptions(offline=True),
            EngineOptions(dtype="fp16", keep_fp32="1"),
            EngineOptions(dtype="int8", calibration=make_images(64)),
        ):
            compile_model(model.copy(), folder / "engines", CompileOptions(engines=engines, max_batch=4))
        etbac.profile(folder / "engines", batch_sizes=[1, 2], budget_s=0.05)
    return folder / "engines"


def assert_same(found: Iterator[Any], chain: Any, inputs: Mapping[str, Any], thresholds: Any, atol: float) -> None:
    """The reader's rows against `chain.run`: where each left, how sure, with which prediction."""
    expected = chain.run(inputs, thresholds=thresholds)
    seen = []
    for rows, answers, exit_id, confidence in found:
        (prediction,) = answers.values()
        assert (expected.exit_id[rows] == exit_id).all()
        np.testing.assert_allclose(confidence, expected.confidence[rows], rtol=0, atol=atol)
        np.testing.assert_allclose(prediction, expected.prediction[rows], rtol=0, atol=atol)
        seen += rows.tolist()
    assert sorted(seen) == list(range(len(expected.exit_id)))


@pytest.mark.parametrize("thresholds", [None, {}, {3: 0.9, 7: 0.6}, {7: 0.5}, {3: -1.0}, {3: 0.95, 7: -1.0}])
@pytest.mark.parametrize("rows", [1, 8, 37])
def test_the_reader_gives_the_chains_answers(reader, dense, rows, thresholds):
    inputs = make_inputs(rows, seed=2)
    with etbac.load(dense) as chain:
        assert_same(reader(dense).run(inputs, thresholds), chain, inputs, thresholds, 1e-5)


def test_rows_leave_at_every_exit_in_these_tests(reader, dense):
    left = [
        exit_id for rows, _, exit_id, _ in reader(dense).run(make_inputs(37, seed=2), {3: 0.9, 7: 0.6}) if len(rows)
    ]
    assert set(left) == {3, 7, 0}


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "int8"])
def test_the_reader_runs_every_number_format_of_onnx_runtime(reader, pictures, dtype):
    sets = {
        engines.dtype: name for name, engines in EngineDir.open(pictures).engine_sets().items() if not engines.is_code
    }
    found = reader(pictures, sets.get(dtype))
    inputs = make_images(11, seed=3)
    with etbac.load(pictures, "onnxruntime", dtype) as chain:
        thresholds = {1: float(np.median(chain.run_all(inputs).confidence[0]))}
        assert_same(found.run(inputs, thresholds), chain, inputs, thresholds, 1e-5)


def test_the_reader_runs_where_there_is_no_etbac(reader, dense, tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.S)
    rest = "import sys\nchain = Reader(sys.argv[1])\nwith np.load(chain.check(chain.manifest['samples'])) as samples:\n"
    rest += "    print(sum(len(rows) for rows, *_ in chain.run(dict(samples))), 'etbac' in sys.modules)\n"
    (tmp_path / "reader.py").write_text(code + rest)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, tmp_path / "reader.py", dense]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=tmp_path)
    assert done.stdout.split() == ["16", "False"]


@pytest.mark.parametrize("stem", ["segment-01", "weights", "samples", "plans/onnxruntime-cpu-fp32", "manifest.json"])
def test_the_reader_refuses_what_etbac_refuses(reader, dense, tmp_path, stem):
    copy = copied(dense, tmp_path)
    (file,) = [path for path in copy.rglob("*") if path.relative_to(copy).as_posix().startswith(stem)]
    file.write_bytes(file.read_bytes()[:-1] + b" ")
    refused_by_both(reader, copy)


@pytest.mark.parametrize("changes", [{"schema": 2}, {"files": {"../manifest.json": "0" * 64}}])
def test_the_reader_refuses_another_format_and_strange_names(reader, dense, tmp_path, changes):
    copy = copied(dense, tmp_path)
    manifest = sealed.parse((copy / "manifest.json").read_bytes(), copy)
    del manifest["sha256"]
    (copy / "manifest.json").write_bytes(sealed.seal({**manifest, **changes}))
    refused_by_both(reader, copy)


@pytest.mark.parametrize("folder", [RTX, "engines/onnxruntime-cpu-fp32"])
def test_the_reader_refuses_code(reader, pictures, folder):
    (name,) = [name for name in EngineDir.open(pictures).engine_sets() if name.startswith(folder)]
    with pytest.raises(ValueError, match="holds code"):
        reader(pictures, name)


def test_a_signature_is_what_the_document_says(pictures):
    (name,) = [name for name in EngineDir.open(pictures).engine_sets() if name.startswith(RTX)]
    listed = json.loads((pictures / name).read_bytes())
    text = json.dumps({**listed, "hmac": None}, sort_keys=True).encode()
    key = (pictures.parent / "state" / "etbac" / "key").read_bytes()
    assert hmac.new(key, text, hashlib.sha256).hexdigest() == listed["hmac"]
    assert len(key) == 32


def copied(engines: Path, folder: Path) -> Path:
    return Path(shutil.copytree(engines, folder / "copy"))


def refused_by_both(reader: Any, copy: Path) -> None:
    with pytest.raises(ValueError, match=r"changed|format"):
        reader(copy)
    with pytest.raises(EtbacError):
        EngineDir.open(copy)


# What stands for keys that are data, by the path of the object that has them.
KEYS = {
    "files": "<name>",
    "segments[].predictions": "<field>",
    "predictions": "<field>",
    "thresholds": "<exit id>",
    "certificate.sequence[].thresholds": "<exit id>",
    "estimate.sequence[].thresholds": "<exit id>",
    "padding": "<exit id>",
    "padding.<exit id>": "<rows>",
    "predicted": "<batch>",
    "search.exits": "<exit id>",
    "search.shares": "<exit id>",
    "search.static_cut.predicted": "<batch>",
    "search.front[].thresholds": "<exit id>",
    "readings": "<set hash>",
}
OBJECTS = {"gate", "preprocessing", "made_for", "contract"}
"""Described in tables of their own."""
TENSOR = {"name", "dtype", "shape", "batch_axis"}


def paths(value: Any, path: str = "") -> Iterator[str]:
    """The path of every field that holds no further ones, as the document writes it."""
    name = path.removesuffix("[]").rpartition(".")[2]
    if isinstance(value, list):
        yield from (found for item in value for found in paths(item, f"{path}[]"))
        if not value:
            yield f"{path}[]"
    elif isinstance(value, dict) and name not in OBJECTS and value.keys() != TENSOR:
        for key, item in value.items():
            key = KEYS.get(path, key)
            yield from paths(item, f"{path}.{key}" if path else key)
    else:
        yield path


def documented(section: str) -> set[str]:
    """The first column of a section's tables of fields."""
    (text,) = re.findall(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", DOCUMENT, re.S | re.M)
    tables = re.findall(r"^\| field.*?(?=\n\n|\Z)", text, re.S | re.M)
    return {name for table in tables for name in re.findall(r"^\| `([^`]+)`", table, re.M)}


def read(engines: Path, pattern: str) -> list[Any]:
    return [json.loads(file.read_bytes()) for file in sorted(engines.glob(pattern))]


def test_the_manifests_fields(dense, pictures):
    manifests = read(dense, "manifest.json") + read(pictures, "manifest.json")
    assert {path for each in manifests for path in paths(each)} == documented("manifest.json")
    assert set(manifests[0]["inputs"][0]) == set(re.findall(r"\w+", " ".join(documented("Tensor"))))


def test_the_fields_of_readings(dense):
    assert {path for each in read(dense, "readings.json") for path in paths(each)} == documented("readings.json")


def test_the_fields_of_plans(dense, tmp_path):
    (made,) = read(dense, "plans/*.json")
    plan(pixel_engines(tmp_path), 0.95, data=pixel_data(tmp_path / "data.npz"), metric="miou")
    (shown,) = read(tmp_path / "engines", "plans/*.json")
    cut = made["search"]["static_cut"]
    assert cut is None
    other = {
        **made,
        "padding": {"3": {"5": 8}},
        "search": {"static_cut": {"exit_id": 3, "precision": 1.0, "predicted": {"1": 1.0}}},
    }
    found = {*paths(made), *paths(other), *paths(shown)}
    assert found == documented("Plans")


def test_the_fields_of_sets(pictures):
    sets = read(pictures, "engines/*/engines.*.json")
    assert len(sets) == 4
    for each in sets:
        assert set(each["full"]) == set(each["segments"][0]) - {"contract"}
        assert set(each["segments"][0]["contract"]) == set(read(pictures, "manifest.json")[0]["segments"][0]) - {"file"}
    table = documented("Sets of engines")
    found = {path for each in sets for path in paths({**each, "full": None})}
    made_for = {key for each in sets for entry in (*each["segments"], each["full"]) for key in entry["made_for"]}
    assert found <= table
    assert made_for <= table
    assert table == found | made_for


def test_the_fields_of_profiles(pictures, dense):
    profiles = read(pictures, "profiles/*.json") + read(dense, "profiles/*.json")
    timing = documented("Timing")
    assert set(profiles[0]["engines"][0]["timings"][0]) == timing
    found = {
        path.removesuffix("samples[]") + "samples" if path.endswith("samples[]") else path
        for each in profiles
        for path in paths(each)
    }
    found -= {"beside[]", "beside[].steady_ms[]"}
    of_timings = {f"{row}[].timings[].{name}" for row in ("engines", "beside", "pieces") for name in timing}
    of_chain = {f"chain[].{name}" for name in timing}
    assert of_timings | of_chain <= found
    short = {"engines[].timings[]", "beside[].timings[]", "pieces[].timings[]", "chain[]"}
    assert found - of_timings - of_chain | short | {"beside[].steady_ms[]"} == documented("Profiles")


def test_the_options_of_gates_and_the_fields_of_preprocessing():
    gates = {field.name for name in registry.BUILT_IN for field in fields(registry.get(name))}
    assert {"name", *gates} == documented("Gates")
    assert all(f"`{name}`:" in DOCUMENT for name in registry.BUILT_IN)
    kinds = (PICTURES, TextPreprocessing("{}", 8).to_json(), AudioPreprocessing("wave", 16_000, 16_000).to_json())
    assert {path for each in kinds for path in paths(each)} == documented("Preprocessing")
