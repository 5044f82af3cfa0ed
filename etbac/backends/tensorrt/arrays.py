"""Tensors that stay on the GPU."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from etbac.backends.interface import Array
from etbac.backends.tensorrt.cuda import Address, Cuda


class Buffers:
    """Equal pieces of device memory for one output, large enough for every shape, used again and again.

    A piece that was given back may be overwritten while what read it last is still in the stream: it comes later there.
    """

    def __init__(self, cuda: Cuda, size: int) -> None:
        self._cuda, self._size = cuda, size
        self._free: list[Address] = []
        self._closed = False

    def take(self) -> Address:
        try:
            return self._free.pop()
        except IndexError:
            return self._cuda.allocate(self._size)

    def give(self, address: Address) -> None:
        """Called by whichever thread drops the last reference, so without a lock."""
        if self._closed:
            self._cuda.free(address)
        else:
            self._free.append(address)

    def close(self) -> None:
        self._closed = True
        while self._free:
            self._cuda.free(self._free.pop())


class DeviceArray:
    """An output that the next engine reads where it is; NumPy copies it to the host when asked (`np.asarray`)."""

    def __init__(self, cuda: Cuda, buffers: Buffers, address: Address, shape: tuple[int, ...], dtype: Any) -> None:
        self._cuda = cuda
        self.address, self.shape, self.dtype = address, shape, np.dtype(dtype)
        weakref.finalize(self, buffers.give, address).atexit = False

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("a tensor on the GPU cannot be read without a copy")
        host = np.empty(self.shape, self.dtype)
        with self._cuda.lock:
            self._cuda.use()
            self._cuda.to_host(host, self.address)
            self._cuda.wait()
        return host if dtype is None else host.astype(dtype)

    def __getitem__(self, rows: Any) -> Any:
        return np.asarray(self)[rows]
