"""`etbac.train`: the trunk, which alone is the full model; exits on it frozen, or both together; a checkpoint."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from torch import nn

from etbac.errors import UsageError
from etbac.metrics import Metric
from etbac.metrics import metric as find_metric
from etbac.models import checkpoint as checkpoints
from etbac.models import tasks
from etbac.models.attach import PREDICTION, ExitNetwork, attach_exits, describe
from etbac.models.capture import evaluating
from etbac.models.checkpoint import Checkpoint, state_sha256
from etbac.models.data.splits import Sizes
from etbac.models.heads.mlp import CONFIDENCE
from etbac.training.augment import resize
from etbac.training.batches import read, shares
from etbac.training.begin import Begin, DataAsked, begin
from etbac.training.example import example_inputs
from etbac.training.frozen import FrozenTrunk, KeptFeatures
from etbac.training.log import Log
from etbac.training.loop import Context, Loop
from etbac.training.options import LEAST_BATCH, ExitOptions, RunOptions, TrunkOptions
from etbac.training.progress import Progress, Silent
from etbac.training.resume import Resume
from etbac.training.stages import JUDGED, ExitStage, JointStage, Sets, TrunkStage

FULL = "full"
"""The full model's figure in a record, where the trunk, whose answer is another output, was trained once more."""
GB = 10**9
SHARE_OF_DISK = 0.9
"""How much of what is free on the disk features may take; checkpoints need room too."""


def train(
    model: str | nn.Module | None = None,
    task: str = "classification",
    *,
    out: str | Path,
    data: str | Path | None = None,
    loader: str | None = None,
    data_options: Mapping[str, Any] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    exits: str | Sequence[int] | Sequence[str] = "auto",
    model_options: Mapping[str, Any] | None = None,
    factory: str | None = None,
    start: str | Path | None = None,
    joint: bool = False,
    trunk: TrunkOptions | None = None,
    heads: ExitOptions | None = None,
    head_options: Mapping[str, Any] | None = None,
    run: RunOptions | None = None,
    sizes: Sizes | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Checkpoint:
    """Train a trunk where it is not trained yet, then exits on it, and write the checkpoint `out`.

    `model`: a registered factory's name (left out: the task's own, or what the folder `start` of transformers
    describes), `module:function`, or a trained torch.nn.Module (its weights are left as they are; `factory` must say
    how to make it again). `exits`: as `at` of `attach_exits`, or "none". `start`: a checkpoint whose trained trunk is
    taken over, with its sets; or weights for `model`, a file or a folder (see `load_weights`): where they fill all of
    it, it is trained. `joint`: the exits are not trained on the frozen trunk, but together with it, for the trunk's
    epochs; the full model stays what the trunk was before. `data`: the folder of `loader` (by default the task's own),
    read with `data_options` and `preprocessing` (see `DataAsked`). Where they have no labels, the exits of a trained
    trunk learn its answers, and are judged by agreement with them.

    An interrupted run leaves `<out>.partial`; the same call goes on where it was and ends with the same weights as an
    uninterrupted one. Under `torchrun` or `accelerate launch` all processes train together; `out` is then a place that
    all of them see. Raises UsageError and InputError as `attach_exits`, the loader and the registry do.
    """
    out, run = Path(out), run or RunOptions()
    _refuse_place(out)
    trunk = TrunkOptions.of(task, start is not None) if trunk is None else trunk.checked(task)
    heads = heads or ExitOptions()
    if joint:
        _refuse_joint(trunk, exits)
    folder = None if data is None else Path(data)
    asked = DataAsked(loader, folder, data_options, preprocessing, sizes, seed)
    with _accelerating(run.precision) as accelerator:
        torch.manual_seed(seed)
        told = progress if progress is not None and accelerator.is_main_process else Silent()
        origin = None if start is None else Path(start)
        begun = begin(model, origin, factory, model_options or {}, asked, told.note, tasks.get(task).name)
        if origin is not None and not begun.trained:
            told.note(
                "the network is not whole, and is trained before its exits are: "
                f"{trunk.optimizer}, learning rate {trunk.learning_rate:g}"
            )
        if not begun.data.opened.labelled:
            heads = _by_its_answers(begun, joint, heads)
        taken_over = begun.trained or start is not None
        of_trunk = {
            "factory": [begun.factory, begun.kwargs, taken_over and state_sha256(begun.trunk.state_dict())],
            "training": [task, asdict(trunk), run.precision, seed, accelerator.num_processes],
            "data": [begun.data.source.to_json(), begun.data.source.splits.digest()],
            "preprocessing": begun.data.opened.preprocessing.to_json(),
        }
        of_exits = {"exits": [exits, head_options, joint], "training": asdict(heads)}
        resume = Resume.open(out, of_trunk, of_exits, told, accelerator.is_main_process)
        context = Context(accelerator, seed, resume, _log(run, accelerator.is_main_process), told, run.save_s)
        training = _Training(context, begun, tasks.get(task), trunk, heads, run)
        found = training.run(out, exits, head_options, joint)
        if accelerator.is_main_process:
            checkpoints.save(found, out)
        accelerator.wait_for_everyone()
        context.log.close()
        resume.close()
    return found


def _log(run: RunOptions, tells: bool) -> Log:
    """Of processes that train together one tells."""
    return Log(run.losses, run.tensorboard) if tells else Log(None, None)


def _refuse_place(out: Path) -> None:
    """UsageError where no checkpoint could be written at the end."""
    folder = out.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"{out}: the folder {folder} does not exist; make it first")
    if out.is_dir():
        raise UsageError(f"{out} is a folder; name the file that the checkpoint shall be")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{out}: the folder {folder} cannot be written to; name another place")


def _refuse_joint(trunk: TrunkOptions, exits: Any) -> None:
    """UsageError where trunk and exits cannot be trained together."""
    if exits == "none":
        raise UsageError("to train trunk and exits together (--joint) there must be exits, and --exits none has none")
    if trunk.batch_size < LEAST_BATCH:
        raise UsageError(f"exits are trained on {LEAST_BATCH} samples a step or more; found {trunk.batch_size}")


@contextmanager
def _accelerating(precision: str) -> Iterator[Accelerator]:
    """Afterwards the process is as it was: another run in it may compute in other numbers.

    Where several processes train, their group must be gone before the process ends: a thread of a group that is still
    held may ask for the interpreter while that goes, and the process aborts (pytorch/pytorch#190489). Models wrapped
    for the group hold it, and so does any function with it as its default, which `torch.distributed.nn.functional`
    has if it is first imported after the group was made.
    """
    if torch.distributed.is_available():
        import_module("torch.distributed.nn.functional")
    if precision == "fp16" and not torch.accelerator.is_available():
        raise UsageError("mixed precision fp16 needs a GPU, and torch finds none; bf16 works on processors")
    accelerator = Accelerator(
        cpu=not torch.accelerator.is_available(),
        mixed_precision=precision,
        kwargs_handlers=[DistributedDataParallelKwargs()],
    )
    try:
        yield accelerator
    finally:
        accelerator.free_memory()
        accelerator.end_training()
        AcceleratorState._reset_state(reset_partial_state=True)


class _Training:
    """One run's stages."""

    def __init__(
        self,
        context: Context,
        begin: Begin,
        task: tasks.Task,
        trunk: TrunkOptions,
        exits: ExitOptions,
        run: RunOptions,
    ) -> None:
        self.context, self.begin, self.task, self.options = context, begin, task, run
        self.trunk_options, self.exit_options = trunk, exits
        self.sets = Sets(begin.data.of("train"), begin.data.of("fit"))

    def run(self, out: Path, exits: Any, head_options: Mapping[str, Any] | None, joint: bool) -> Checkpoint:
        """All stages, and what is to be saved."""
        network = self.attach(exits, head_options)
        if not self.begin.trained:
            self.train_trunk()
            for spec in network.exits:
                network.head(spec.id).start_from(self.begin.trunk)
        full = {name: value.detach().cpu().clone() for name, value in self.begin.trunk.state_dict().items()}
        opened = self.begin.data.opened
        metric = opened.metric or (self.task.metric if opened.labelled else "agreement")
        tested: dict[str, float] = {}
        if joint:
            alone = ExitNetwork(self.begin.trunk, [], network.inputs, self.task.name)
            tested = {FULL: self.test(alone, find_metric(metric))[PREDICTION]}
            self.train_jointly(network)
        elif network.exits:
            self.train_exits(network)
        network = _folded(network)
        tested = {**self.test(network, find_metric(metric)), **tested}
        return Checkpoint(
            network=network.to("cpu").eval(),
            factory=self.begin.factory,
            kwargs=self.begin.kwargs,
            metric=metric,
            full_state=full if joint else None,
            preprocessing=self.begin.data.opened.preprocessing,
            data=self.begin.data.source,
            record={"test": tested, "trunk": asdict(self.trunk_options), "exits": asdict(self.exit_options)},
            path=out,
        )

    def attach(self, exits: Any, head_options: Mapping[str, Any] | None) -> ExitNetwork:
        """The trunk with new exits, drawn from the run's seed."""
        inputs = example_inputs(self.begin)
        torch.manual_seed(self.context.seed)
        if exits == "none":
            return ExitNetwork(self.begin.trunk, [], describe(inputs), self.task.name)
        return attach_exits(self.begin.trunk, self.task.name, exits, example_inputs=inputs, head_options=head_options)

    def train_trunk(self) -> None:
        options = self._sized()
        stage = TrunkStage(self.begin.trunk, self.task, self.context, self.sets, options, self.options.workers)
        Loop(self.context, stage, options, len(self.sets.train)).run()

    def train_jointly(self, network: ExitNetwork) -> None:
        """Pictures keep their size: heads have that of the features of a whole one."""
        trunk = replace(self.trunk_options, scales=(1.0,))
        stage = JointStage(network, self.task, self.context, self.sets, trunk, self.exit_options, self.options.workers)
        Loop(self.context, stage, trunk, len(self.sets.train)).run()

    def _sized(self) -> TrunkOptions:
        """The trunk's options, without other sizes of pictures where it takes one alone."""
        options, smallest = self.trunk_options, min(self.trunk_options.scales)
        if smallest == 1:
            return options
        inputs, _ = next(read(self.sets.train, [np.arange(2)]))
        small = {name: resize(value, smallest) if value.ndim == 4 else value for name, value in inputs.items()}
        try:
            with evaluating(self.begin.trunk):
                self.begin.trunk(**small)
        except (RuntimeError, ValueError):
            self.context.progress.note("the model takes pictures of one size: they are not scaled in training")
            return replace(options, scales=(1.0,))
        return options

    def train_exits(self, network: ExitNetwork) -> None:
        accelerator = self.context.accelerator
        network.to(accelerator.device)
        trunk = FrozenTrunk(network, accelerator.device, accelerator.autocast, self.options.workers)
        kept = self._keep_features(trunk)
        stage = ExitStage(network, self.task, self.context, self.sets, self.exit_options, trunk, kept)
        Loop(self.context, stage, self.exit_options, len(self.sets.train)).run()
        stage.finish()

    def _keep_features(self, trunk: FrozenTrunk) -> dict[str, KeptFeatures]:
        """Of both sets, where they take no more than may be kept."""
        sets = {"train": self.sets.train, "fit": self.sets.fit}
        total = sum(map(len, sets.values()))
        kept = {name: KeptFeatures(self.context.resume.features(name), len(part)) for name, part in sets.items()}
        example = trunk.see(next(read(self.sets.train, [np.arange(1)])))
        needed = KeptFeatures.bytes_for(example, total)
        allowed, free = self.options.cache_gb * GB, self._free(kept)
        if needed > min(allowed, free):
            limit = f"{allowed / GB:g} GB may be kept" if allowed < free else f"{free / GB:.3g} GB are free on the disk"
            self.context.progress.note(
                f"the trunk's features would take {needed / GB:.3g} GB, and {limit}: the trunk runs in every epoch"
            )
            return {}
        advance = self.context.progress.stage("features", total, 0)
        for name, part in sets.items():
            kept[name].fill(trunk, part, self.context.place, self.context.accelerator.wait_for_everyone, advance)
        return kept

    def _free(self, kept: Mapping[str, KeptFeatures]) -> float:
        """Bytes that features may take on the disk, those counted that an interrupted run has kept; equal in all
        processes, for all must decide alike."""
        if not self.context.accelerator.is_main_process:
            return self.context.sums(0.0)[0]
        used = sum(each.begin() for each in kept.values())
        return self.context.sums(used + SHARE_OF_DISK * shutil.disk_usage(self.context.resume.folder).free)[0]

    def test(self, network: ExitNetwork, metric: Metric) -> dict[str, float]:
        """The metric on the test set of every exit and of the full model, by output name."""
        part, place = self.begin.data.of("test"), self.context.place
        device = self.context.accelerator.device
        network.to(device)
        sums: dict[str, Any] = {}
        count = 0
        with evaluating(network):
            for inputs, targets in read(part, shares(len(part), JUDGED, place), self.options.workers):
                answers = network(**{name: value.to(device) for name, value in inputs.items()})
                judged = {name: answer for name, answer in answers.items() if not name.endswith(f".{CONFIDENCE}")}
                truth = targets if metric.needs_labels else answers[PREDICTION].float().cpu()
                for name, answer in judged.items():
                    found = _sums(metric, answer.float().cpu().numpy(), truth.numpy())
                    sums[name] = sums.get(name, 0) + found
                count += len(targets)
        *_, n = self.context.sums(count)
        return {name: _value(metric, np.array(self.context.sums(*each)) / n) for name, each in sums.items()}


def _by_its_answers(begun: Begin, joint: bool, heads: ExitOptions) -> ExitOptions:
    """The exits learn the full model's answers alone; a UsageError where labels would be needed."""
    lacks = "the model is not trained" if not begun.trained else "--joint trains the model too" if joint else None
    if lacks is not None:
        raise UsageError(
            f"the data ({begun.data.source.loader}) have no labels, and {lacks}: only exits can be trained on them, "
            "by a trained model's own answers; name its weights with --from"
        )
    return replace(heads, distillation=1.0)


def _sums(metric: Metric, prediction: Any, targets: Any) -> Any:
    """What is added up over samples for the metric, float64 [k]."""
    return np.atleast_1d(metric.rows(prediction, targets).sum(axis=0)).astype(np.float64)


def _value(metric: Metric, means: Any) -> float:
    return metric.of_mean(means[0] if metric.is_mean else means)


def _folded(network: ExitNetwork) -> ExitNetwork:
    """The same network, each head's batch normalisation merged into the layer before it."""
    specs = []
    for spec in network.exits:
        network.head(spec.id).fold_norm()
        specs.append(replace(spec, options={**spec.options, "norm": False}))
    made = ExitNetwork(network.trunk, specs, network.inputs, network.task)
    made.heads.load_state_dict(network.heads.state_dict())
    return made
