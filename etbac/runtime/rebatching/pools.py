"""Room for samples between two stages: every tensor of a boundary for all slots."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from etbac.backends.interface import Array, Tensor
from etbac.contract import TensorSpec
from etbac.runtime.rebatching.scheduler import Slots


class Scratch:
    """Memory that one worker uses again for every batch."""

    def __init__(self) -> None:
        self._kept: dict[object, Array] = {}

    def empty(self, owner: object, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """An array of that shape, whatever is in it; the same owner gets the same memory again."""
        size = math.prod(shape)
        kept = self._kept.get(owner)
        if kept is None or kept.size < size or kept.dtype != dtype:
            kept = self._kept[owner] = np.empty(size, dtype)
        return kept[:size].reshape(shape)


class Pool:
    """The tensors that a stage reads, with a row for each of `room` slots on their batch axes.

    Made when the first samples come. What is not by sample must be the same for all that are in it: other dimensions,
    and tensors without a batch. Rows are copied into memory that is there already; what an engine gives is its
    backend's own (ONNX Runtime allocates every output of a run from its arena).
    """

    def __init__(self, specs: Sequence[TensorSpec], room: int) -> None:
        self._specs, self._room = tuple(specs), room
        self._making = threading.Lock()
        self.tensors: list[Array] = []

    def put(
        self, slots: Slots, tensors: Sequence[Tensor], rows: Slots | None = None, scratch: Scratch | None = None
    ) -> str | None:
        """Keep these rows of the tensors (None: all) in these slots; or say which tensor differs from what is kept, and
        keep none."""
        arrays = [np.asarray(tensor) for tensor in tensors]
        with self._making:
            if not self.tensors:
                self.tensors = like(self._specs, arrays, self._room)
        differing = self.differing(arrays)
        if differing is not None:
            return differing
        for place, (spec, kept, array) in enumerate(zip(self._specs, self.tensors, arrays, strict=True)):
            if spec.batch_axis is not None:
                if rows is not None and len(rows) < array.shape[spec.batch_axis]:
                    array = _take(array, rows, spec.batch_axis, scratch, (self, "put", place))
                kept.swapaxes(0, spec.batch_axis)[slots] = array.swapaxes(0, spec.batch_axis)
        return None

    def take(self, slots: Slots, scratch: Scratch | None = None) -> list[Array]:
        """Those slots alone; in the scratch they stand until the next batch."""
        return [
            kept if spec.batch_axis is None else _take(kept, slots, spec.batch_axis, scratch, (self, "take", place))
            for place, (spec, kept) in enumerate(zip(self._specs, self.tensors, strict=True))
        ]

    def differing(self, arrays: Sequence[Array]) -> str | None:
        """What of these cannot stand beside what is kept, with both sizes; None where all can."""
        return differing(self._specs, self.tensors, arrays)

    def clear(self) -> None:
        """Nobody is in it: the next samples may be of another size."""
        self.tensors = []


def like(specs: Sequence[TensorSpec], arrays: Sequence[Array], rows: int) -> list[Array]:
    """Arrays of these sizes for so many rows, whatever is in them, and copies of what has no batch."""
    return [
        array.copy() if spec.batch_axis is None else np.empty(_with(array.shape, spec.batch_axis, rows), array.dtype)
        for spec, array in zip(specs, arrays, strict=True)
    ]


def join(
    specs: Sequence[TensorSpec], some: Sequence[tuple[Sequence[Array], Slots]], scratch: Scratch
) -> Sequence[Array]:
    """Those rows of several requests' tensors, one request after the other: in the scratch until the next batch, or
    the request's own where there is one."""
    joined = []
    for place, spec in enumerate(specs):
        axis = spec.batch_axis
        if axis is None:
            joined.append(some[0][0][place])
            continue
        parts = [_rows(arrays[place], rows, axis) for arrays, rows in some]
        if len(parts) > 1:
            size = sum(part.shape[axis] for part in parts)
            whole = scratch.empty((join, place), _with(parts[0].shape, axis, size), parts[0].dtype)
            parts = [np.concatenate(parts, axis, out=whole)]
        joined += parts
    return joined


def differing(specs: Sequence[TensorSpec], kept: Sequence[Array], arrays: Sequence[Array]) -> str | None:
    """What of these cannot stand beside what is kept, with both sizes; None where all can, or nothing is kept."""
    for spec, ours, theirs in zip(specs, kept, arrays, strict=False):
        if not _fits(spec, ours, theirs):
            was, found = _shown(spec, ours), _shown(spec, theirs)
            return f"{spec.name} is {found}, and was {was}{' with other values' if was == found else ''}"
    return None


def _rows(array: Array, rows: Slots, axis: int) -> Array:
    return array if array.shape[axis] == 1 else array.take(rows, axis)


def _take(array: Array, rows: Slots, axis: int, scratch: Scratch | None, owner: Any) -> Array:
    """Rows of the array; with `mode="raise"` NumPy would fill a copy first."""
    if scratch is None:
        return array.take(rows, axis)
    return array.take(rows, axis, scratch.empty(owner, _with(array.shape, axis, len(rows)), array.dtype), "clip")


def _fits(spec: TensorSpec, kept: Array, array: Array) -> bool:
    axis = spec.batch_axis
    return np.array_equal(kept, array) if axis is None else _with(kept.shape, axis, 0) == _with(array.shape, axis, 0)


def _shown(spec: TensorSpec, array: Array) -> str:
    sizes = ("rows" if axis == spec.batch_axis else str(size) for axis, size in enumerate(array.shape))
    return f"[{', '.join(sizes)}]"


def _with(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    """The shape with that many rows."""
    return (*shape[:axis], size, *shape[axis + 1 :])
