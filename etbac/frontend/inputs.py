"""Inputs for a model of which only the specification is known."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from etbac.contract import TensorSpec
from etbac.errors import UsageError

Arrays: TypeAlias = dict[str, npt.NDArray[Any]]

EXAMPLE_BATCH = 2
"""torch.export takes sizes 0 and 1 as constants, so an example has at least two rows."""

DTYPES = frozenset({"float16", "float32", "float64", "int8", "uint8", "int16", "int32", "int64", "bool"})

OTHER_DYNAMIC = 8
"""The size of dynamic axes that are not the batch."""


def make_inputs(specs: Sequence[TensorSpec], batch: int, rng: np.random.Generator) -> Arrays:
    """Made-up inputs by name: floats standard normal, integers 0 or 1, bool random; dynamic axes but the batch are 8.

    Raises UsageError for a type that cannot be made up.
    """
    return {spec.name: _make(spec, batch, rng) for spec in specs}


@dataclass(frozen=True)
class InputShape:
    """What `--input-shape` says of an input: sizes, with a name for a dynamic axis, and the type if it was given."""

    shape: tuple[int | str, ...]
    dtype: str | None = None

    @property
    def batch_axis(self) -> int | None:
        """The axis called B or batch, else the first that is dynamic, else none."""
        called = [axis for axis, dim in enumerate(self.shape) if str(dim).lower() in ("b", "batch")]
        dynamic = [axis for axis, dim in enumerate(self.shape) if isinstance(dim, str)]
        return next(iter(called or dynamic), None)

    def spec(self, name: str) -> TensorSpec:
        """The input as a specification; float32 where no type was given."""
        return TensorSpec(name, self.dtype or "float32", self.shape, self.batch_axis)


def parse_input_shape(text: str) -> tuple[str, InputShape]:
    """`image:Bx3x224x224`, `ids:BxL:int64`: a word is a dynamic axis, B the batch; brackets and commas will do too."""
    match = re.fullmatch(r"(.+?):\[?(\w+(?:\s*[x,]\s*\w+)*)\]?(?::(\w+))?", text.strip())
    parts = re.split(r"\s*[x,]\s*", match[2]) if match else []
    dims = tuple(int(part) if part.isdigit() else part for part in parts)
    known = match is not None and (match[3] is None or match[3] in DTYPES)
    if match is None or not known or not all(isinstance(dim, int) or dim.isidentifier() for dim in dims):
        raise UsageError(f"--input-shape {text}: write name:BxCxHxW, or name:BxL:int64, like image:Bx3x224x224")
    return match[1], InputShape(dims, match[3])


def specs_of(arrays: Mapping[str, npt.NDArray[Any]]) -> tuple[TensorSpec, ...]:
    """The specification that example arrays stand for: batch on axis 0, the rest fixed; scalars have no batch."""
    return tuple(
        TensorSpec(name, str(array.dtype), ("batch", *array.shape[1:]), 0)
        if array.ndim
        else TensorSpec(name, str(array.dtype), (), None)
        for name, array in arrays.items()
    )


def _make(spec: TensorSpec, batch: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    shape = tuple(
        batch if axis == spec.batch_axis else dim if isinstance(dim, int) else OTHER_DYNAMIC
        for axis, dim in enumerate(spec.shape)
    )
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "f":
        return np.asarray(rng.standard_normal(shape), dtype)
    if dtype.kind in "iu":
        return np.asarray(rng.integers(0, 2, shape), dtype)
    if dtype.kind == "b":
        return np.asarray(rng.integers(0, 2, shape), np.bool_)
    raise UsageError(f"input {spec.name} is of type {spec.dtype}, which cannot be made up; give inputs with --data")
