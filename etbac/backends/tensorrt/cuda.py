"""The NVIDIA driver by ctypes: which GPU there is, memory, one stream.

The driver's own library is wherever a GPU works; the CUDA runtime is a different file in each flavour's packages.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etbac.errors import EtbacError

LIBRARY = "libcuda.so.1"
DRIVER_VERSION = Path("/sys/module/nvidia/version")
_MAJOR, _MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_…"""
_CLOCK = 13
"""CU_DEVICE_ATTRIBUTE_CLOCK_RATE, its peak in kHz"""
_NON_BLOCKING = 1
_CAPTURE_THREAD_LOCAL = 1

Address = int


@dataclass(frozen=True)
class Gpu:
    """The first GPU that CUDA_VISIBLE_DEVICES leaves to this process."""

    name: str
    capability: tuple[int, int]
    driver: str
    peak_mhz: int = field(default=0, compare=False)

    @property
    def device(self) -> str:
        return f"cuda-sm{self.capability[0]}{self.capability[1]}"


class Cuda:
    """The first GPU's primary context, which TensorRT uses too, and one stream in which all work is ordered.

    `lock` is held by whoever puts work into the stream or waits for it: nothing else may touch a stream that records.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._library = ctypes.CDLL(LIBRARY)
        self._library.cuGetErrorString.argtypes = [ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)]
        self.call("cuInit", 0)
        self._device, self._context = ctypes.c_int(), ctypes.c_void_p()
        self.call("cuDeviceGet", ctypes.byref(self._device), 0)

    def call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(code, ctypes.byref(text))
            raise EtbacError(f"NVIDIA GPU: {name} failed: {(text.value or b'').decode() or f'error {code}'}")

    def describe(self) -> Gpu:
        name, major, minor, clock, version = ctypes.create_string_buffer(256), *(ctypes.c_int() for _ in range(4))
        self.call("cuDeviceGetName", name, len(name), self._device)
        self.call("cuDeviceGetAttribute", ctypes.byref(major), _MAJOR, self._device)
        self.call("cuDeviceGetAttribute", ctypes.byref(minor), _MINOR, self._device)
        self.call("cuDeviceGetAttribute", ctypes.byref(clock), _CLOCK, self._device)
        self.call("cuDriverGetVersion", ctypes.byref(version))
        cuda = f"CUDA {version.value // 1000}.{version.value % 1000 // 10}"
        driver = DRIVER_VERSION.read_text().strip() if DRIVER_VERSION.exists() else cuda
        return Gpu(name.value.decode(), (major.value, minor.value), driver, clock.value // 1000)

    def use(self) -> None:
        """Make the context this thread's; every thread must, before anything else."""
        if not self._context:
            self.call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), self._device)
        self.call("cuCtxSetCurrent", self._context)

    @functools.cached_property
    def stream(self) -> int:
        made = ctypes.c_void_p()
        self.call("cuStreamCreate", ctypes.byref(made), _NON_BLOCKING)
        return made.value or 0

    def allocate(self, size: int) -> Address:
        made = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(made), ctypes.c_size_t(max(size, 1)))
        return made.value

    def free(self, address: Address) -> None:
        self.use()
        self.call("cuMemFree_v2", ctypes.c_uint64(address))

    def to_device(self, address: Address, array: Any) -> None:
        self.call("cuMemcpyHtoDAsync_v2", ctypes.c_uint64(address), *_place(array), ctypes.c_void_p(self.stream))

    def to_host(self, array: Any, address: Address) -> None:
        """Into `array`, which is whole after the next `wait`."""
        host, size = _place(array)
        self.call("cuMemcpyDtoHAsync_v2", host, ctypes.c_uint64(address), size, ctypes.c_void_p(self.stream))

    def wait(self) -> None:
        self.call("cuStreamSynchronize", ctypes.c_void_p(self.stream))

    def begin_capture(self) -> None:
        self.call("cuStreamBeginCapture_v2", ctypes.c_void_p(self.stream), _CAPTURE_THREAD_LOCAL)

    def end_capture(self) -> int:
        """An executable graph of what was put into the stream since `begin_capture`."""
        graph, made = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("cuStreamEndCapture", ctypes.c_void_p(self.stream), ctypes.byref(graph))
        self.call("cuGraphInstantiateWithFlags", ctypes.byref(made), graph, ctypes.c_ulonglong(0))
        self.call("cuGraphDestroy", graph)
        return made.value or 0

    def launch(self, graph: int) -> None:
        self.call("cuGraphLaunch", ctypes.c_void_p(graph), ctypes.c_void_p(self.stream))

    def destroy(self, graph: int) -> None:
        self.use()
        self.call("cuGraphExecDestroy", ctypes.c_void_p(graph))


@functools.cache
def cuda() -> Cuda:
    """This process's; an EtbacError where there is no NVIDIA GPU or driver."""
    try:
        return Cuda()
    except (OSError, AttributeError) as error:
        raise EtbacError(f"there is no NVIDIA GPU here ({error})") from None


@functools.cache
def first_gpu() -> Gpu | None:
    try:
        return cuda().describe()
    except (EtbacError, OSError, ValueError):
        return None


def _place(array: Any) -> tuple[ctypes.c_void_p, ctypes.c_size_t]:
    return ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)
