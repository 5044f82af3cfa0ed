"""What a run starts from: a trunk, how to make it again, whether it is trained, and the data."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from etbac.errors import EtbacError, UsageError, one_line
from etbac.models import checkpoint as checkpoints
from etbac.models import registry
from etbac.models.capture import on_cpu
from etbac.models.data import loader as loaders
from etbac.models.data.loader import Opened
from etbac.models.data.parts import Subset
from etbac.models.data.sets import DataSource
from etbac.models.data.splits import Sizes
from etbac.models.hub import read_folder
from etbac.models.weights import load_weights
from etbac.preprocessing import AudioPreprocessing, ImagePreprocessing, Preprocessing, TextPreprocessing, from_json
from etbac.training.class_order import put_in_order

TRANSFORMERS = "transformers"
LOADERS = {
    "classification": "fashion-mnist",
    "pose": "mpii",
    "segmentation": "cityscapes",
    "text": "glue",
    "speech": "speech-commands",
}
"""The form of a task's data where none is named."""
MODELS = {
    "classification": "resnet32",
    "pose": "pose-resnet50",
    "segmentation": "deeplab-resnet50",
    "text": TRANSFORMERS,
    "speech": TRANSFORMERS,
}
"""A task's model where none is named, and no folder of transformers."""
TOKENIZERS = ("tokenizer.json", "vocab.txt", "tokenizer_config.json")
"""A folder of transformers that has one of these has a tokenizer."""


@dataclass(frozen=True)
class Data:
    """A data set, opened, and which of its samples are in which of the five sets."""

    source: DataSource
    opened: Opened

    def of(self, name: str) -> Subset:
        return self.source.subset(name, self.opened)

    @property
    def answers(self) -> int | None:
        """How many a model answers: the classes, the joints, or 1, a number; None where samples have no labels."""
        if self.opened.class_names or not self.opened.labelled:
            return len(self.opened.class_names) or None
        _, targets = self.of("train").read(np.arange(1))
        return int(targets.shape[1]) if targets.ndim == 3 else 1

    def fitting(self, trunk: nn.Module) -> Data:
        """The same, inputs called as the model calls them (pictures and sounds: by its first parameter, where it has
        none of the loader's name), and texts without what it does not take."""
        form = self.opened.preprocessing
        takes = list(inspect.signature(trunk.forward).parameters)
        if isinstance(form, TextPreprocessing):
            known = tuple(name for name in form.inputs if name in takes)
            if not known:
                raise UsageError(
                    f"{type(trunk).__name__} takes {', '.join(takes) or 'nothing'}, and a tokenizer gives "
                    f"{', '.join(form.inputs)}: call the parameters of its forward so"
                )
            fitted: Preprocessing = replace(form, inputs=known)
        elif isinstance(form, ImagePreprocessing | AudioPreprocessing):
            main = getattr(trunk, "main_input_name", form.input if form.input in takes else takes[0])
            fitted = replace(form, input=main)
        if fitted == form:
            return self
        reader = loaders.get(self.source.loader, self.source.options)
        return Data(self.source, reader.open(Path(self.source.folder), fitted))


@dataclass(frozen=True)
class DataAsked:
    """`loader`'s data (None: the task's own) in `folder`, read with `options`; the five sets are drawn by `seed`.

    `preprocessing`: fields that differ from the loader's own, like {"height": 384, "width": 384}; of texts
    {"tokenizer": a file or folder, "max_length": 128}.
    """

    loader: str | None = None
    folder: Path | None = None
    options: Mapping[str, Any] | None = None
    preprocessing: Mapping[str, Any] | None = None
    sizes: Sizes | None = None
    seed: int = 0

    def draw(self, task: str = "classification") -> Data:
        name, options = self.loader or LOADERS[task], dict(self.options or {})
        reader = loaders.get(name, options)
        if reader.task != task:
            raise UsageError(f"the loader {name} has data for the task {reader.task}, and {task} was asked for")
        found = loaders.find_folder(reader, self.folder)
        opened = reader.open(found, self._form(reader, found))
        return Data(DataSource.draw(name, options, found, opened, self.seed, self.sizes), opened)

    def with_tokenizer_of(self, start: Path | None) -> DataAsked:
        """The same, with the tokenizer in the folder `start` where none is named."""
        asked = dict(self.preprocessing or {})
        if "tokenizer" in asked or start is None or not any((start / name).is_file() for name in TOKENIZERS):
            return self
        return replace(self, preprocessing={"tokenizer": str(start), **asked})

    def _form(self, reader: loaders.Loader, folder: Path) -> Preprocessing | None:
        asked = dict(self.preprocessing or {})
        if not asked:
            return None
        try:
            if "tokenizer" in asked:
                return TextPreprocessing.from_files(Path(asked.pop("tokenizer")), **asked)
            own = reader.open(folder).preprocessing.to_json()
            kind = own.pop("kind")
            if unknown := [name for name in asked if name not in own]:
                raise TypeError(f"there is no {unknown[0]!r}; there are {', '.join(own)}")
            return from_json({"kind": kind, **own, **asked})
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
    task: str


def begin(
    model: str | nn.Module | None,
    start: Path | None,
    factory: str | None,
    options: Mapping[str, Any],
    asked: DataAsked,
    note: Callable[[str], None] = lambda sentence: None,
    task: str | None = None,
) -> Begin:
    """From the checkpoint `start`, a trained module, or a model by name, with the weights `start` if it is named.

    `model`: left out, the task's own, or the one that the folder `start` of transformers describes. `task`: left out,
    the checkpoint's, or classification.
    """
    if start is not None and checkpoints.is_checkpoint(start):
        named = model is not None or bool(options) or any((asked.loader, asked.options, asked.preprocessing))
        if named:
            raise UsageError(
                f"{start} is a checkpoint, which says its model, its data and how they are read: leave --model, "
                "--model-options, --loader, --data-option and --preprocess out (--data names another place of the data)"
            )
        return _from_checkpoint(start, factory, asked.folder, task)
    task = task or "classification"
    data = asked.with_tokenizer_of(start).draw(task) if task == "text" else asked.draw(task)
    if isinstance(model, nn.Module):
        return _from_module(model, factory, options, data, task)
    return _from_factory(model or _model_of(task, start), options, start, data, note, task)


def _model_of(task: str, start: Path | None) -> str:
    return TRANSFORMERS if start is not None and (start / "config.json").is_file() else MODELS[task]


def _of_transformers(options: Mapping[str, Any], folder: Path | None, answers: int | None) -> Mapping[str, Any]:
    """What the factory takes: of the folder's configuration where no architecture is named, with as many answers as the
    data want."""
    wanted: dict[str, Any] = {} if answers is None else {"num_labels": answers}
    if "architecture" in options:
        return {**options, "config": {**wanted, **options.get("config", {})}}
    if folder is None or not folder.is_dir():
        raise UsageError(
            "--model transformers: name its folder with --from, or write --model-options "
            '\'{"architecture": "BertForSequenceClassification", "config": {}}\''
        )
    return read_folder(folder, **{**wanted, **options})


def _from_checkpoint(path: Path, factory: str | None, folder: Path | None, task: str | None) -> Begin:
    """A checkpoint's trained trunk, with its sets."""
    begun = checkpoints.load(path, factory)
    found_task = begun.network.task
    if task not in (None, found_task):
        raise UsageError(f"{path} is of the task {found_task}, and {task} was asked for: etbac train {found_task}")
    if begun.data is None:
        raise UsageError(f"{path} records no data to train on; train a new model")
    reader = loaders.get(begun.data.loader, begun.data.options)
    found = loaders.find_folder(reader, folder, begun.data.folder, path)
    data = Data(replace(begun.data, folder=str(found)), reader.open(found, begun.preprocessing))
    return Begin(begun.network.trunk, begun.factory, begun.kwargs, True, data, found_task)


def _from_module(module: nn.Module, factory: str | None, kwargs: Mapping[str, Any], data: Data, task: str) -> Begin:
    """A trained module; UsageError where the factory makes another one, for which its weights would be of no use."""
    if factory is None:
        raise UsageError("a module without a factory cannot be saved; say how to make it: factory='module:function'")
    made, own = (_shapes(each) for each in (_made(factory, _factory(factory), kwargs), module))
    if other := sorted({*made.items()} ^ {*own.items()}):
        raise UsageError(
            f"factory={factory!r} with {dict(kwargs)} makes another network than the one given: they differ in "
            f"{other[0][0]!r}; name its own factory, and its arguments in model_options"
        )
    return Begin(on_cpu(module), factory, kwargs, True, data.fitting(module), task)


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def _factory(name: str) -> registry.Factory:
    return registry.user_factory(name) if ":" in name else registry.factory(name)


def _made(name: str, make: registry.Factory, kwargs: Mapping[str, Any]) -> nn.Module:
    """The model; UsageError where its factory, which may be the user's, fails."""
    try:
        made = make(**kwargs)
    except EtbacError:
        raise
    except Exception as error:
        raise UsageError(
            f"model {name!r} cannot be made with {dict(kwargs)} ({type(error).__name__}: {one_line(error)})"
        ) from error
    if not isinstance(made, nn.Module):
        raise UsageError(f"{name} gives a {type(made).__name__}; a torch.nn.Module is needed")
    return made


def _from_factory(
    name: str, options: Mapping[str, Any], weights: Path | None, data: Data, note: Callable[[str], None], task: str
) -> Begin:
    """A model made anew, trained if there are weights that fill all of it.

    What the data fix (channels, classes, joints, size) is given to a factory that asks for it.
    """
    make = _factory(name)
    if name == TRANSFORMERS:
        options = _of_transformers(options, weights, data.answers)
    form = data.opened.preprocessing
    fixed = {
        "in_channels": getattr(form, "channels", None),
        "num_classes": len(data.opened.class_names) or None,
        "joints": data.answers if task == "pose" else None,
        "image_size": getattr(form, "height", None),
    }
    takes = inspect.signature(make).parameters
    kwargs = {**{key: value for key, value in fixed.items() if key in takes and value is not None}, **options}
    trunk = _made(name, make, kwargs)
    data = data.fitting(trunk)
    if weights is None:
        return Begin(trunk, name, kwargs, False, data, task)
    report = load_weights(trunk, weights)
    for line in report.lines():
        note(line)
    if name == TRANSFORMERS and report.complete and put_in_order(trunk, weights, data.opened.class_names):
        note(f"its classes were put in the data's order: {', '.join(data.opened.class_names)}")
    return Begin(trunk, name, kwargs, report.complete, data, task)
