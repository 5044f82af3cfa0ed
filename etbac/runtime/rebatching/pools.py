"""Room for samples between two stages: every tensor of a boundary for all slots."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from etbac.backends.interface import Array, Tensor
from etbac.contract import TensorSpec
from etbac.errors import UsageError
from etbac.runtime.rebatching.scheduler import Slots


class Pool:
    """The tensors that a stage reads, with a row for each of `room` slots on their batch axes.

    Made when the first samples come. What is not by sample must be the same for all that come later: other dimensions,
    and tensors without a batch.
    """

    def __init__(self, specs: Sequence[TensorSpec], room: int) -> None:
        self._specs, self._room = tuple(specs), room
        self._making = threading.Lock()
        self.tensors: list[Array] = []

    def put(self, slots: Slots, tensors: Sequence[Tensor], rows: Slots | None = None) -> None:
        """Keep these rows of the tensors (None: all) in these slots. UsageError that names a tensor that differs from
        those that wait."""
        arrays = [np.asarray(tensor) for tensor in tensors]
        with self._making:
            if not self.tensors:
                self.tensors = [self._like(spec, array) for spec, array in zip(self._specs, arrays, strict=True)]
        for spec, kept, array in zip(self._specs, self.tensors, arrays, strict=True):
            if not _fits(spec, kept, array):
                raise UsageError(
                    f"{spec.name} {list(array.shape)} is not like that of the samples before it, {list(kept.shape)}, "
                    "and samples of different sizes or with different values for the whole batch cannot run together; "
                    "pad them to one size, or run them by themselves (chain.run)"
                )
            if spec.batch_axis is not None:
                kept.swapaxes(0, spec.batch_axis)[slots] = (
                    array if rows is None else array.take(rows, spec.batch_axis)
                ).swapaxes(0, spec.batch_axis)

    def take(self, slots: Slots) -> list[Array]:
        """Those slots alone."""
        pairs = zip(self._specs, self.tensors, strict=True)
        return [kept if spec.batch_axis is None else kept.take(slots, spec.batch_axis) for spec, kept in pairs]

    def _like(self, spec: TensorSpec, array: Array) -> Array:
        axis = spec.batch_axis
        return array.copy() if axis is None else np.empty(_with(array.shape, axis, self._room), array.dtype)


def _fits(spec: TensorSpec, kept: Array, array: Array) -> bool:
    axis = spec.batch_axis
    return np.array_equal(kept, array) if axis is None else _with(kept.shape, axis, 0) == _with(array.shape, axis, 0)


def _with(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    """The shape with that many rows."""
    return (*shape[:axis], size, *shape[axis + 1 :])
