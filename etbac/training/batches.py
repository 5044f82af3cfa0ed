"""Which samples each process trains on at each step, and reading them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from etbac.errors import InputError

if TYPE_CHECKING:
    from etbac.models.data.loader import Part

Rows = npt.NDArray[np.int64]
Batch = tuple[dict[str, Tensor], Tensor]
"""Inputs by name, and targets."""


@dataclass(frozen=True)
class Place:
    """This process among those that train together."""

    rank: int = 0
    world: int = 1


def epoch_batches(n: int, batch: int, place: Place, seed: int, epoch: int) -> list[Rows]:
    """The rows of this process at each step of an epoch.

    The epoch's order is the same in all processes; a step takes the next `batch` rows for each of them, one process
    after the other: together they train on what one process with a batch as large as all would. The last, incomplete
    step is left out, unless it is the only one.
    """
    order = np.random.default_rng([seed, epoch]).permutation(n)
    if n < place.world:
        raise InputError(f"{n} samples to train on are fewer than the {place.world} processes; start fewer")
    each = min(batch, n // place.world)
    together = each * place.world
    first = np.arange(n // together) * together + place.rank * each
    return [order[start : start + each] for start in first]


def shares(n: int, batch: int, place: Place) -> list[Rows]:
    """All n rows, in batches dealt out to the processes: at least one to each."""
    if n == 0:
        raise InputError("the data are too few to be split: no sample is left to judge by; give 30 or more to train on")
    if n < place.world:
        raise InputError(f"a set of {n} samples is smaller than the {place.world} processes; start fewer")
    batch = max(1, min(batch, n // place.world))
    starts = range(place.rank * batch, n, place.world * batch)
    return [np.arange(start, min(start + batch, n)) for start in starts]


def read(part: Part, batches: Sequence[Rows], workers: int = 0) -> Iterator[Batch]:
    """These batches in this order, read by so many processes ahead of their use."""
    return iter(DataLoader(_Batches(part), sampler=batches, batch_size=None, num_workers=workers))


class _Batches(Dataset[Batch]):
    """A part as torch's reader takes it: an item is a whole batch."""

    def __init__(self, part: Part) -> None:
        self.part = part

    def __getitem__(self, rows: Any) -> Batch:
        inputs, targets = self.part.read(rows)
        return {name: torch.from_numpy(array) for name, array in inputs.items()}, torch.from_numpy(targets)
