"""Inputs for a model of which only the specification is known."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from etbac.contract import TensorSpec
from etbac.errors import UsageError

Arrays: TypeAlias = dict[str, npt.NDArray[Any]]

EXAMPLE_BATCH = 2
"""torch.export takes sizes 0 and 1 as constants, so an example has at least two rows."""

OTHER_DYNAMIC = 8
"""The size of dynamic axes that are not the batch."""


def make_inputs(specs: Sequence[TensorSpec], batch: int, rng: np.random.Generator) -> Arrays:
    """Made-up inputs by name: floats standard normal, integers 0 or 1, bool random; dynamic axes but the batch are 8.

    Raises UsageError for a type that cannot be made up.
    """
    return {spec.name: _make(spec, batch, rng) for spec in specs}


def parse_input_shape(text: str) -> tuple[str, tuple[int | str, ...]]:
    """`image:Bx3x224x224` -> ("image", ("B", 3, 224, 224)): a word is a dynamic axis, B the batch."""
    name, colon, shape = text.rpartition(":")
    dims = shape.strip("[]").replace(",", "x").split("x") if colon else []
    if not name or not all(re.fullmatch(r"\s*(\d+|[A-Za-z_]\w*)\s*", dim) for dim in dims):
        raise UsageError(f"--input-shape {text}: write name:BxCxHxW, like --input-shape image:Bx3x224x224")
    return name, tuple(int(dim) if dim.strip().isdigit() else dim.strip() for dim in dims)


def batch_axis_of(shape: Sequence[int | str]) -> int | None:
    """The axis called B or batch, else the first that is dynamic, else none."""
    names = [str(dim).lower() for dim in shape]
    called = [axis for axis, name in enumerate(names) if name in ("b", "batch")]
    dynamic = [axis for axis, dim in enumerate(shape) if isinstance(dim, str)]
    return next(iter(called or dynamic), None)


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
