"""The one optimisation profile: smallest, usual and largest shape of every input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from etbac.backends.interface import BuildOptions
from etbac.contract import KEEP
from etbac.errors import BackendRefusal, UsageError

BATCH, POOL = "batch", "slots"
"""What the splitter calls the batch, and the rows of the boundary tensors that a segment is given."""

Range = tuple[int, int, int]


@dataclass(frozen=True)
class Input:
    """An input of a parsed network; `dims` has an int for a fixed dimension and a name for a dynamic one."""

    name: str
    dims: tuple[int | str, ...]
    is_shape: bool = False


@dataclass(frozen=True)
class Shapes:
    """Of an input that is read as a shape: its values, not its own shape."""

    smallest: tuple[int, ...]
    usual: tuple[int, ...]
    largest: tuple[int, ...]


def read_inputs(network: Any) -> list[Input]:
    return [_read(network.get_input(place)) for place in range(network.num_inputs)]


def profile_shapes(inputs: Sequence[Input], options: BuildOptions, file: str) -> Mapping[str, Shapes]:
    """The batch is 1 … max_batch, most often max_batch. A later segment, which has `keep`, takes as many of the rows
    of its boundary tensors, which are whole pools of max_batch rows.

    Raises UsageError that names a dimension without a range, BackendRefusal for an input that is read as a shape,
    unless it is one number and `options.dims` has a range of that name.
    """
    for name, sizes in options.dims.items():
        if not 1 <= sizes[0] <= sizes[1] <= sizes[2]:
            written = ", ".join(map(str, sizes))
            raise UsageError(f"dimension {name!r}: {written} is not a smallest, a usual and a largest size from 1 on")
    is_later = any(each.name == KEEP for each in inputs)
    return {each.name: _shapes(each, options, is_later, file) for each in inputs}


def _shapes(given: Input, options: BuildOptions, is_later: bool, file: str) -> Shapes:
    if given.is_shape:
        return _values(given, options, file)
    ranges = [_range(given, axis, options, is_later, file) for axis in range(len(given.dims))]
    smallest, usual, largest = zip(*ranges, strict=True) if ranges else ((), (), ())
    return Shapes(smallest, usual, largest)


def _values(given: Input, options: BuildOptions, file: str) -> Shapes:
    if given.name not in options.dims or given.dims not in ((), (1,)):
        raise BackendRefusal(
            f"{file}: its input {given.name!r} is read as a shape, and there is no range for its values; "
            "--fallback runs this segment on ONNX Runtime"
        )
    smallest, usual, largest = options.dims[given.name]
    return Shapes((smallest,), (usual,), (largest,))


def _range(given: Input, axis: int, options: BuildOptions, is_later: bool, file: str) -> Range:
    size, most = given.dims[axis], options.max_batch
    if isinstance(size, int):
        return size, size, size
    if size in options.dims:
        return options.dims[size]
    if given.name == KEEP or (size == BATCH and not is_later):
        return 1, most, most
    if is_later and axis == 0 and size in (BATCH, POOL):
        return most, most, most
    raise UsageError(
        f"{file}: dimension {size!r} (axis {axis} of input {given.name!r}) is dynamic; "
        f"say its smallest, usual and largest size with --dim {size}=MIN:USUAL:MAX"
    )


def _read(tensor: Any) -> Input:
    sizes = enumerate(tensor.shape)
    dims = tuple(
        size if size >= 0 else tensor.get_dimension_name(axis) or f"{tensor.name}.{axis}" for axis, size in sizes
    )
    return Input(tensor.name, dims, tensor.is_shape_tensor)
