"""What a data loader is, loaders by name, and where their folder is looked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError, UsageError
from etbac.preprocessing import Preprocessing

P = TypeVar("P", bound=Preprocessing)

NO_LABEL = -1
"""The target of a sample that has none."""

BUILT_IN = {
    "cifar10": "etbac.models.data.cifar10:Cifar10",
    "cityscapes": "etbac.models.data.cityscapes:Cityscapes",
    "fashion-mnist": "etbac.models.data.fashion_mnist:FashionMnist",
    "glue": "etbac.models.data.glue:Glue",
    "image-folder": "etbac.models.data.image_folder:ImageFolder",
    "image-mask": "etbac.models.data.image_mask:ImageMask",
    "mpii": "etbac.models.data.mpii:Mpii",
    "pictures": "etbac.models.data.pictures:Pictures",
    "speech-commands": "etbac.models.data.speech_commands:SpeechCommands",
    "text-file": "etbac.models.data.text_file:TextFile",
    "wav-folder": "etbac.models.data.wav_folder:WavFolder",
}


class Part(Protocol):
    """The samples of one published part, in the published order, read when they are asked for.

    `units`, int64 [len]: which samples are of one independent unit (a prompt, a speaker, a picture); None: each is its
    own. Targets: classes int64 [n]; values float32 [n]; joints float32 [n, J, 4] (x and y in pixels of the model's
    input, 1 where it is annotated, the head's size in the same pixels); or masks int64 [n, H, W], 255 not counted.
    Where there are no labels: NO_LABEL, int64 [n].
    """

    @property
    def units(self) -> npt.NDArray[np.int64] | None: ...

    def __len__(self) -> int: ...

    def read(self, rows: npt.NDArray[np.int64]) -> tuple[dict[str, npt.NDArray[Any]], npt.NDArray[Any]]:
        """The model's inputs by name, and the targets, of those rows. InputError that names a damaged file."""


@dataclass(frozen=True)
class Opened:
    """A data set at hand: its parts "train" and "test", the classes' names (empty where targets are no classes).

    `metric`: the data set's own, where it has one. `labelled`: whether samples have labels. `validation`, bool [train]:
    which samples of "train" were published to validate with: they are the first to be held out.
    """

    parts: Mapping[str, Part]
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    metric: str | None = None
    labelled: bool = True
    validation: npt.NDArray[np.bool_] | None = None


class Loader(Protocol):
    """A data set in its published form. A loader that has options is a dataclass of them."""

    name: ClassVar[str]
    task: ClassVar[str]

    def check(self, folder: Path) -> None:
        """InputError that shows what is expected and what is there, unless the data set is."""

    def open(self, folder: Path, preprocessing: Preprocessing | None = None) -> Opened:
        """The data set, for a model that takes what `preprocessing` gives (None: the loader's default).

        InputError as in `check`; UsageError for preprocessing of another kind. No picture or sound is read.
        """


def names() -> tuple[str, ...]:
    """Names of all loaders."""
    return tuple(BUILT_IN)


def get(name: str, options: Mapping[str, Any] | None = None) -> Loader:
    """The loader of that name with its options; a UsageError that lists what there is otherwise."""
    if name not in BUILT_IN:
        raise UsageError(f"there is no data loader {name!r}; there are {', '.join(names())}")
    module, _, attribute = BUILT_IN[name].partition(":")
    make = getattr(import_module(module), attribute)
    known = [field.name for field in fields(make)]
    if unknown := [option for option in options or {} if option not in known]:
        raise UsageError(
            f"the loader {name} has no option {unknown[0]!r}; its options are {', '.join(known) or 'none at all'}"
        )
    loader: Loader = make(**(options or {}))
    return loader


def of_kind(loader: Loader, asked: Preprocessing | None, kind: type[P], default: P | None) -> P:
    """`asked`, or else the default; a UsageError where it is of another kind, or where there is none."""
    chosen = default if asked is None else asked
    if isinstance(chosen, kind):
        return chosen
    found = "none was given" if chosen is None else f"the model takes {chosen.kind}"
    how = "; name the model's tokenizer: --preprocess tokenizer=FOLDER" if kind.kind == "text" else ""
    raise UsageError(f"the loader {loader.name} gives {kind.kind}, and {found}{how}")


def find_folder(loader: Loader, asked: Path | None, recorded: str | None = None, beside: Path | None = None) -> Path:
    """Where the data lie: `asked`, or else the first folder that is there of `recorded`, ETBAC_DATA in the environment
    (which may be set for another data set), and the recorded folder's name beside the file `beside`.

    InputError where there is none, or where the one found lacks files.
    """
    candidates = [recorded, os.environ.get("ETBAC_DATA")]
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
