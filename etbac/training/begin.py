"""What a run starts from: a trunk, how to make it again, whether it is trained, and the data."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from etbac.errors import UsageError
from etbac.models import checkpoint as checkpoints
from etbac.models import registry
from etbac.models.data import loader as loaders
from etbac.models.data.loader import Opened
from etbac.models.data.parts import Subset
from etbac.models.data.sets import DataSource
from etbac.models.data.splits import Sizes
from etbac.models.hub import read_folder
from etbac.models.weights import load_weights
from etbac.preprocessing import AudioPreprocessing, ImagePreprocessing, Preprocessing, TextPreprocessing, from_json

TRANSFORMERS = "transformers"
LOADERS = {
    "classification": "fashion-mnist",
    "pose": "mpii",
    "segmentation": "cityscapes",
    "text": "glue",
    "speech": "speech-commands",
}
"""The form of a task's data where none is named."""


@dataclass(frozen=True)
class Data:
    """A data set, opened, and which of its samples are in which of the five sets."""

    source: DataSource
    opened: Opened

    def of(self, name: str) -> Subset:
        return self.source.subset(name, self.opened)

    def fitting(self, trunk: nn.Module) -> Data:
        """The same, inputs called as the model calls them (pictures and sounds: by its first parameter, where it has
        none of the loader's name), and texts without what it does not take."""
        form = self.opened.preprocessing
        takes = list(inspect.signature(trunk.forward).parameters)
        if isinstance(form, TextPreprocessing):
            fitted: Preprocessing = replace(form, inputs=tuple(name for name in form.inputs if name in takes))
        elif isinstance(form, ImagePreprocessing | AudioPreprocessing):
            main = getattr(trunk, "main_input_name", form.input if form.input in takes else takes[0])
            fitted = replace(form, input=main)
        if fitted == form:
            return self
        reader = loaders.get(self.source.loader, self.source.options)
        return Data(self.source, reader.open(Path(self.source.folder), fitted))


@dataclass(frozen=True)
class DataAsked:
    """`loader`'s data in `folder`, read with `options`; the five sets are drawn by `seed`.

    `preprocessing`: fields that differ from the loader's own, like {"height": 384, "width": 384}; of texts
    {"tokenizer": a file or folder, "max_length": 128}.
    """

    loader: str
    folder: Path | None = None
    options: Mapping[str, Any] | None = None
    preprocessing: Mapping[str, Any] | None = None
    sizes: Sizes | None = None
    seed: int = 0

    def draw(self) -> Data:
        reader = loaders.get(self.loader, self.options)
        found = loaders.find_folder(reader, self.folder)
        opened = reader.open(found, self._form(reader, found))
        return Data(
            DataSource.draw(self.loader, dict(self.options or {}), found, opened, self.seed, self.sizes), opened
        )

    def _form(self, reader: loaders.Loader, folder: Path) -> Preprocessing | None:
        asked = dict(self.preprocessing or {})
        if not asked:
            return None
        try:
            if "tokenizer" in asked:
                return TextPreprocessing.from_files(Path(asked.pop("tokenizer")), **asked)
            own = reader.open(folder).preprocessing.to_json()
            if unknown := [name for name in asked if name not in own]:
                raise TypeError(f"there is no {unknown[0]!r}; there are {', '.join(own)}")
            return from_json({**own, **asked})
        except TypeError as error:
            raise UsageError(f"--preprocess {asked}: {error}") from error


@dataclass(frozen=True)
class Begin:
    """`trained`: whether the trunk's answers are worth following; one that is not is trained first."""

    trunk: nn.Module
    factory: str
    kwargs: Mapping[str, Any]
    trained: bool
    data: Data


def begin(
    model: str | nn.Module,
    start: Path | None,
    factory: str | None,
    options: Mapping[str, Any],
    asked: DataAsked,
    note: Callable[[str], None] = lambda sentence: None,
) -> Begin:
    """From the checkpoint `start`, a trained module, or a model by name, with the weights `start` if it is named."""
    if start is not None and checkpoints.is_checkpoint(start):
        return _from_checkpoint(start, factory, asked.folder)
    if isinstance(model, nn.Module):
        return _from_module(model, factory, options, asked.draw())
    return _from_factory(model, options, start, asked.draw(), note)


def _of_transformers(options: Mapping[str, Any], folder: Path | None, answers: int) -> Mapping[str, Any]:
    """What the factory takes: of the folder's configuration where no architecture is named, with as many answers as the
    data have classes."""
    if "architecture" in options:
        config = {"num_labels": answers, **options.get("config", {})}
        return {**options, "config": config}
    if folder is None or not folder.is_dir():
        raise UsageError(
            "--model transformers: name its folder with --from, or write --model-options "
            '\'{"architecture": "BertForSequenceClassification", "config": {}}\''
        )
    return read_folder(folder, num_labels=answers, **options)


def _from_checkpoint(path: Path, factory: str | None, folder: Path | None) -> Begin:
    """A checkpoint's trained trunk, with its sets."""
    begun = checkpoints.load(path, factory)
    if begun.data is None:
        raise UsageError(f"{path} records no data to train on; train a new model")
    reader = loaders.get(begun.data.loader, begun.data.options)
    found = loaders.find_folder(reader, folder, begun.data.folder, path)
    data = Data(replace(begun.data, folder=str(found)), reader.open(found, begun.preprocessing))
    return Begin(begun.network.trunk, begun.factory, begun.kwargs, True, data)


def _from_module(module: nn.Module, factory: str | None, kwargs: Mapping[str, Any], data: Data) -> Begin:
    if factory is None:
        raise UsageError("a module without a factory cannot be saved; say how to make it: factory='module:function'")
    return Begin(module, factory, kwargs, True, data.fitting(module))


def _from_factory(
    name: str, options: Mapping[str, Any], weights: Path | None, data: Data, note: Callable[[str], None]
) -> Begin:
    """A model made anew, trained if there are weights that fill all of it.

    What the data fix (channels, classes, size) is given to a factory that asks for it.
    """
    make = registry.user_factory(name) if ":" in name else registry.factory(name)
    if name == TRANSFORMERS:
        options = _of_transformers(options, weights, len(data.opened.class_names) or 1)
    form = data.opened.preprocessing
    fixed = {
        "in_channels": getattr(form, "channels", None),
        "num_classes": len(data.opened.class_names) or None,
        "image_size": getattr(form, "height", None),
    }
    takes = inspect.signature(make).parameters
    kwargs = {**{key: value for key, value in fixed.items() if key in takes and value is not None}, **options}
    try:
        trunk = make(**kwargs)
    except (TypeError, ValueError) as error:
        raise UsageError(f"model {name!r} cannot be made with {kwargs}: {error}") from error
    data = data.fitting(trunk)
    if weights is None:
        return Begin(trunk, name, kwargs, False, data)
    report = load_weights(trunk, weights)
    for line in report.lines():
        note(line)
    return Begin(trunk, name, kwargs, report.complete, data)
