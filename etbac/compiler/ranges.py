"""Ranges of the dynamic dimensions that boundary tensors have: a builder wants them, and no model file tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from etbac.backends.interface import Arrays, Tensor
from etbac.contract import SegmentContract, TensorSpec
from etbac.frontend.inputs import make_inputs
from etbac.runtime.stage import Stage

Range = tuple[int, int, int]
ROWS = 2


def boundary_ranges(
    contracts: Sequence[SegmentContract],
    stages: Sequence[Stage],
    inputs: Sequence[TensorSpec],
    ranges: Mapping[str, Range],
) -> dict[str, Range]:
    """`ranges` (smallest, usual and largest size by name) of the model's `inputs`, and with them those of all boundary
    tensors: the portable chain's `stages` run on made-up inputs of the three sizes.

    A boundary tensor that is one whole number may be a size; its values are given under its own name.
    """
    found = [
        _sizes(contracts, stages, _made_up(inputs, {n: r[place] for n, r in ranges.items()})) for place in range(3)
    ]
    measured = {name: sorted(sizes[name] for sizes in found) for name in set.intersection(*map(set, found))}
    return {**{name: (low, usual, high) for name, (low, usual, high) in sorted(measured.items())}, **ranges}


def _made_up(inputs: Sequence[TensorSpec], sizes: Mapping[str, int]) -> Arrays:
    specs = [replace(spec, shape=tuple(sizes.get(str(dim), dim) for dim in spec.shape)) for spec in inputs]
    return make_inputs(specs, ROWS, np.random.default_rng(0))


def _sizes(contracts: Sequence[SegmentContract], stages: Sequence[Stage], inputs: Arrays) -> dict[str, int]:
    carried: Sequence[Tensor] = [inputs[name] for name in stages[0].inputs]
    sizes: dict[str, int] = {}
    for stage, following in zip(stages[:-1], contracts[1:], strict=True):
        carried = stage.pass_on(carried, np.arange(ROWS))
        for spec, array in zip(following.inputs, map(np.asarray, carried), strict=True):
            others = (axis for axis, dim in enumerate(spec.shape) if isinstance(dim, str) and axis != spec.batch_axis)
            sizes.update({str(spec.shape[axis]): array.shape[axis] for axis in others})
            if spec.batch_axis is None and array.size == 1 and array.dtype.kind == "i" and int(array.item()) > 0:
                sizes[spec.name] = int(array.item())
    return sizes
