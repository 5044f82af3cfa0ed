"""`etbac.train`: the trunk alone, which then is the full model; the exits on the frozen trunk; a checkpoint."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from etbac.errors import UsageError
from etbac.models import checkpoint as checkpoints
from etbac.models import registry
from etbac.models.attach import ExitNetwork, attach_exits, describe
from etbac.models.capture import evaluating
from etbac.models.checkpoint import Checkpoint
from etbac.models.data import loader as loaders
from etbac.models.data.loader import Opened
from etbac.models.data.sets import DataSource
from etbac.models.data.splits import Sizes
from etbac.models.exit_training import ExitOptions, ExitTrainer, pooled_features
from etbac.models.progress import Progress, Silent
from etbac.models.resume import Resume
from etbac.models.trunk_training import TrunkOptions, TrunkTrainer, accuracy
from etbac.preprocessing import ImagePreprocessing

METRIC = "accuracy"


@dataclass(frozen=True)
class _Pictures:
    """A set as tensors: float32 [N, C, H, W] and int64 [N]."""

    images: Tensor
    labels: Tensor


class _Run:
    """One training run: what it works on, and the stages that it goes through."""

    def __init__(self, source: DataSource, seed: int, progress: Progress, resume: Resume) -> None:
        self.source, self.seed, self.progress, self.resume = source, seed, progress, resume
        self.opened = source.open(folder=Path(source.folder))
        self.form = _picture_form(source.loader, self.opened)
        self.input = self.form.input

    def pictures(self, name: str) -> _Pictures:
        subset = self.source.subset(name, self.opened)
        inputs, labels = subset.read(np.arange(len(subset)))
        return _Pictures(torch.from_numpy(inputs[self.input]), torch.from_numpy(labels))

    def train_trunk(self, trunk: nn.Module, options: TrunkOptions) -> None:
        """Train the trunk alone, from the last finished epoch if the run was interrupted."""
        train, fit = self.pictures("train"), self.pictures("fit")
        trainer = TrunkTrainer(trunk, self.input, train.images, train.labels, options, self.seed)
        if self.resume.trunk is not None:
            trainer.restore(self.resume.trunk)
        advance = self.progress.stage("trunk", options.epochs * trainer.steps, trainer.epoch * trainer.steps)
        while trainer.epoch < options.epochs:
            loss = trainer.run_epoch(advance)
            self.resume.save_trunk(trainer.state())
            right = accuracy(trunk, self.input, fit.images, fit.labels)
            done = f"epoch {trainer.epoch} of {options.epochs}"
            self.progress.note(f"trunk: {done}: loss {loss:.4f}, accuracy on the fit set {right:.4f}")

    def attach(self, trunk: nn.Module, task: str, exits: Any, head_options: Mapping[str, Any] | None) -> ExitNetwork:
        """The trunk with new exits, drawn from the run's seed."""
        torch.manual_seed(self.seed)
        form = self.form
        example = {self.input: torch.randn(2, form.channels, form.height, form.width)}
        if exits == "none":
            return ExitNetwork(trunk, [], describe(example), task)
        return attach_exits(trunk, task, exits, example_inputs=example, head_options=head_options)

    def train_exits(self, network: ExitNetwork, options: ExitOptions) -> ExitNetwork:
        """Train the heads on the frozen trunk; the network with each head's batch normalisation folded away."""
        train, fit = self.pictures("train"), self.pictures("fit")
        total = options.views * len(train.labels) + len(fit.labels)
        advance = self.progress.stage("features", total, 0)
        features = pooled_features(network, self.input, train.images, train.labels, advance, views=options.views)
        held_out = pooled_features(network, self.input, fit.images, fit.labels, advance)
        trainer = ExitTrainer(network, features, held_out, options, self.seed)
        if self.resume.exits is not None:
            trainer.restore(self.resume.exits)
        advance = self.progress.stage("exits", options.epochs, trainer.epoch)
        while trainer.epoch < options.epochs:
            trainer.run_epoch()
            self.resume.save_exits(trainer.state())
            advance(1)
        trainer.finish()
        return _folded(network)

    def test(self, network: ExitNetwork) -> dict[str, float]:
        """Accuracy on the test set of every exit and of the full model, by output name."""
        test = self.pictures("test")
        right: dict[str, int] = {}
        with evaluating(network):
            for images, labels in zip(test.images.split(500), test.labels.split(500), strict=True):
                for name, answer in network(**{self.input: images}).items():
                    right[name] = right.get(name, 0) + int((answer.argmax(1) == labels).sum())
        return {name: count / len(test.labels) for name, count in right.items()}


def train(
    model: str | nn.Module = "resnet32",
    task: str = "classification",
    *,
    out: str | Path,
    data: str | Path | None = None,
    loader: str = "fashion-mnist",
    exits: str | Sequence[int] | Sequence[str] = "auto",
    model_options: Mapping[str, Any] | None = None,
    factory: str | None = None,
    start: str | Path | None = None,
    trunk: TrunkOptions | None = None,
    heads: ExitOptions | None = None,
    head_options: Mapping[str, Any] | None = None,
    sizes: Sizes | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Checkpoint:
    """Train a trunk, then exits on it, and write the checkpoint `out`.

    `model`: a registered factory's name, `module:function`, or a trained torch.nn.Module (its weights are left as
    they are; `factory` must say how to make it again). `exits`: as `at` of `attach_exits`, or "none". `start`: a
    checkpoint whose trained trunk is taken over, with its sets. `data`: the folder of `loader`.

    An interrupted run leaves `<out>.partial`; the same call goes on at its last finished epoch and ends with the same
    weights as an uninterrupted one. Raises UsageError and InputError as `attach_exits`, the loader and the registry do.
    """
    out, progress = Path(out), progress or Silent()
    if not out.absolute().parent.is_dir():
        raise UsageError(f"{out}: the folder {out.absolute().parent} does not exist; make it first")
    trunk_options, exit_options = trunk or TrunkOptions(), heads or ExitOptions()
    folder = None if data is None else Path(data)
    torch.manual_seed(seed)
    if start is not None:
        begin = _from_checkpoint(Path(start), factory, folder)
    elif isinstance(model, nn.Module):
        begin = _from_module(model, factory, model_options or {}, _draw(loader, folder, sizes, seed))
    else:
        begin = _from_factory(model, model_options or {}, _draw(loader, folder, sizes, seed))
    settings = {
        "factory": [begin.factory, begin.kwargs, begin.trained and checkpoints.state_sha256(begin.trunk)],
        "exits": [task, exits, head_options],
        "training": [asdict(trunk_options), asdict(exit_options), seed],
        "data": [begin.data.loader, begin.data.splits.digest()],
    }
    run = _Run(begin.data, seed, progress, Resume.open(out, settings, progress))
    network = run.attach(begin.trunk, task, exits, head_options)
    if not begin.trained:
        run.train_trunk(begin.trunk, trunk_options)
    full_sha256 = checkpoints.state_sha256(begin.trunk)
    if network.exits:
        network = run.train_exits(network, exit_options)
    found = Checkpoint(
        network=network.eval(),
        factory=begin.factory,
        kwargs=begin.kwargs,
        metric=METRIC,
        full_sha256=full_sha256,
        preprocessing=run.form,
        data=begin.data,
        record={"test_accuracy": run.test(network), "trunk": asdict(trunk_options), "exits": asdict(exit_options)},
        path=out,
    )
    checkpoints.save(found, out)
    run.resume.close()
    return found


@dataclass(frozen=True)
class _Begin:
    """What a run starts from: a trunk, how to make it again, whether it is trained already, and the data."""

    trunk: nn.Module
    factory: str
    kwargs: Mapping[str, Any]
    trained: bool
    data: DataSource


def _from_checkpoint(path: Path, factory: str | None, folder: Path | None) -> _Begin:
    begun = checkpoints.load(path, factory)
    if begun.data is None:
        raise UsageError(f"{path} records no data to train on; train a new model")
    found = loaders.find_folder(loaders.get(begun.data.loader), folder, begun.data.folder, path)
    return _Begin(begun.network.trunk, begun.factory, begun.kwargs, True, replace(begun.data, folder=str(found)))


def _from_module(module: nn.Module, factory: str | None, kwargs: Mapping[str, Any], data: DataSource) -> _Begin:
    if factory is None:
        raise UsageError("a module without a factory cannot be saved; say how to make it: factory='module:function'")
    return _Begin(module, factory, kwargs, True, data)


def _from_factory(name: str, options: Mapping[str, Any], data: DataSource) -> _Begin:
    """Make the model; what the data fix (channels, classes, size) is given to a factory that asks for it."""
    make = registry.user_factory(name) if ":" in name else registry.factory(name)
    opened = data.open(folder=Path(data.folder))
    form = _picture_form(data.loader, opened)
    fixed = {"in_channels": form.channels, "num_classes": len(opened.class_names), "image_size": form.height}
    takes = inspect.signature(make).parameters
    kwargs = {**{key: value for key, value in fixed.items() if key in takes}, **options}
    try:
        return _Begin(make(**kwargs), name, kwargs, False, data)
    except (TypeError, ValueError) as error:
        raise UsageError(f"model {name!r} cannot be made with {kwargs}: {error}") from error


def _draw(loader: str, folder: Path | None, sizes: Sizes | None, seed: int) -> DataSource:
    reader = loaders.get(loader)
    found = loaders.find_folder(reader, folder)
    return DataSource.draw(loader, {}, found, reader.open(found), seed, sizes)


def _picture_form(loader: str, opened: Opened) -> ImagePreprocessing:
    if isinstance(opened.preprocessing, ImagePreprocessing) and opened.class_names:
        return opened.preprocessing
    raise UsageError(f"the data of {loader} are no pictures with classes; classification trains on these")


def _folded(network: ExitNetwork) -> ExitNetwork:
    """The same network, each head's batch normalisation merged into the layer before it."""
    for spec in network.exits:
        network.head(spec.id).fold_norm()
    specs = [replace(spec, options={**spec.options, "norm": False}) for spec in network.exits]
    folded = ExitNetwork(network.trunk, specs, network.inputs, network.task)
    folded.heads.load_state_dict(network.heads.state_dict())
    return folded
