"""Checking a batch against the model's inputs, and cutting it along the batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from etbac.backends.interface import Array
from etbac.contract import TensorSpec
from etbac.errors import InputError


@dataclass(frozen=True)
class Batch:
    """Inputs by name, as the model takes them, and how many rows they hold."""

    arrays: Mapping[str, Array]
    rows: int


def check(specs: tuple[TensorSpec, ...], inputs: Mapping[str, Any]) -> Batch:
    """The inputs as a batch; an InputError that names the input, what the model takes and what was found.

    Arrays must have the model's dtype; plain Python numbers and lists are converted. NaN is refused, and so is an
    empty input.
    """
    if not isinstance(inputs, Mapping):
        raise InputError(f"inputs must be a dictionary by name ({_names(specs)}), not {type(inputs).__name__}")
    if inputs.keys() != {spec.name for spec in specs}:
        found = ", ".join(map(str, inputs)) or "nothing"
        raise InputError(f"the model takes the inputs {_names(specs)}; found {found}")
    arrays = {spec.name: _check_one(spec, inputs[spec.name]) for spec in specs}
    return Batch(arrays, _count_rows(specs, arrays))


def split(specs: tuple[TensorSpec, ...], batch: Batch, largest: int) -> Iterator[tuple[int, Batch]]:
    """Parts of at most `largest` rows and the row at which each starts; inputs without a batch go whole into each."""
    if batch.rows <= largest:
        yield 0, batch
        return
    for start in range(0, batch.rows, largest):
        rows = slice(start, min(start + largest, batch.rows))
        arrays = {spec.name: _cut(batch.arrays[spec.name], spec.batch_axis, rows) for spec in specs}
        yield start, Batch(arrays, rows.stop - start)


def _check_one(spec: TensorSpec, value: Any) -> Array:
    array = _as_array(spec, value)
    if array.ndim != len(spec.shape):
        raise InputError(
            f"input {spec.name!r} has the shape {_shape(array.shape)}; the model takes {_shape(spec.shape)}"
            f"{_hint(spec, array)}"
        )
    for found, size in zip(array.shape, spec.shape, strict=True):
        if isinstance(size, int) and found != size:
            raise InputError(
                f"input {spec.name!r} has the shape {_shape(array.shape)}; the model takes {_shape(spec.shape)}"
            )
    if array.size == 0:
        raise InputError(
            f"input {spec.name!r} is empty (shape {_shape(array.shape)}); the model takes {_shape(spec.shape)}"
        )
    if array.dtype.kind == "f" and np.isnan(array.min()):
        raise InputError(f"input {spec.name!r} holds NaN in {_rows_with_nan(spec, array)}; remove or replace them")
    return array


def _as_array(spec: TensorSpec, value: Any) -> Array:
    dtype = np.dtype(spec.dtype)
    if type(value) is np.ndarray and value.dtype == dtype and value.flags.c_contiguous:
        return value
    typed = hasattr(value, "dtype")
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise InputError(f"input {spec.name!r} is no array of {spec.dtype}: {error}") from None
    same = array.dtype.newbyteorder("=") == dtype
    if not same and (typed or not np.can_cast(array.dtype, dtype, "same_kind")):
        raise InputError(
            f"input {spec.name!r} is {array.dtype}; the model takes {spec.dtype}. Convert: .astype({spec.dtype!r})"
        )
    return np.ascontiguousarray(array, dtype) if array.ndim else np.asarray(array, dtype)


def _count_rows(specs: tuple[TensorSpec, ...], arrays: Mapping[str, Array]) -> int:
    counts = {spec.name: int(arrays[spec.name].shape[spec.batch_axis]) for spec in specs if spec.batch_axis is not None}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{name!r} has {rows}" for name, rows in counts.items())
        raise InputError(f"the inputs differ in their number of rows: {found}")
    return next(iter(counts.values()))


def _cut(array: Array, axis: int | None, rows: slice) -> Array:
    if axis is None:
        return array
    return np.ascontiguousarray(array[(slice(None),) * axis + (rows,)])


def _hint(spec: TensorSpec, array: Array) -> str:
    if spec.batch_axis is None or array.ndim != len(spec.shape) - 1:
        return ""
    return f". A single sample needs a batch axis: np.expand_dims(x, {spec.batch_axis})"


def _rows_with_nan(spec: TensorSpec, array: Array) -> str:
    if spec.batch_axis is None:
        return f"{np.isnan(array).sum()} values"
    others = tuple(axis for axis in range(array.ndim) if axis != spec.batch_axis)
    bad = np.flatnonzero(np.isnan(array).any(axis=others))
    return f"{len(bad)} of {array.shape[spec.batch_axis]} rows (the first is row {bad[0]})"


def _names(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(spec.name for spec in specs)


def _shape(shape: tuple[int | str, ...]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


def tile(
    specs: Sequence[TensorSpec], samples: Mapping[str, Array], size: int, length: int | None = None
) -> dict[str, Array]:
    """A batch of `size` rows, the samples over and over; inputs without a batch whole.

    With `length`, every other dynamic dimension of every input has that size, filled or cut in the same way.
    """
    batch = {}
    for spec in specs:
        array = samples[spec.name]
        sizes = {} if spec.batch_axis is None else {spec.batch_axis: size}
        sizes |= {} if length is None else dict.fromkeys(spec.lengths, length)
        for axis, wanted in sizes.items():
            array = np.take(array, np.arange(wanted) % array.shape[axis], axis)
        batch[spec.name] = array
    return batch


def length_of(specs: Sequence[TensorSpec], inputs: Mapping[str, Array]) -> int | None:
    """The size of the dynamic dimensions that are not the batch, the largest of them; None where there is none."""
    return max((inputs[spec.name].shape[axis] for spec in specs for axis in spec.lengths), default=None)
