"""The five disjoint sets: train, fit, search and certify from the published training part, test as published."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError, UsageError

SETS = ("train", "fit", "search", "certify", "test")

Rows = npt.NDArray[np.int64]
T = TypeVar("T")


@dataclass(frozen=True)
class Sizes:
    """How many samples of the training part go to each set; the remaining ones are `train`."""

    fit: int
    search: int
    certify: int

    @staticmethod
    def share_of(train_size: int) -> Sizes:
        """A thirtieth to fit, four to search, five to certify: 2,000, 8,000 and 10,000 of 60,000; at least one each."""
        fit, search, certify = (max(1, share * train_size // 30) for share in (1, 4, 5))
        return Sizes(fit, search, certify)

    @property
    def held_out(self) -> int:
        return self.fit + self.search + self.certify


@dataclass(frozen=True)
class Splits:
    """Which samples of which published part each set holds: indices int64, ascending.

    `by_unit`: the sets were drawn unit by unit, so that no two of them share one.
    """

    seed: int
    indices: Mapping[str, Rows]
    by_unit: bool = False

    @staticmethod
    def part(name: str) -> str:
        """The published part that the set is taken from."""
        return "test" if name == "test" else "train"

    def of(self, name: str) -> Rows:
        if name not in self.indices:
            raise UsageError(f"there is no set {name!r}; there are {', '.join(self.indices)}")
        return self.indices[name]

    def digest(self) -> str:
        """SHA-256 (hex) of which samples are in which set."""
        parts = [f"{name} {chosen.tolist()}" for name, chosen in self.indices.items()]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def draw(
    train_size: int,
    test_size: int,
    seed: int,
    sizes: Sizes | None = None,
    units: Rows | None = None,
    first: npt.NDArray[np.bool_] | None = None,
) -> Splits:
    """Draw the sets without replacement; the same seed gives the same sets on every machine.

    `units`, int64 [train_size]: samples of one unit go to one set; a set is then larger than asked for by less than its
    last unit. `first`, bool [train_size]: units with such a sample are held out (certify, search, fit) before others.
    """
    sizes = sizes or Sizes.share_of(train_size)
    if train_size <= sizes.held_out:
        raise InputError(
            f"{train_size} training samples cannot be split: fit, search and certify take {sizes.held_out} of them and "
            "leave none to train on. Give more data or, from Python, ask for smaller sets"
        )
    of_sample = np.arange(train_size) if units is None else np.unique(units, return_inverse=True)[1]
    counts = np.bincount(of_sample, minlength=1)
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(counts))
    if first is not None:
        order = order[np.argsort(~np.isin(order, of_sample[first]), kind="stable")]
    chosen = _filled(order, counts, (sizes.certify, sizes.search, sizes.fit))
    drawn = ("certify", "search", "fit", "train")
    found: dict[str, Any] = {name: np.flatnonzero(chosen[of_sample] == place) for place, name in enumerate(drawn)}
    by_unit = len(counts) < train_size
    _refuse_empty(found, sizes, len(counts))
    indices = {name: found[name] for name in SETS[:4]}
    return Splits(seed, {**indices, "test": np.arange(test_size)}, by_unit)


def _filled(order: Rows, counts: Rows, wanted: Sequence[int]) -> Rows:
    """Each unit's set, int64 [len(counts)]: one set after the other takes units in this order until it has as many
    samples as wanted, and a last one what is left."""
    chosen = np.empty(len(counts), np.int64)
    place = held = 0
    for unit in order:
        while place < len(wanted) and held >= wanted[place]:
            place, held = place + 1, 0
        chosen[unit], held = place, held + counts[unit]
    return chosen


def _refuse_empty(found: Mapping[str, Rows], sizes: Sizes, units: int) -> None:
    asked = {"certify": sizes.certify, "search": sizes.search, "fit": sizes.fit, "train": 1}
    empty = [name for name, size in asked.items() if size and not len(found[name])]
    if empty:
        raise InputError(
            f"{units} units (samples of one unit stay together) do not fill the sets: {' and '.join(empty)} would be "
            "empty. Give more data or, from Python, ask for smaller sets"
        )


def divide(items: Sequence[T], units: Sequence[str]) -> tuple[list[T], list[T]]:
    """The training and the test part where none is published: a fifth of the units, at least one, is the test part.

    Units are ordered by the SHA-256 of their names, so that one data set always has the same test part.
    """
    ordered = sorted(set(units), key=lambda name: hashlib.sha256(name.encode()).digest())
    held = set(ordered[: max(len(ordered) // 5, 1)])
    train = [item for item, unit in zip(items, units, strict=True) if unit not in held]
    return train, [item for item, unit in zip(items, units, strict=True) if unit in held]
