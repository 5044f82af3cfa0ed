"""`etbac train TASK`: a trunk, then exits on it, to a checkpoint."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from etbac.cli.common import Output, standard
from etbac.cli.train_options import NONE, all_options, data_options
from etbac.errors import MissingPackageError

if TYPE_CHECKING:
    from rich.progress import Progress

    from etbac.models.checkpoint import Checkpoint


@dataclass(frozen=True)
class Form:
    """What a task's command says of itself, and the model where none is named."""

    summary: str
    examples: tuple[str, ...]
    model: str


FORMS = {
    "classification": Form(
        "Train a classifier of pictures with exits.",
        (
            "etbac train classification --model resnet32 --exits 3,7,12 --data fashion-mnist/ --out resnet.pt",
            "etbac train classification --from resnet.pt --exits all --out more-exits.pt",
            "etbac train classification --model resnet50 --from r.pth --loader image-folder --data imagenet --out r.pt",
        ),
        "resnet32",
    ),
    "pose": Form(
        "Train exits of a network that finds a person's joints.",
        ("etbac train pose --model pose-resnet50 --from pose_resnet_50_256x256.pth --data mpii --out pose.pt",),
        "pose-resnet50",
    ),
    "segmentation": Form(
        "Train exits of a network that labels every pixel.",
        (
            "etbac train segmentation --model deeplab-resnet50 --from weights.pth --data cityscapes --out city.pt",
            "etbac train segmentation --loader image-mask --data folder --out own.pt",
        ),
        "deeplab-resnet50",
    ),
    "text": Form(
        "Train exits of a text encoder.",
        ("etbac train text --from bert --data glue --data-option task_name=rte --preprocess tokenizer=bert --out r",),
        "transformers",
    ),
    "speech": Form(
        "Train exits of a speech encoder.",
        ("etbac train speech --from wav2vec2/ --data speech_commands --out words.pt",),
        "transformers",
    ),
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Train exits on a frozen trunk and save a checkpoint. The trunk is trained first, or taken over with --from.

    \b
    etbac train classification --model resnet32 --data /usr/share/datasets/fashion-mnist
    torchrun --nproc-per-node 2 -m etbac train classification …    the same, in two processes
    """


def _add(task: str, form: Form) -> None:
    @cli.command(task, help=_help(form))
    @click.option("--model", help=f"A registered model, or module:function.  [default: {_default(form.model)}]")
    @data_options
    @all_options
    @standard
    def command(output: Output, **given: Any) -> None:
        _train(output, task, **given)


def _default(model: str) -> str:
    return model if model == "transformers" else f"{model}, or transformers where --from is its folder"


def _help(form: Form) -> str:
    lines = "\n".join(form.examples)
    return f"{form.summary} Interrupted, the same command goes on where it was.\n\n\b\n{lines}"


def _train(
    output: Output,
    task: str,
    *,
    model_options: str,
    head_options: str,
    epochs: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    schedule: str | None,
    optimizer: str | None,
    clip: float | None,
    accumulate: int | None,
    stop_after: int | None,
    padding: int | str | None,
    scales: tuple[float, ...] | None,
    exit_epochs: int | None,
    exit_batch_size: int | None,
    exit_learning_rate: float | None,
    distillation: float | None,
    temperature: float | None,
    mixed_precision: str,
    workers: int,
    cache_gb: float,
    losses: str | None,
    tensorboard: str | None,
    threads: int | None,
    **asked: Any,
) -> None:
    need("torch")
    need("accelerate")
    need("kornia")
    import torch

    from etbac.training import ExitOptions, RunOptions, TrunkOptions, train

    if threads is not None:
        torch.set_num_threads(threads)
    warm_up = None if schedule is None else {"cosine": 0.0, "one-cycle": TrunkOptions.warm_up}[schedule]
    trunk = _given(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        warm_up=warm_up,
        optimizer=optimizer,
        clip=clip,
        accumulate=accumulate,
        stop_after=stop_after,
        scales=scales,
    )
    if padding is not None:
        trunk["padding"] = None if padding == NONE else padding
    exits = _given(
        epochs=exit_epochs,
        batch_size=exit_batch_size,
        learning_rate=exit_learning_rate,
        distillation=distillation,
        temperature=temperature,
        accumulate=accumulate,
        stop_after=stop_after,
    )
    with _progress(output) as progress:
        found = train(
            asked.pop("model"),
            task,
            model_options=json_object(model_options),
            head_options=json_object(head_options, "--head-options"),
            trunk=TrunkOptions.of(task, asked["start"] is not None, **trunk),
            heads=ExitOptions(**exits),
            run=RunOptions(mixed_precision, workers, cache_gb, losses=losses, tensorboard=tensorboard),
            progress=progress,
            **asked,
        )
    if os.environ.get("RANK", "0") == "0":  # of the processes that torchrun has started, one tells
        _report(output, found)


class BarProgress:
    """Training's progress as a bar on a terminal and as notes on stderr."""

    def __init__(self, output: Output, bar: Progress) -> None:
        self.output, self.bar = output, bar

    def stage(self, description: str, total: int, done: int) -> Callable[[int], None]:
        task = self.bar.add_task(description, total=total, completed=done)
        return lambda steps: self.bar.advance(task, steps)

    def note(self, message: str) -> None:
        self.bar.console.print(message, markup=False, highlight=False)


@contextmanager
def _progress(output: Output) -> Iterator[BarProgress]:
    with output.progress() as bar:
        yield BarProgress(output, bar)


def _report(output: Output, found: Checkpoint) -> None:
    from rich.table import Table

    figures = found.record["test"]
    table = Table("answer", "after", "head", f"{found.metric} on the test set")
    for spec in found.network.exits:
        table.add_row(f"exit {spec.id}", spec.module, spec.head, f"{figures[f'exit_{spec.id}']:.4f}")
    if "full" in figures:
        table.add_row("the end of the chain", "", "", f"{figures['prediction']:.4f}")
    table.add_row("full model", "", "", f"{figures.get('full', figures['prediction']):.4f}")
    payload = {
        "checkpoint": found.path,
        "full_sha256": found.full_sha256,
        "exits": [spec.id for spec in found.network.exits],
        "metric": found.metric,
        "test": figures,
    }
    output.result(payload, table, f"{found.path} written; next: etbac compile {found.path}")


def _given(**options: Any) -> dict[str, Any]:
    """The options that were given; the others keep the defaults of the options' class."""
    return {name: value for name, value in options.items() if value is not None}


def json_object(text: str, option: str = "--model-options") -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise click.BadParameter(f"{option} {text!r} is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise click.BadParameter(f'{option} {text!r} is not a JSON object like {{"width": 32}}')
    return value


def need(package: str) -> None:
    if find_spec(package) is None:
        raise MissingPackageError(
            f"etbac train needs {package}, which is not installed; install it with: pip install 'etbac[train]'"
        )


for _task, _form in FORMS.items():
    _add(_task, _form)
