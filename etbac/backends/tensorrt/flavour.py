"""The two flavours: which packages each one needs, how it is loaded, and what is wrong where it cannot be."""

from __future__ import annotations

import ctypes
import functools
import os
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from etbac.errors import MissingPackageError, one_line

if TYPE_CHECKING:
    from etbac.backends.tensorrt.cuda import Gpu

TF32_VARIABLE = "NVIDIA_TF32_OVERRIDE"
RTX_LIBRARIES = ("libcudart.so", "libtensorrt_rtx.so", "libtensorrt_onnxparser_rtx.so")
"""In the order in which they need one another."""
RTX_LIBRARIES_MODULE, RTX_LIBRARIES_PACKAGE = "onnxruntime_ep_nv_tensorrt_rtx", "onnxruntime-ep-nv-tensorrt-rtx-cu13"
MAJOR_VERSIONS = ("10", "11")
"""Of `tensorrt`: networks can be strongly typed, and int64 is a type."""


@dataclass(frozen=True)
class Flavour:
    """`module` is what is imported, `package` what pip calls it, `alias` the name under which Polygraphy imports it.

    `portable`: engines are built without a GPU, for all of them that it runs on; otherwise the builder measures on the
    GPU that is there. It runs on GPUs of the compute capabilities `named` and on all from `lowest` on.
    """

    name: str
    module: str
    package: str
    alias: str
    install: str
    portable: bool
    lowest: tuple[int, int]
    named: tuple[tuple[int, int], ...] = ()

    def refuses(self, gpu: Gpu) -> str | None:
        """Why engines do not run on that GPU; None where they do."""
        if gpu.capability in self.named or gpu.capability >= self.lowest:
            return None
        *others, lowest = (".".join(map(str, each)) for each in (*self.named, self.lowest))
        known = f"{', '.join(others)} and from {lowest} on" if others else f"{lowest} and later"
        found = ".".join(map(str, gpu.capability))
        return f"{gpu.name} has compute capability {found}, and {self.name} runs on {known}"


RTX = Flavour(
    "tensorrt-rtx",
    "tensorrt_rtx_bindings",
    "tensorrt-rtx-cu13-bindings",
    "tensorrt_rtx",
    "pip install 'etbac[tensorrt-rtx]'",
    portable=True,
    lowest=(12, 0),
    named=((8, 0), (8, 6), (8, 9)),
)
FULL = Flavour(
    "tensorrt", "tensorrt", "tensorrt", "tensorrt", "pip install 'etbac[gpu]'", portable=False, lowest=(7, 5)
)


class UnusableError(MissingPackageError):
    """`reason`: what is missing or wrong, without the line that installs it."""

    def __init__(self, flavour: Flavour, reason: str) -> None:
        super().__init__(f"backend {flavour.name}: {reason}. Install it: {flavour.install}")
        self.reason = reason


@functools.cache
def load(flavour: Flavour) -> ModuleType:
    """The flavour's module with its libraries; UnusableError says what is missing or of a wrong version."""
    if flavour is RTX:
        _load_rtx_libraries()
    found = _import(flavour, flavour.module, flavour.package)
    if flavour is FULL and found.__version__.partition(".")[0] not in MAJOR_VERSIONS:
        wanted = " and ".join(MAJOR_VERSIONS)
        raise UnusableError(flavour, f"it works with TensorRT {wanted}, and {found.__version__} is installed")
    return found


def require_polygraphy(flavour: Flavour) -> None:
    """Import Polygraphy's core, which decides nothing about flavours yet."""
    _import(flavour, "polygraphy", "polygraphy")


def installed_version(flavour: Flavour) -> str | None:
    try:
        return version(flavour.package)
    except PackageNotFoundError:
        return None


def _load_rtx_libraries() -> None:
    bindings = installed_version(RTX)
    if bindings is None:
        raise UnusableError(RTX, f"the package {RTX.package} is not installed")
    spec = find_spec(RTX_LIBRARIES_MODULE)
    if spec is None or not spec.submodule_search_locations:
        raise UnusableError(RTX, f"the package {RTX_LIBRARIES_PACKAGE} is not installed")
    os.environ.setdefault(TF32_VARIABLE, "0")  # 1.6 computed fp32 in TF32 although the builder's flag for it was off
    folder = Path(spec.submodule_search_locations[0])
    for name in RTX_LIBRARIES:
        file = max(folder.glob(f"{name}*"), key=lambda path: len(path.name), default=None)  # not a link to it
        if file is None:
            raise UnusableError(RTX, f"{name} is missing from the package {RTX_LIBRARIES_PACKAGE}")
        found = file.name.removeprefix(f"{name}.")
        if name == "libtensorrt_rtx.so" and not f"{bindings}.".startswith(f"{found}."):
            raise UnusableError(RTX, f"{file.name} does not belong to {RTX.package} {bindings}")
        try:
            ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise UnusableError(RTX, f"{file.name} cannot be loaded ({one_line(error)})") from None


def _import(flavour: Flavour, module: str, package: str) -> ModuleType:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name == module:
            raise UnusableError(flavour, f"the package {package} is not installed") from None
        raise UnusableError(flavour, f"the package {package} cannot be imported ({one_line(error)})") from None
    except Exception as error:  # native modules fail in many ways, and looking must not
        raise UnusableError(flavour, f"the package {package} cannot be imported ({one_line(error)})") from None
