"""What is said about this machine, about packages that are missing or broken, and about engines from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from etbac.backends import registry
from etbac.backends.interface import BuildOptions, Engine
from etbac.backends.tensorrt import backend as module
from etbac.backends.tensorrt import flavour
from etbac.backends.tensorrt.backend import TensorRt, TensorRtRtx
from etbac.backends.tensorrt.cuda import Gpu, first_gpu
from etbac.backends.tensorrt.tools import tools
from etbac.errors import EtbacError, MissingPackageError, UsageError

ROOT = Path(registry.__file__).parents[2]
INSTALL = "pip install 'etbac[tensorrt-rtx]'"
ADA = Gpu("NVIDIA RTX 4090", (8, 9), "580.65")
OTHER_ADA = Gpu("NVIDIA L4", (8, 9), "580.65")
HOPPER = Gpu("NVIDIA H100", (9, 0), "580.65")
AMPERE = Gpu("NVIDIA RTX A6000", (8, 6), "580.65")
BLACKWELL = Gpu("NVIDIA RTX 5090", (12, 0), "580.65")
TURING = Gpu("NVIDIA T4", (7, 5), "580.65")


def put_in(monkeypatch: pytest.MonkeyPatch, gpu: Gpu | None) -> None:
    """No test can put a GPU into a machine."""
    monkeypatch.setattr(module, "first_gpu", lambda: gpu)


@pytest.fixture(autouse=True)
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    put_in(monkeypatch, None)


@pytest.fixture
def looked_at_anew() -> Iterator[None]:
    flavour.load.cache_clear()
    tools.cache_clear()
    yield
    flavour.load.cache_clear()
    tools.cache_clear()


@pytest.fixture
def full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looked_at_anew: None) -> TensorRt:
    """Backend `tensorrt` with a package of that name, which is not among the tests' own."""
    package(tmp_path, "tensorrt", '__version__ = "10.9.0.34"')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    return TensorRt()


def package(folder: Path, name: str, code: str = "", files: tuple[str, ...] = ()) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(code)
    for file in files:
        (folder / name / file).write_text("no library")


def libraries() -> Path:
    """The real ones' folder."""
    spec = flavour.find_spec(flavour.RTX_LIBRARIES_MODULE)
    assert spec is not None
    return Path((spec.submodule_search_locations or [""])[0])


def run(code: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={"PATH": "", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


# -- what is here --


def test_it_builds_here_and_says_that_running_needs_a_gpu() -> None:
    found = TensorRtRtx().available()
    assert (found.usable, found.device, found.install) == (True, "any", INSTALL)
    assert found.detail == "builds engines; running them needs an NVIDIA GPU"
    assert TensorRtRtx().unfit(TensorRtRtx().made_for(BuildOptions())) == "no NVIDIA GPU here"


def test_with_a_gpu_its_name_driver_and_capability_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    put_in(monkeypatch, ADA)
    found = TensorRtRtx().available()
    assert (found.usable, found.device, found.detail) == (True, "cuda-sm89", "NVIDIA RTX 4090, driver 580.65")
    assert TensorRtRtx().device("fp16") == "cuda-sm89"


def test_a_package_that_is_not_installed_is_said_with_the_line_that_installs_it(
    looked_at_anew: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = TensorRt().available()
    assert not found.usable
    assert found.version is None
    assert (found.detail, found.install) == ("the package tensorrt is not installed", "pip install 'etbac[gpu]'")


@pytest.mark.parametrize(
    ("blocked", "said"),
    [
        ("tensorrt_rtx_bindings", "the package tensorrt-rtx-cu13-bindings is not installed"),
        ("onnxruntime_ep_nv_tensorrt_rtx", "the package onnxruntime-ep-nv-tensorrt-rtx-cu13 is not installed"),
        ("polygraphy", "the package polygraphy is not installed"),
    ],
)
def test_every_package_is_missed_by_name(
    blocked: str, said: str, tmp_path: Path, looked_at_anew: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, blocked, None)
    found = TensorRtRtx().available()
    assert (found.usable, found.install) == (False, INSTALL)
    assert found.detail == said
    with pytest.raises(MissingPackageError, match=f"backend tensorrt-rtx: {said}. Install it: {re.escape(INSTALL)}"):
        TensorRtRtx().build(Path("any.onnx"), BuildOptions(), tmp_path)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ((), "libcudart.so is missing from the package onnxruntime-ep-nv-tensorrt-rtx-cu13"),
        (("libcudart.so.13",), r"libcudart.so.13 cannot be loaded \(.*libcudart.so.13: .*\)"),
    ],
)
def test_libraries_that_are_missing_or_broken_are_said(
    files: tuple[str, ...], said: str, tmp_path: Path, looked_at_anew: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path, flavour.RTX_LIBRARIES_MODULE, files=files)
    monkeypatch.syspath_prepend(tmp_path)
    found = TensorRtRtx().available()
    assert not found.usable
    assert re.search(said, found.detail)


def test_libraries_of_another_version_are_told_from_the_bindings(
    tmp_path: Path, looked_at_anew: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cudart,) = libraries().glob("libcudart.so*")
    package(tmp_path, flavour.RTX_LIBRARIES_MODULE, files=("libtensorrt_rtx.so.1.6.0",))
    (tmp_path / flavour.RTX_LIBRARIES_MODULE / cudart.name).symlink_to(cudart)
    monkeypatch.syspath_prepend(tmp_path)
    detail = TensorRtRtx().available().detail
    assert "libtensorrt_rtx.so.1.6.0 does not belong to tensorrt-rtx-cu13-bindings 1.7" in detail


def test_links_to_the_libraries_do_no_harm(
    tmp_path: Path, looked_at_anew: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package makes them itself when it is imported."""
    real = libraries()
    package(tmp_path, flavour.RTX_LIBRARIES_MODULE)
    for name in flavour.RTX_LIBRARIES:
        file = max(real.glob(f"{name}*"), key=lambda path: len(path.name))
        for link in (name, f"{name}.1", file.name):
            (tmp_path / flavour.RTX_LIBRARIES_MODULE / link).symlink_to(file)
    monkeypatch.syspath_prepend(tmp_path)
    assert TensorRtRtx().available().usable


@pytest.mark.parametrize("name", ["tensorrt_rtx_bindings", "polygraphy"])
@pytest.mark.parametrize("failure", ["raise RuntimeError('two\\nlines')", "import no_such_module", "1 / 0"])
def test_a_package_that_fails_while_it_is_imported_is_told_from_a_missing_one(
    name: str, failure: str, tmp_path: Path, looked_at_anew: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for loaded in [each for each in sys.modules if each == name or each.startswith(f"{name}.")]:
        monkeypatch.delitem(sys.modules, loaded)
    package(tmp_path, name, failure)
    monkeypatch.syspath_prepend(tmp_path)
    found = TensorRtRtx().available()
    assert not found.usable
    assert "cannot be imported (" in found.detail
    assert "\n" not in found.detail


def test_metadata_without_a_package_is_no_installation(looked_at_anew: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import PackageNotFoundError

    def not_found(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(flavour, "version", not_found)
    found = TensorRtRtx().available()
    assert (found.usable, found.version) == (False, None)
    assert "tensorrt-rtx-cu13-bindings is not installed" in found.detail


def test_tensorrt_of_another_major_version_is_refused(
    tmp_path: Path, looked_at_anew: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path, "tensorrt", '__version__ = "8.6.1"')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    assert "works with TensorRT 10 and 11, and 8.6.1 is installed" in TensorRt().available().detail
    sys.modules.pop("tensorrt")


def test_tensorrt_itself_is_of_no_use_without_a_gpu(full: TensorRt, monkeypatch: pytest.MonkeyPatch) -> None:
    found = full.available()
    assert (found.usable, found.version) == (False, "10.9.0.34")
    assert found.detail == "building and running engines needs an NVIDIA GPU"
    put_in(monkeypatch, HOPPER)
    assert full.available().usable


def test_names_and_asking_for_a_backend_import_nothing_heavy() -> None:
    code = """
    import sys
    from etbac.backends import registry
    registry.names(), registry.get("tensorrt-rtx"), registry.get("tensorrt")
    print([name for name in sys.modules if "rtx_bindings" in name or name.partition(".")[0] in ("polygraphy", "onnx")])
    """
    assert run(code) == "[]"


def test_one_process_builds_with_one_flavour_and_says_so() -> None:
    code = """
    from pathlib import Path
    import polygraphy.backend.trt
    from etbac.backends import registry
    from etbac.backends.interface import BuildOptions
    from etbac.errors import EtbacError
    backend = registry.get("tensorrt-rtx")
    assert backend.available().usable
    try:
        backend.build(Path("any.onnx"), BuildOptions(), Path("engines"))
    except EtbacError as error:
        print(error)
    """
    said = run(code)
    assert said.startswith("backend tensorrt-rtx: Polygraphy serves one flavour of TensorRT in a process")
    assert said.endswith("build this one in another process")


# -- engines from elsewhere --


def test_a_portable_engine_runs_on_every_gpu_that_nvidia_names(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = TensorRtRtx()
    made = backend.made_for(BuildOptions(dtype="fp16"))
    for gpu in (ADA, AMPERE, BLACKWELL):
        put_in(monkeypatch, gpu)
        assert backend.unfit(made) is None
        assert backend.made_for(BuildOptions(dtype="fp16")) == made


@pytest.mark.parametrize(("gpu", "capability"), [(TURING, "7.5"), (HOPPER, "9.0")])
def test_a_gpu_that_it_does_not_run_on_is_as_good_as_none(
    monkeypatch: pytest.MonkeyPatch, gpu: Gpu, capability: str
) -> None:
    backend = TensorRtRtx()
    made = backend.made_for(BuildOptions())
    put_in(monkeypatch, gpu)
    reason = f"{gpu.name} has compute capability {capability}, and tensorrt-rtx runs on 8.0, 8.6, 8.9 and from 12.0 on"
    assert backend.unfit(made) == reason
    found = backend.available()
    assert (found.usable, found.device, found.detail) == (True, "any", f"builds engines; {reason}")
    assert backend.device("fp16") == "any"


def test_fp32_is_not_computed_in_tf32_unless_the_user_wants_it(
    looked_at_anew: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(flavour.TF32_VARIABLE, raising=False)
    flavour.load(flavour.RTX)
    assert os.environ[flavour.TF32_VARIABLE] == "0"
    flavour.load.cache_clear()
    monkeypatch.setenv(flavour.TF32_VARIABLE, "1")
    flavour.load(flavour.RTX)
    assert os.environ[flavour.TF32_VARIABLE] == "1"


def test_an_engine_of_another_version_is_unfit_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = TensorRtRtx()
    made = {**backend.made_for(BuildOptions()), "builder": "tensorrt-rtx 1.6.0.10"}
    assert (
        backend.unfit(made) == f"made by tensorrt-rtx 1.6.0.10, here is {backend.made_for(BuildOptions())['builder']}"
    )
    assert str(backend.unfit({})).startswith("made by an unknown builder")


def test_an_engine_of_tensorrt_belongs_to_one_kind_of_gpu(full: TensorRt, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in(monkeypatch, ADA)
    made = full.made_for(BuildOptions())
    assert full.unfit(made) is None
    put_in(monkeypatch, HOPPER)
    assert full.unfit(made) == "made for cuda-sm89, here is cuda-sm90"
    put_in(monkeypatch, OTHER_ADA)
    assert full.unfit(made) == "made for NVIDIA RTX 4090, here is NVIDIA L4"
    put_in(monkeypatch, None)
    assert full.unfit(made) == "no NVIDIA GPU here"


def test_a_new_driver_rebuilds_and_does_not_forbid(full: TensorRt, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in(monkeypatch, ADA)
    made = full.made_for(BuildOptions())
    put_in(monkeypatch, Gpu(ADA.name, ADA.capability, "590.10"))
    assert full.made_for(BuildOptions()) != made
    assert full.unfit(made) is None


def test_compatible_engines_fit_other_gpus_and_newer_versions(full: TensorRt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETBAC_TENSORRT_COMPATIBLE", "version, hardware")
    put_in(monkeypatch, ADA)
    made = full.made_for(BuildOptions())
    assert made["compatible"] == "hardware+version"
    put_in(monkeypatch, HOPPER)
    assert full.unfit(made) is None
    assert full.unfit({**made, "builder": "tensorrt 10.3.0.1"}) is None
    assert full.unfit({**made, "builder": "tensorrt 10.10.0.1"}) is not None
    assert full.unfit({**made, "builder": "tensorrt 9.3.0.1"}) is not None
    put_in(monkeypatch, TURING)
    assert full.unfit(made) == "made for cuda-sm89, here is cuda-sm75"


def test_an_unknown_word_of_compatibility_is_refused(full: TensorRt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETBAC_TENSORRT_COMPATIBLE", "hardwear")
    with pytest.raises(UsageError, match="ETBAC_TENSORRT_COMPATIBLE=hardwear: write version, hardware"):
        full.made_for(BuildOptions())


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        (BuildOptions(dtype="fp16"), "dtype"),
        (BuildOptions(max_batch=7), "max_batch"),
        (BuildOptions(dims={"length": (1, 64, 128)}), "dims"),
    ],
)
def test_each_option_is_a_field(options: BuildOptions, changed: str) -> None:
    before, after = TensorRtRtx().made_for(BuildOptions()), TensorRtRtx().made_for(options)
    assert [name for name in before if before[name] != after[name]] == [changed]
    assert all(isinstance(value, str) and len(value) < 60 for value in after.values())


def test_the_gpu_and_its_driver_are_fields_of_tensorrt(full: TensorRt, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in(monkeypatch, ADA)
    made = full.made_for(BuildOptions())
    assert (made["builder"], made["device"], made["gpu"], made["driver"], made["compatible"]) == (
        "tensorrt 10.9.0.34",
        "cuda-sm89",
        "NVIDIA RTX 4090",
        "580.65",
        "none",
    )


# -- opening --


@pytest.mark.skipif(first_gpu() is not None, reason="there is an NVIDIA GPU here")
def test_a_whole_engine_needs_a_gpu_and_says_so(sources: list[Path], tmp_path: Path) -> None:
    engine = TensorRtRtx().build(sources[0], BuildOptions(max_batch=8), tmp_path)
    with pytest.raises(EtbacError) as raised:
        TensorRtRtx().load(engine)
    assert str(raised.value) == (
        f"backend tensorrt-rtx: running {engine.path.name} needs an NVIDIA GPU, and there is none here"
    )


@pytest.mark.parametrize("left", [0, 3, 64, 1000, -1])
def test_an_engine_that_was_cut_off_is_refused(sources: list[Path], tmp_path: Path, left: int) -> None:
    engine = TensorRtRtx().build(sources[0], BuildOptions(max_batch=8), tmp_path)
    engine.path.write_bytes(engine.path.read_bytes()[:left])
    with pytest.raises(EtbacError, match=f"{engine.path} is no whole engine of tensorrt-rtx .*; compile again"):
        TensorRtRtx().load(engine)


def test_a_missing_engine_is_named(tmp_path: Path) -> None:
    with pytest.raises(EtbacError, match=r"gone\.engine cannot be read \(No such file or directory\)"):
        TensorRtRtx().load(Engine("tensorrt-rtx", "any", "fp32", tmp_path / "gone.engine"))
