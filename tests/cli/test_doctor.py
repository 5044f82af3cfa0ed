from __future__ import annotations

import _ctypes
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import support

from etbac.backends import registry
from etbac.cli.doctor import BACKENDS
from etbac.cli.examine import TRIAL
from etbac.cli.optional import PACKAGES

if sys.version_info >= (3, 11):
    import tomllib

ROOT = Path(__file__).parents[2]
HIDING = Path(support.__path__[0]) / "hidden_packages"
RTX_LIBRARIES = "onnxruntime-ep-nv-tensorrt-rtx-cu13"
MODULES = {
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "polygraphy": "polygraphy",
    "tensorrt-rtx-cu13-bindings": "tensorrt_rtx_bindings",
    RTX_LIBRARIES: "onnxruntime_ep_nv_tensorrt_rtx",
    "torch": "torch",
    "transformers": "transformers",
    "matplotlib": "matplotlib",
}
SLOW = {name: name for name in ("torch", "accelerate", "kornia", "transformers", "onnxscript")}
"""Packages that take seconds to import; hidden where a test is about others."""
BACKEND_OF = {
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "polygraphy": "tensorrt-rtx",
    "tensorrt-rtx-cu13-bindings": "tensorrt-rtx",
    RTX_LIBRARIES: "tensorrt-rtx",
}


def doctor(*folders: Path, as_json: bool = True, hidden: dict[str, str] = SLOW, **variables: str):
    """The program itself, with `folders` in front of everything that it imports."""
    paths = [*map(str, folders), str(HIDING), str(ROOT), os.environ.get("PYTHONPATH", "")]
    variables["HIDDEN_PACKAGES"] = " ".join(f"{name}={module}" for name, module in hidden.items())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **variables}
    command = [sys.executable, "-m", "etbac", "doctor", *(["--json"] if as_json else [])]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return json.loads(done.stdout) if as_json else done.stdout


def package(folder: Path, name: str, code: str | None = None, metadata: str = "Version: 9.9", points: str = "") -> Path:
    """An installed package `name`, whose module holds `code`."""
    information = folder / f"{name.replace('-', '_')}-9.9.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\n{metadata}\n")
    (information / "entry_points.txt").write_text(points)
    if code is not None:
        (folder / f"{name.replace('-', '_')}.py").write_text(code)
    return folder


def test_what_works_here_has_been_tried():
    found = doctor(hidden={}, ETBAC_THREADS="3")
    assert list(found["backends"])[: len(registry.BUILT_IN)] == list(registry.BUILT_IN)
    for name in ("onnxruntime", "openvino", "reference"):
        row = found["backends"][name]
        assert (row["builds"], row["runs"]) == (True, True), row
        assert "fp32" in row["dtypes"]
        assert row["version"]
    assert found["backends"]["onnxruntime"]["dtypes"] == ["fp32", "fp16", "int8"]
    assert found["backends"]["onnxruntime"]["found"].startswith("3 threads")
    assert found["backends"]["tensorrt-rtx"]["builds"]
    for name, row in found["packages"].items():
        assert row["found"] == ("" if row["version"] else "not installed"), name
    assert found["notes"] == []


@pytest.mark.parametrize("missing", MODULES)
def test_a_missing_package_is_met_with_the_line_that_installs_it(missing):
    printed = doctor(as_json=False, hidden={**SLOW, missing: MODULES[missing]})
    for name in (*registry.BUILT_IN, *PACKAGES):
        assert f"│ {name} " in printed
    line = next(line for line in printed.splitlines() if line.startswith(f"│ {missing} ") and "not installed" in line)
    assert PACKAGES[missing].install in line
    if missing in BACKEND_OF:
        row = next(line for line in printed.splitlines() if line.startswith(f"│ {BACKEND_OF[missing]} "))
        assert "│ no " in row
        assert BACKENDS[BACKEND_OF[missing]] in row


def test_packages_that_break_in_every_way_are_told_apart(tmp_path):
    package(tmp_path, "onnxruntime", "raise SystemError('initialization failed')")
    package(tmp_path, "openvino", "raise OSError('libtbb.so.12: cannot open shared object file')")
    package(tmp_path, "polygraphy", "raise RuntimeError('first line\\nsecond line')")
    package(tmp_path, "torch", "import ctypes; ctypes.string_at(0)")
    package(tmp_path, "transformers", "import absent_module")
    package(tmp_path, "matplotlib", "raise SystemExit(0)")
    package(tmp_path, "tensorrt", "__version__ = '8.6.1'")
    found = doctor(tmp_path, hidden={})
    backends, packages = found["backends"], found["packages"]
    assert "SystemError: initialization failed" in packages["onnxruntime"]["found"]
    assert "initialization failed" in backends["onnxruntime"]["found"]
    assert "libtbb.so.12" in packages["openvino"]["found"]
    assert "libtbb.so.12" in backends["openvino"]["found"]
    assert packages["polygraphy"]["found"] == "RuntimeError: first line second line"
    assert "first line second line" in backends["tensorrt-rtx"]["found"]
    assert "Segmentation fault" in packages["torch"]["found"]
    assert "absent_module" in packages["transformers"]["found"]
    assert packages["transformers"]["install"] == "pip install 'etbac[train]'"
    assert packages["matplotlib"]["found"].startswith("SystemExit")
    assert "8.6.1" in backends["tensorrt"]["found"]
    for name in ("onnxruntime", "openvino", "polygraphy", "torch", "matplotlib"):
        assert packages[name]["install"] == f"pip install --force-reinstall {name}"
    for name in ("onnxruntime", "openvino", "tensorrt-rtx", "tensorrt"):
        assert not backends[name]["usable"]
        assert backends[name]["install"] == BACKENDS[name]
    assert backends["reference"]["runs"]


def test_backends_of_other_packages_that_do_not_load(tmp_path):
    points = (
        "[etbac.backends]\nabsent = absent_module:Backend\nnameless = other_backends:Nothing\n"
        "odd = other_backends:Odd\nending = other_backends:Ending\n"
    )
    code = """
import os
class Odd:
    def available(self): return 3
class Ending:
    def available(self): os._exit(5)
"""
    package(tmp_path, "other_backends", code, points=points)
    backends = doctor(tmp_path)["backends"]
    assert "absent_module" in backends["absent"]["found"]
    assert "Nothing" in backends["nameless"]["found"]
    assert "AttributeError" in backends["odd"]["found"]
    assert backends["ending"]["found"] == "exit code 5"
    assert all(backends[name]["install"] for name in ("absent", "nameless", "odd", "ending"))
    assert backends["onnxruntime"]["runs"]


def test_broken_metadata(tmp_path):
    package(tmp_path, "openvino", metadata="")
    package(tmp_path, "matplotlib")
    (tmp_path / "matplotlib-9.9.dist-info" / "METADATA").write_bytes(b"\xff\xfe\x00 nothing that anyone reads")
    package(tmp_path, "someone", points="[etbac.backends\nno entry points at all\n= =\n")
    found = doctor(tmp_path)
    for name in ("openvino", "matplotlib"):
        assert "its metadata" in found["packages"][name]["found"]
        assert found["packages"][name]["install"] == f"pip install --force-reinstall {name}"
    assert found["backends"]["onnxruntime"]["runs"]


def test_two_packages_that_overwrite_one_module_are_said(tmp_path):
    package(tmp_path, "onnxruntime-gpu")
    assert "overwrite one module" in doctor(package(tmp_path, "onnxruntime"))["notes"][0]
    assert "overwrite one module" in doctor(tmp_path, as_json=False)


def test_a_machine_that_only_runs_chains_needs_no_onnx():
    found = doctor(hidden={**SLOW, "onnx": "onnx", "onnx-ir": "onnx_ir"})
    assert found["backends"]["onnxruntime"]["runs"]
    assert not found["backends"]["reference"]["usable"]
    for name in ("onnx", "onnx-ir", "onnxscript"):
        assert found["packages"][name]["install"] == "pip install etbac"


def test_the_graph_that_is_tried_is_valid():
    model = onnx.load_from_string(TRIAL)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Relu"]


def test_a_driver_that_is_no_library(tmp_path):
    (tmp_path / "libcuda.so.1").write_bytes(b"not a library")
    found = doctor(LD_LIBRARY_PATH=str(tmp_path))
    assert re.search("NVIDIA driver does not work.*libcuda.so.1", found["notes"][0])
    assert found["backends"]["onnxruntime"]["runs"]


def test_a_driver_without_its_functions(tmp_path):
    (tmp_path / "libcuda.so.1").symlink_to(_ctypes.__file__)
    found = doctor(LD_LIBRARY_PATH=str(tmp_path))
    assert re.search("NVIDIA driver does not work.*undefined symbol", found["notes"][0])
    assert found["backends"]["tensorrt-rtx"]["builds"]


def test_without_numpy_the_built_in_backends_are_listed(tmp_path):
    (tmp_path / "numpy.py").write_text("raise ImportError('numpy was built for another Python')")
    found = doctor(tmp_path)
    assert list(found["backends"]) == list(BACKENDS)
    assert "another Python" in found["backends"]["onnxruntime"]["found"]
    assert "another Python" in found["notes"][0]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib")
def test_all_packages_of_all_extras_are_listed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {extra: wanted for extra, wanted in project["optional-dependencies"].items() if extra != "dev"}
    wanted = {re.split(r"[\[>=<]", line)[0]: extra for extra, lines in extras.items() for line in lines}
    assert set(wanted) == {name for name, package in PACKAGES.items() if package.extra}
    for name, package in PACKAGES.items():
        lines = extras[package.extra] if package.extra else project["dependencies"]
        assert any(line.startswith(name) for line in lines), name
    assert list(BACKENDS) == list(registry.BUILT_IN)
