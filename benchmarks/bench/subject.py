"""What the contenders of `make bench` are made of: a network with exits, its chains, and samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from benchmarks.bench.options import CALIBRATION, MAX_BATCH
from etbac.backends.interface import Array, Arrays
from etbac.models.attach import ExitNetwork
from etbac.passes.exit_model import ExitModel
from etbac.profiles.race import Batch
from etbac.runtime.chain import Chain

Answer = Callable[[Batch], Array]
"""A batch -> logits [B, C]."""
Limits = Mapping[int, float]
"""Thresholds by exit id."""


@dataclass(frozen=True)
class Subject:
    """`chain` in fp32 and `narrow` in int8, each with its own thresholds. `inputs`: the samples that batches are drawn
    from; the first `judged` are judged by `labels`, or nothing is right or wrong. `cut`: the exit at which everybody
    may leave and the row's name; `smaller`: a smaller network's answers and the row's name; or why there is none.
    `notes`: sentences for the reader."""

    exported: ExitModel
    network: ExitNetwork
    chain: Chain
    narrow: Chain
    limits: Limits
    narrow_limits: Limits
    inputs: Arrays
    labels: npt.NDArray[np.int64] | None
    judged: int
    calibration: Arrays
    cut: tuple[int, str] | str
    smaller: tuple[Answer, str] | str
    notes: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True)
class Spec:
    """A subject to be made. `prepare` makes what is missing of what is kept, and gives the hash of that; `open` makes
    the rest, which lives as long as the stack. `seconds`: to race in, by batch size. `is_real`: trained on real data.
    `compiles`: whether `torch.compile` is tried."""

    name: str
    about: str
    prepare: Callable[[], str]
    open: Callable[[ExitStack], Subject]
    seconds: Mapping[int, float]
    is_real: bool
    compiles: bool = True


def evenly_leaving(confidence: npt.NDArray[np.float32], exits: Sequence[int]) -> dict[int, float]:
    """Thresholds at which as many samples leave at each exit as go to the end; each lies between two confidences.

    `confidence`: [exits, samples], or with rows behind them that nobody reads.
    """
    waiting = np.arange(confidence.shape[1])
    share = len(waiting) // (len(exits) + 1)
    limits = {}
    for place, exit_id in enumerate(exits):
        found = confidence[place][waiting]
        ordered = np.sort(found)[::-1]
        limits[exit_id] = float(np.float32((float(ordered[share - 1]) + float(ordered[share])) / 2))
        waiting = waiting[found < limits[exit_id]]
    return limits


def limits_of(chain: Chain, inputs: Arrays) -> dict[int, float]:
    """`evenly_leaving` on these samples."""
    rows = len(next(iter(inputs.values())))
    parts = [chain.run_all(first(inputs, MAX_BATCH, start)).confidence for start in range(0, rows, MAX_BATCH)]
    return evenly_leaving(np.concatenate(parts, axis=1), chain.exits)


def first(inputs: Arrays, count: int, start: int = 0) -> dict[str, Array]:
    return {name: array[start : start + count] for name, array in inputs.items()}


def calibration(inputs: Arrays) -> dict[str, Array]:
    return first(inputs, CALIBRATION)
