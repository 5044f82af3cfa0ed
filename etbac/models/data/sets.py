"""A named set of a data set, as a model's inputs and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError
from etbac.models.data import loader as loaders
from etbac.models.data.splits import Splits
from etbac.preprocessing import ImagePreprocessing


@dataclass(frozen=True)
class DataSet:
    """`inputs`: float32 arrays by the model's input names, batch on axis 0; `labels`: int64 [N], places in
    `class_names`, which is empty where they have none."""

    name: str
    inputs: Mapping[str, npt.NDArray[np.float32]]
    labels: npt.NDArray[np.int64]
    class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class DataSource:
    """Which data a model was trained on: the loader's name, the folder (absolute), and the five sets."""

    loader: str
    folder: str
    splits: Splits

    def load(
        self, name: str, preprocessing: ImagePreprocessing, folder: Path | None = None, beside: Path | None = None
    ) -> DataSet:
        """The set `name` ("train", "fit", "search", "certify", "test").

        The folder is looked for as in `find_folder`. Raises InputError where it is not found, lacks files, or holds
        fewer samples than were recorded.
        """
        indices = self.splits.of(name)
        loader = loaders.get(self.loader)
        part = loader.read(loaders.find_folder(loader, folder, self.folder, beside), self.splits.part(name))
        if len(indices) and indices[-1] >= len(part.labels):
            raise InputError(
                f"the {self.splits.part(name)} part of {self.loader} has {len(part.labels)} samples here, but sample "
                f"{indices[-1]} was recorded for the set {name!r}: other data. Name the right folder with --data"
            )
        return DataSet(name, preprocessing.apply(part.images[indices]), part.labels[indices], loader.class_names)

    def to_json(self) -> dict[str, Any]:
        return {"loader": self.loader, "folder": self.folder, "seed": self.splits.seed}
