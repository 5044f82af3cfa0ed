"""A driver whose device memory is the host's, and engines that ONNX Runtime computes in it.

No test can run an engine of TensorRT without a GPU. What surrounds it can be run: which memory is bound when, what is
copied, what is recorded and replayed. It says nothing about the driver or TensorRT itself.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime

from etbac.backends.interface import BuildOptions
from etbac.backends.tensorrt.flavour import RTX, load
from etbac.backends.tensorrt.shapes import Input, profile_shapes
from etbac.contract import KEEP

OUT_OF_MEMORY = 2


class Driver:
    """`library` stands for libcuda; `live` are the pieces of memory that are not free; `calls` counts calls by name."""

    def __init__(self) -> None:
        self.live: dict[int, Any] = {}
        self.calls: dict[str, int] = {}
        self.recording: list[Callable[[], None]] | None = None
        self.graphs: list[list[Callable[[], None]]] = []
        self.fails = ""
        names = [name for name in dir(self) if name.startswith("cu")]
        self.library = SimpleNamespace(**{name: self._counted(name) for name in names})

    def _counted(self, name: str) -> Callable[..., int]:
        def call(*arguments: Any) -> int:
            self.calls[name] = self.calls.get(name, 0) + 1
            if name == self.fails:
                return OUT_OF_MEMORY
            getattr(self, name)(*arguments)
            return 0

        return call

    def cuInit(self, flags: int) -> None: ...  # noqa: N802

    def cuGetErrorString(self, code: int, text: Any) -> None:  # noqa: N802
        text._obj.value = b"out of memory"

    def cuDeviceGet(self, device: Any, ordinal: int) -> None:  # noqa: N802
        device._obj.value = ordinal

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> None:  # noqa: N802
        name.value = b"Pretended GPU"

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> None:  # noqa: N802
        value._obj.value = {13: 2_520_000, 75: 8, 76: 9}[attribute]

    def cuDriverGetVersion(self, value: Any) -> None:  # noqa: N802
        value._obj.value = 13020

    def cuDevicePrimaryCtxRetain(self, context: Any, device: Any) -> None:  # noqa: N802
        context._obj.value = 1

    def cuCtxSetCurrent(self, context: Any) -> None: ...  # noqa: N802

    def cuStreamCreate(self, stream: Any, flags: int) -> None:  # noqa: N802
        stream._obj.value = 1

    def cuStreamSynchronize(self, stream: Any) -> None:  # noqa: N802
        assert self.recording is None

    def cuMemAlloc_v2(self, address: Any, size: Any) -> None:  # noqa: N802
        piece = ctypes.create_string_buffer(b"\xff" * size.value, size.value)
        address._obj.value = ctypes.addressof(piece)
        self.live[ctypes.addressof(piece)] = piece

    def cuMemFree_v2(self, address: Any) -> None:  # noqa: N802
        del self.live[address.value]

    def cuMemcpyHtoDAsync_v2(self, address: Any, host: Any, size: Any, stream: Any) -> None:  # noqa: N802
        assert size.value <= len(self.live[address.value])
        ctypes.memmove(address.value, host.value, size.value)

    def cuMemcpyDtoHAsync_v2(self, host: Any, address: Any, size: Any, stream: Any) -> None:  # noqa: N802
        assert size.value <= len(self.live[address.value])
        ctypes.memmove(host.value, address.value, size.value)

    def cuStreamBeginCapture_v2(self, stream: Any, mode: int) -> None:  # noqa: N802
        self.recording = []

    def cuStreamEndCapture(self, stream: Any, graph: Any) -> None:  # noqa: N802
        assert self.recording is not None
        self.graphs.append(self.recording)
        self.recording = None
        graph._obj.value = len(self.graphs)

    def cuGraphInstantiateWithFlags(self, made: Any, graph: Any, flags: Any) -> None:  # noqa: N802
        made._obj.value = graph.value

    def cuGraphDestroy(self, graph: Any) -> None: ...  # noqa: N802

    def cuGraphExecDestroy(self, graph: Any) -> None: ...  # noqa: N802

    def cuGraphLaunch(self, graph: Any, stream: Any) -> None:  # noqa: N802
        for step in self.graphs[graph.value - 1]:
            step()


class Engine:
    """As much of TensorRT's ICudaEngine as a runner asks for; `source` is what it computes."""

    def __init__(self, driver: Driver, source: Path, max_batch: int) -> None:
        self.driver = driver
        self.session = onnxruntime.InferenceSession(str(source), providers=["CPUExecutionProvider"])
        graph = onnx.load(source, load_external_data=False).graph
        self.values = {value.name: value.type.tensor_type for value in (*graph.input, *graph.output)}
        self.inputs = [value.name for value in graph.input]
        self.names = list(self.values)
        given = [Input(name, self.dims(name)) for name in self.inputs]
        self.profile = profile_shapes(given, BuildOptions(max_batch=max_batch), source.name)
        self.max_batch = max_batch
        self.num_io_tensors, self.device_memory_size_v2 = len(self.names), 16
        self.trt = load(RTX)

    def dims(self, name: str) -> tuple[int | str, ...]:
        return tuple(dim.dim_param or dim.dim_value for dim in self.values[name].shape.dim)

    def dtype(self, name: str) -> np.dtype[Any]:
        return onnx.helper.tensor_dtype_to_np_dtype(self.values[name].elem_type)

    def get_tensor_name(self, place: int) -> str:
        return self.names[place]

    def get_tensor_mode(self, name: str) -> Any:
        return self.trt.TensorIOMode.INPUT if name in self.inputs else self.trt.TensorIOMode.OUTPUT

    def get_tensor_location(self, name: str) -> Any:
        return self.trt.TensorLocation.DEVICE

    def get_tensor_dtype(self, name: str) -> Any:
        kinds = self.trt.DataType.__members__.values()
        return next(kind for kind in kinds if kind.name != "BF16" and _numpy(self.trt, kind) == self.dtype(name))

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        shapes = self.profile[name]
        return [shapes.smallest, shapes.usual, shapes.largest]

    def create_runtime_config(self) -> SimpleNamespace:
        return SimpleNamespace()

    def create_execution_context(self, config: Any) -> Context:
        return Context(self)


class Context:
    """As much of IExecutionContext."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.places: dict[str, int] = {}

    def set_device_memory(self, address: int, size: int) -> None: ...

    def set_optimization_profile_async(self, profile: int, stream: int) -> None: ...

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> None:
        self.shapes[name] = shape

    def set_tensor_address(self, name: str, address: int) -> None:
        self.places[name] = address

    def get_max_output_size(self, name: str) -> int:
        if len(self.shapes) < len(self.engine.inputs):
            return -1
        return int(np.prod(self._sized(name, self.engine.max_batch))) * self.engine.dtype(name).itemsize

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        batch = KEEP if KEEP in self.shapes else self.engine.inputs[0]
        return self._sized(name, self.shapes[batch][0])

    def execute_async_v3(self, stream: int) -> bool:
        shapes, places = dict(self.shapes), dict(self.places)
        outputs = {name: self.get_tensor_shape(name) for name in self.engine.names if name not in self.engine.inputs}

        def compute() -> None:
            feed = {name: self._at(name, shapes[name], places[name]) for name in self.engine.inputs}
            for name, result in zip(outputs, self.engine.session.run(list(outputs), feed), strict=True):
                self._at(name, outputs[name], places[name])[...] = result

        if self.engine.driver.recording is None:
            compute()
        else:
            self.engine.driver.recording.append(compute)
        return True

    def _sized(self, name: str, batch: int) -> tuple[int, ...]:
        return tuple(batch if isinstance(dim, str) else dim for dim in self.engine.dims(name))

    def _at(self, name: str, shape: tuple[int, ...], address: int) -> Any:
        dtype = self.engine.dtype(name)
        size = int(np.prod(shape)) * dtype.itemsize
        assert size <= len(self.engine.driver.live[address])
        return np.frombuffer((ctypes.c_char * size).from_address(address), dtype).reshape(shape)


def _numpy(trt: Any, kind: Any) -> Any:
    try:
        return np.dtype(trt.nptype(kind))
    except TypeError:
        return None
