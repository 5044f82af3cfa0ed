"""What a data loader is, loaders by name, and where their folder is looked for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError, UsageError
from etbac.preprocessing import ImagePreprocessing

BUILT_IN = {"fashion-mnist": "etbac.models.data.fashion_mnist:FashionMnist"}


@dataclass(frozen=True)
class Part:
    """One published part of a data set: pictures uint8 [N, H, W, C] and labels int64 [N], in the published order."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


class Loader(Protocol):
    """A data set in its published form."""

    name: str
    num_classes: int
    class_names: tuple[str, ...]
    preprocessing: ImagePreprocessing

    def check(self, folder: Path) -> None:
        """InputError that says which files are expected and where they come from, unless they are there."""

    def read(self, folder: Path, part: str) -> Part:
        """The part "train" or "test"; InputError as in `check` or for damaged files."""


def names() -> tuple[str, ...]:
    """Names of all loaders."""
    return tuple(BUILT_IN)


def get(name: str) -> Loader:
    """The loader of that name; a UsageError that lists the names otherwise."""
    if name not in BUILT_IN:
        raise UsageError(f"there is no data loader {name!r}; there are {', '.join(names())}")
    module, _, attribute = BUILT_IN[name].partition(":")
    loader: Loader = getattr(import_module(module), attribute)()
    return loader


def find_folder(loader: Loader, asked: Path | None, recorded: str | None = None, beside: Path | None = None) -> Path:
    """Where the data lie: `asked`, or else the first folder that is there of ETBAC_DATA in the environment, `recorded`,
    and the recorded folder's name beside the file `beside`.

    InputError where there is none, or where the one found lacks files.
    """
    candidates = [os.environ.get("ETBAC_DATA"), recorded]
    if beside is not None and recorded is not None:
        candidates.append(str(beside.parent / Path(recorded).name))
    places = [asked] if asked is not None else [Path(place) for place in candidates if place]
    if not places:
        raise InputError(f"no data folder is named; name the folder of {loader.name} with --data or ETBAC_DATA")
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        looked = ", ".join(map(str, places))
        raise InputError(f"no data folder at {looked}; name the folder of {loader.name} with --data or ETBAC_DATA")
    loader.check(folder)
    return folder.absolute()
