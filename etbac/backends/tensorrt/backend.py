"""Backends `tensorrt-rtx` and `tensorrt`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from etbac.backends.interface import MAX_BATCH, Availability, BuildOptions, Engine, Int8Options
from etbac.backends.tensorrt.build import RECIPE
from etbac.backends.tensorrt.cuda import Gpu, first_gpu
from etbac.backends.tensorrt.flavour import (
    FULL,
    RTX,
    Flavour,
    UnusableError,
    installed_version,
    load,
    require_polygraphy,
)
from etbac.errors import EtbacError, UsageError

if TYPE_CHECKING:
    from etbac.backends.tensorrt.runner import TensorRtRunner

DTYPES = ("fp32", "fp16", "bf16", "int8")
ANY = "any"
COMPATIBLE_VARIABLE = "ETBAC_TENSORRT_COMPATIBLE"
COMPATIBLE = ("version", "hardware")
"""Engines of `tensorrt` that newer versions, or other GPUs from compute capability 8.0 on, take too, and are slower."""
AMPERE = (8, 0)


class TensorRtBackend:
    """What both flavours do. `graphs`: CUDA graphs when engines run."""

    flavour: Flavour
    name: str
    runs_sources = False

    def __init__(self, graphs: bool = True) -> None:
        self._graphs = graphs

    def available(self) -> Availability:
        flavour, gpu = self.flavour, self._gpu()
        device = gpu.device if gpu else ANY
        try:
            version = load(flavour).__version__
            require_polygraphy(flavour)
        except UnusableError as error:
            return Availability(False, installed_version(flavour), device, error.reason, flavour.install)
        if gpu is not None:
            return Availability(True, version, device, f"{gpu.name}, driver {gpu.driver}", flavour.install)
        other = first_gpu()
        refused = other and flavour.refuses(other)
        if flavour.portable:
            detail = f"builds engines; {refused or 'running them needs an NVIDIA GPU'}"
            return Availability(True, version, device, detail, flavour.install)
        detail = refused or "building and running engines needs an NVIDIA GPU"
        return Availability(False, version, device, detail, flavour.install)

    def device(self, dtype: str) -> str:
        if dtype not in DTYPES:
            raise UsageError(f"--dtype {dtype}: backend {self.name} computes in {', '.join(DTYPES)}")
        gpu = self._gpu()
        return gpu.device if gpu else ANY

    def int8_options(self) -> Int8Options:
        return Int8Options(symmetric=True)

    def made_for(self, options: BuildOptions) -> Mapping[str, str]:
        gpu = None if self.flavour.portable else self._gpu()
        return {
            "builder": f"{self.name} {load(self.flavour).__version__}",
            "recipe": RECIPE,
            "device": gpu.device if gpu else ANY,
            "gpu": gpu.name if gpu else ANY,
            "driver": gpu.driver if gpu else ANY,
            "compatible": "portable" if self.flavour.portable else "+".join(sorted(_compatible())) or "none",
            "dtype": options.dtype,
            MAX_BATCH: str(options.max_batch),
            "dims": " ".join(
                f"{name}={low}:{usual}:{high}" for name, (low, usual, high) in sorted(options.dims.items())
            ),
        }

    def unfit(self, made_for: Mapping[str, str]) -> str | None:
        found = self.made_for(BuildOptions())
        gpu = first_gpu()
        compatible = made_for.get("compatible", "").split("+")
        if not _version_fits(made_for.get("builder", ""), found["builder"], "version" in compatible):
            return f"made by {made_for.get('builder') or 'an unknown builder'}, here is {found['builder']}"
        if gpu is None:
            return "no NVIDIA GPU here"
        refused = self.flavour.refuses(gpu)
        if refused:
            return refused
        if self.flavour.portable or ("hardware" in compatible and gpu.capability >= AMPERE):
            return None
        different = next((name for name in ("device", "gpu") if made_for.get(name) != found[name]), None)
        return different and f"made for {made_for.get(different) or 'an unknown GPU'}, here is {found[different]}"

    def build(self, source: Path, options: BuildOptions, folder: Path) -> Engine:
        from etbac.backends.tensorrt.build import build_engine
        from etbac.backends.tensorrt.tools import tools

        device = self.device(options.dtype)
        if device == ANY and not self.flavour.portable:
            raise EtbacError(
                f"backend {self.name}: its builder measures on an NVIDIA GPU, and there is none here that it runs on; "
                f"{RTX.name} builds without one"
            )
        path = build_engine(tools(self.flavour), source, options, folder, _compatible())
        return Engine(self.name, device, options.dtype, path)

    def _gpu(self) -> Gpu | None:
        """The GPU here, if engines run on it."""
        gpu = first_gpu()
        return gpu if gpu is not None and self.flavour.refuses(gpu) is None else None

    def load(self, engine: Engine) -> TensorRtRunner:
        from etbac.backends.tensorrt.runner import TensorRtRunner

        return TensorRtRunner(self.flavour, engine.path, self._graphs, own_code="version" in _compatible())


class TensorRtRtx(TensorRtBackend):
    """TensorRT for RTX: engines are built anywhere and finished on the GPU that runs them."""

    flavour, name = RTX, RTX.name


class TensorRt(TensorRtBackend):
    """TensorRT 10 and 11: engines are built by measuring on the GPU that will run them."""

    flavour, name = FULL, FULL.name


def _compatible() -> frozenset[str]:
    text = os.environ.get(COMPATIBLE_VARIABLE, "")
    words = frozenset(word.strip() for word in text.split(",") if word.strip())
    if words - set(COMPATIBLE):
        raise UsageError(f"{COMPATIBLE_VARIABLE}={text}: write {', '.join(COMPATIBLE)} or both, with a comma between")
    return words


def _version_fits(made: str, found: str, newer_too: bool) -> bool:
    """Engines belong to one version; one that was built to be compatible, to newer ones of its major version too."""
    if made == found or not newer_too:
        return made == found
    (made_name, _, made_version), (name, _, version) = made.partition(" "), found.partition(" ")
    old, new = _numbers(made_version), _numbers(version)
    return made_name == name and old[:1] == new[:1] and old <= new


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
