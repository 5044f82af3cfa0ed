"""OpenVINO on the CPU: compiles ONNX sources as it loads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from queue import Empty, SimpleQueue
from types import ModuleType
from typing import Any

import numpy as np

from etbac.backends.interface import Availability, BuildOptions, Engine, RunsSources, Tensor
from etbac.backends.onnxruntime_backend import thread_count
from etbac.errors import BackendRefusal, EtbacError, MissingPackageError, UsageError, one_line

INSTALL = "pip install 'etbac[openvino]'"
DTYPES = ("fp32", "fp16", "int8")


class OpenVinoBackend(RunsSources):
    """Backend `openvino`, for the device `cpu`."""

    name = "openvino"

    def available(self) -> Availability:
        found = _installed_version()
        if found is None:
            return Availability(False, None, "cpu", "not installed", INSTALL)
        try:
            devices = _openvino().Core().available_devices
        except EtbacError as error:
            return Availability(False, found, "cpu", str(error), INSTALL)
        except Exception as error:  # whatever a broken library raises
            return Availability(False, found, "cpu", one_line(error), INSTALL)
        if "CPU" not in devices:
            return Availability(False, found, "cpu", "its CPU plugin does not load", INSTALL)
        return Availability(True, found, "cpu", f"devices {', '.join(devices)}", INSTALL)

    def device(self, dtype: str) -> str:
        if dtype not in DTYPES:
            raise UsageError(f"--dtype {dtype}: backend {self.name} has it not; it has {', '.join(DTYPES)}")
        return "cpu"

    def build(self, source: Path, options: BuildOptions, folder: Path) -> Engine:
        _compile(source, options.dtype)
        return Engine(self.name, self.device(options.dtype), options.dtype, source)

    def load(self, engine: Engine) -> OpenVinoRunner:
        return OpenVinoRunner(engine.path.name, _compile(engine.path, engine.dtype))


class OpenVinoRunner:
    """A compiled model; each thread that runs it has an inference request of its own."""

    def __init__(self, name: str, model: Any) -> None:
        self._name = name
        self._model: Any = model
        self._places = {name: place for place, port in enumerate(model.outputs) for name in port.get_names()}
        self._idle: SimpleQueue[Any] = SimpleQueue()

    def run(self, inputs: Mapping[str, Tensor], outputs: tuple[str, ...]) -> Sequence[Tensor]:
        if self._model is None:
            raise EtbacError(f"{self._name} was closed; open the chain again")
        arrays = {name: np.asarray(value) for name, value in inputs.items()}
        with self._request() as request:
            try:
                request.infer(arrays)
            except Exception as error:
                raise EtbacError(f"OpenVINO failed on {self._name}: {one_line(error)}") from error
            return [request.get_output_tensor(self._places[name]).data.copy() for name in outputs]

    def close(self) -> None:
        self._model = None
        self._idle = SimpleQueue()

    def __enter__(self) -> OpenVinoRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _request(self) -> Iterator[Any]:
        try:
            request = self._idle.get_nowait()
        except Empty:
            request = self._model.create_infer_request()
        yield request
        self._idle.put(request)


def _compile(source: Path, dtype: str) -> Any:
    ov = _openvino()
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": thread_count()}
    if dtype == "fp32":
        options["INFERENCE_PRECISION_HINT"] = "f32"  # left to itself it computes in bf16 where the processor can
    try:
        return ov.Core().compile_model(source, "CPU", options)
    except Exception as error:
        raise BackendRefusal(f"OpenVINO cannot compile {source.name}: {one_line(error)}") from error


def _openvino() -> ModuleType:
    try:
        import openvino  # type: ignore[import-untyped]
    except ImportError as error:
        found = _installed_version()
        reason = "is not installed" if found is None else f"{found} cannot be imported ({one_line(error)})"
        raise MissingPackageError(f"backend openvino: the package openvino {reason}. Install it: {INSTALL}") from None
    module: ModuleType = openvino
    return module


def _installed_version() -> str | None:
    try:
        return version("openvino")
    except PackageNotFoundError:
        return None
