"""Running an engine: inputs bound where they are, one stream, CUDA graphs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from etbac.backends.interface import Tensor
from etbac.backends.tensorrt.arrays import Buffers, DeviceArray
from etbac.backends.tensorrt.cuda import Address, cuda, first_gpu
from etbac.backends.tensorrt.flavour import Flavour, load
from etbac.backends.tensorrt.tools import log_of
from etbac.contract import CONFIDENCE, EXIT_MASK
from etbac.errors import EtbacError, InputError

READ_BY_HOST = (CONFIDENCE, EXIT_MASK)
MOST_GRAPHS = 256
DAMAGED = ("Serialization", "readHeader", "empty memory buffer")
"""What TensorRT's errors about a file that is no whole engine have in them."""

Shape = tuple[int, ...]


class TensorRtRunner:
    """An engine on the first GPU. Runs of all engines of a process are in one stream, one thread at a time.

    Results are NumPy arrays where the host reads them in any case, and tensors on the GPU otherwise. `graphs`: replay
    what the second run of a shape recorded; TensorRT for RTX does so by itself.
    """

    def __init__(self, flavour: Flavour, path: Path, graphs: bool, own_code: bool) -> None:
        self._path, self._trt, self._log = path, load(flavour), log_of(flavour)
        self._engine = _deserialize(flavour, path, own_code)
        self._cuda = cuda()
        self._portable, self._graphs_wanted = flavour.portable, graphs
        self._record = graphs and not flavour.portable
        self._contexts: dict[Any, Any] = {}
        self._graphs: dict[Any, int | None] = {}
        names = [self._engine.get_tensor_name(place) for place in range(self._engine.num_io_tensors)]
        given = self._trt.TensorIOMode.INPUT
        self._inputs = [name for name in names if self._engine.get_tensor_mode(name) == given]
        self._outputs = [name for name in names if name not in self._inputs]
        on_host = self._trt.TensorLocation.HOST  # what is read as a shape
        self._sizes = [name for name in self._inputs if self._engine.get_tensor_location(name) == on_host]
        self._dtypes = {name: np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name))) for name in names}
        self._lowest, _, self._highest = (
            {name: tuple(self._engine.get_tensor_profile_shape(name, 0)[place]) for name in self._inputs}
            for place in range(3)
        )
        with self._cuda.lock:
            self._cuda.use()
            self._working = 0 if self._portable else self._cuda.allocate(self._engine.device_memory_size_v2)
            self._staging = {name: Buffers(self._cuda, self._bytes(name)) for name in self._inputs}
            self._results = {name: Buffers(self._cuda, size) for name, size in self._largest_outputs().items()}
            self._places = {name: buffers.take() for name, buffers in self._staging.items()}

    def run(self, inputs: Mapping[str, Tensor], outputs: tuple[str, ...]) -> list[Tensor]:
        if self._engine is None:
            raise EtbacError(f"{self._path.name} was closed; open the chain again")
        with self._cuda.lock:
            self._cuda.use()
            sizes = {name: np.array(inputs[name], self._dtypes[name]) for name in self._sizes}
            bound = {name: self._bind(name, inputs[name]) for name in self._inputs if name not in sizes}
            bound |= {name: (size.shape, size.ctypes.data) for name, size in sizes.items()}
            shapes = (*(shape for shape, _ in bound.values()), *(size.item() for size in sizes.values()))
            context = self._context(shapes if self._record else None)
            for name, (shape, place) in bound.items():
                context.set_input_shape(name, shape)
                context.set_tensor_address(name, place)
            made = {name: self._output(name, tuple(context.get_tensor_shape(name))) for name in self._outputs}
            for name, array in made.items():
                context.set_tensor_address(name, array.address)
            places = [place for name, (_, place) in bound.items() if name not in sizes]
            self._enqueue(context, (shapes, *places, *(array.address for array in made.values())))
            read = {name: np.empty(made[name].shape, made[name].dtype) for name in outputs if name in READ_BY_HOST}
            for name, host in read.items():
                self._cuda.to_host(host, made[name].address)
            if read:
                self._cuda.wait()
        return [read.get(name, made[name]) for name in outputs]

    def close(self) -> None:
        if self._engine is None:
            return
        with self._cuda.lock:
            self._cuda.use()
            self._cuda.wait()
            for graph in filter(None, self._graphs.values()):
                self._cuda.destroy(graph)
            self._graphs.clear()
            self._contexts.clear()
            if self._working:
                self._cuda.free(self._working)
            self._engine = None
            for name, place in self._places.items():
                self._staging[name].give(place)
            for buffers in (*self._staging.values(), *self._results.values()):
                buffers.close()

    def __enter__(self) -> TensorRtRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _bind(self, name: str, given: Tensor) -> tuple[Shape, Address]:
        """The shape to announce, and where the tensor is. A boundary's pool is bound whole, whatever rows it holds."""
        lowest, highest = self._lowest[name], self._highest[name]
        shape = tuple(given.shape) and (max(given.shape[0], lowest[0]), *given.shape[1:])
        fits = len(shape) == len(lowest) and all(
            low <= size <= high for low, size, high in zip(lowest, shape, highest, strict=True)
        )
        if not fits:
            raise InputError(
                f"{self._path.name}: input {name!r} is {list(given.shape)}; "
                f"the engine was built for {list(lowest)} to {list(highest)}"
            )
        if isinstance(given, DeviceArray) and given.dtype == self._dtypes[name]:
            return shape, given.address
        self._cuda.to_device(self._places[name], np.asarray(given, self._dtypes[name], order="C"))
        return shape, self._places[name]

    def _enqueue(self, context: Any, key: Any) -> None:
        """Plain at first, since TensorRT sets itself up then; recorded the second time; replayed from then on."""
        if not self._record or (key not in self._graphs and len(self._graphs) >= MOST_GRAPHS):
            self._execute(context)
        elif key not in self._graphs:
            self._execute(context)
            self._graphs[key] = None
        else:
            graph = self._graphs[key] or self._recorded(context)
            self._graphs[key] = graph
            self._cuda.launch(graph)

    def _recorded(self, context: Any) -> int:
        self._cuda.begin_capture()
        try:
            self._execute(context)
        finally:
            graph = self._cuda.end_capture()
        return graph

    def _execute(self, context: Any) -> None:
        if not context.execute_async_v3(self._cuda.stream):
            raise EtbacError(f"TensorRT failed on {self._path.name}: {self._log.reason()}")

    def _context(self, shapes: Any) -> Any:
        """One for each set of shapes that is recorded: a graph is bound to the context that it was recorded from."""
        if shapes not in self._contexts:
            self._contexts[shapes] = self._new_context()
        return self._contexts[shapes]

    def _new_context(self) -> Any:
        """Contexts of `tensorrt` share one working memory: they run one after the other."""
        if self._portable:
            config = self._engine.create_runtime_config()
            strategies = self._trt.CudaGraphStrategy
            config.cuda_graph_strategy = strategies.WHOLE_GRAPH_CAPTURE if self._graphs_wanted else strategies.DISABLED
            return self._engine.create_execution_context(config)
        context = self._engine.create_execution_context(self._trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        context.set_device_memory(self._working, self._engine.device_memory_size_v2)
        context.set_optimization_profile_async(0, self._cuda.stream)
        return context

    def _bytes(self, name: str) -> int:
        return int(math.prod(self._highest[name]) * self._dtypes[name].itemsize)

    def _largest_outputs(self) -> dict[str, int]:
        """Bytes of every output at the largest inputs; TensorRT knows them once it has been told these."""
        context, sizes = self._context(None), {}
        for name in self._inputs:
            context.set_input_shape(name, self._highest[name])
        for name in self._sizes:
            most = self._engine.get_tensor_profile_values(0, name)[2]
            sizes[name] = np.array(most, self._dtypes[name])
            context.set_tensor_address(name, sizes[name].ctypes.data)
        found = {name: int(context.get_max_output_size(name)) for name in self._outputs}
        unknown = next((name for name, size in found.items() if size < 0), None)
        if unknown is not None:
            raise EtbacError(f"{self._path.name}: TensorRT does not say how large output {unknown!r} can become")
        return found

    def _output(self, name: str, shape: Shape) -> DeviceArray:
        buffers = self._results[name]
        return DeviceArray(self._cuda, buffers, buffers.take(), shape, self._dtypes[name])


def _deserialize(flavour: Flavour, path: Path, own_code: bool) -> Any:
    trt, log = load(flavour), log_of(flavour)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EtbacError(f"{path} cannot be read ({error.strerror})") from None
    with log.open():
        runtime = trt.Runtime(log.logger)
        if own_code:
            runtime.engine_host_code_allowed = True
        engine = runtime.deserialize_cuda_engine(content)
        if engine is not None:
            return engine
        if any(word in error for error in log.errors for word in DAMAGED):
            raise EtbacError(f"{path} is no whole engine of {flavour.name} {trt.__version__}; compile again")
        gpu = first_gpu()
        if gpu is None:
            raise EtbacError(f"backend {flavour.name}: running {path.name} needs an NVIDIA GPU, and there is none here")
        if refused := flavour.refuses(gpu):
            raise EtbacError(f"{path.name} cannot run here: {refused}")
        raise EtbacError(f"{flavour.name} {trt.__version__} cannot open {path}: {log.reason()}")
