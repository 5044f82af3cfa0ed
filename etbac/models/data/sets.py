"""A named set of a data set, as a model's inputs and targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError
from etbac.models.data import loader as loaders
from etbac.models.data.loader import Opened
from etbac.models.data.parts import Subset
from etbac.models.data.splits import Sizes, Splits, draw
from etbac.preprocessing import Preprocessing


@dataclass(frozen=True)
class DataSet:
    """`inputs`: arrays by the model's input names, batch on axis 0; `labels`: the targets (see `Part`), classes being
    places in `class_names`, which is empty where there are none; None where samples have no labels. `units`: see
    `Part`."""

    name: str
    inputs: Mapping[str, npt.NDArray[Any]]
    labels: npt.NDArray[Any] | None
    class_names: tuple[str, ...] = ()
    units: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))


@dataclass(frozen=True)
class DataSource:
    """Which data a model was trained on: the loader's name and options, the folder (absolute), and the five sets."""

    loader: str
    folder: str
    splits: Splits
    options: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def draw(
        loader: str,
        options: Mapping[str, Any],
        folder: Path,
        opened: Opened,
        seed: int,
        sizes: Sizes | None = None,
    ) -> DataSource:
        """The five sets of an opened data set, drawn by unit where it has units."""
        train, test = opened.parts["train"], opened.parts["test"]
        splits = draw(len(train), len(test), seed, sizes, train.units, opened.validation)
        return DataSource(loader, str(folder), splits, options)

    def open(
        self, preprocessing: Preprocessing | None = None, folder: Path | None = None, beside: Path | None = None
    ) -> Opened:
        """The data set itself; InputError where its folder is not found (see `find_folder`) or lacks files."""
        loader = loaders.get(self.loader, self.options)
        return loader.open(loaders.find_folder(loader, folder, self.folder, beside), preprocessing)

    def subset(self, name: str, opened: Opened) -> Subset:
        """The set `name` ("train", "fit", "search", "certify", "test"), read when it is asked for.

        Raises InputError where the data set holds fewer samples than were recorded.
        """
        indices, part = self.splits.of(name), opened.parts[self.splits.part(name)]
        if len(indices) and indices[-1] >= len(part):
            raise InputError(
                f"the {self.splits.part(name)} part of {self.loader} has {len(part)} samples here, but sample "
                f"{indices[-1]} was recorded for the set {name!r}: other data. Name the right folder with --data"
            )
        return Subset(part, indices)

    def load(
        self, name: str, preprocessing: Preprocessing, folder: Path | None = None, beside: Path | None = None
    ) -> DataSet:
        """The whole set `name`, in memory. Raises as `open` and `subset`."""
        self.splits.of(name)
        opened = self.open(preprocessing, folder, beside)
        subset = self.subset(name, opened)
        inputs, labels = subset.read(np.arange(len(subset)))
        return DataSet(name, inputs, labels if opened.labelled else None, opened.class_names, subset.units)

    def to_json(self) -> dict[str, Any]:
        return {
            "loader": self.loader,
            "folder": self.folder,
            "options": dict(self.options),
            "seed": self.splits.seed,
            "by_unit": self.splits.by_unit,
        }
