"""The five disjoint sets: train, fit, search and certify from the published training part, test as published."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError, UsageError

SETS = ("train", "fit", "search", "certify", "test")


@dataclass(frozen=True)
class Sizes:
    """How many samples of the training part go to each set; the remaining ones are `train`."""

    fit: int
    search: int
    certify: int

    @staticmethod
    def share_of(train_size: int) -> Sizes:
        """A thirtieth to fit, four to search, five to certify: 2,000, 8,000 and 10,000 of 60,000."""
        return Sizes(train_size // 30, 4 * train_size // 30, 5 * train_size // 30)

    @property
    def held_out(self) -> int:
        return self.fit + self.search + self.certify


@dataclass(frozen=True)
class Splits:
    """Which samples of which published part each set holds: indices int64, ascending."""

    seed: int
    indices: Mapping[str, npt.NDArray[np.int64]]

    @staticmethod
    def part(name: str) -> str:
        """The published part that the set is taken from."""
        return "test" if name == "test" else "train"

    def of(self, name: str) -> npt.NDArray[np.int64]:
        if name not in self.indices:
            raise UsageError(f"there is no set {name!r}; there are {', '.join(self.indices)}")
        return self.indices[name]

    def digest(self) -> str:
        """SHA-256 (hex) of which samples are in which set."""
        parts = [f"{name} {chosen.tolist()}" for name, chosen in self.indices.items()]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def draw(train_size: int, test_size: int, seed: int, sizes: Sizes | None = None) -> Splits:
    """Draw the sets without replacement; the same seed gives the same sets on every machine."""
    sizes = sizes or Sizes.share_of(train_size)
    if train_size <= sizes.held_out:
        raise InputError(
            f"{train_size} training samples cannot be split: fit, search and certify take {sizes.held_out} of them and "
            "leave none to train on. Ask for smaller sets or give more data"
        )
    order = np.random.Generator(np.random.PCG64(seed)).permutation(train_size)
    edges = np.cumsum([sizes.certify, sizes.search, sizes.fit])
    certify, search, fit, train = (np.sort(chosen) for chosen in np.split(order, edges))
    indices: dict[str, Any] = {"train": train, "fit": fit, "search": search, "certify": certify}
    return Splits(seed, {**indices, "test": np.arange(test_size)})
