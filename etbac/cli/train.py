"""`etbac train`: a trunk, then exits on it, to a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etbac.cli.common import Output, parse_ids, standard
from etbac.errors import MissingPackageError

if TYPE_CHECKING:
    from rich.progress import Progress

    from etbac.models.checkpoint import Checkpoint


def _places(context: click.Context, parameter: click.Parameter, text: str) -> str | tuple[int, ...] | None:
    return text if text in ("auto", "all", "none") else parse_ids(context, parameter, text)


def _scales(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        scales = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of sizes; write them like 0.5,0.75,1") from None
    if not all(0 < scale <= 1 for scale in scales):
        raise click.BadParameter(f"{text!r}: sizes are above 0 and at most 1, relative to the full size")
    return scales


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Train exits on a frozen trunk and save a checkpoint. The trunk is trained first, or taken over with --from.

    \b
    etbac train classification --model resnet32 --data /usr/share/datasets/fashion-mnist --out resnet.pt
    """


@cli.command()
@click.option(
    "--model", default="resnet32", show_default=True, help="A registered model, or module:function (your code)."
)
@click.option("--model-options", default="{}", help='Arguments of the model, as JSON: {"width": 32}.')
@click.option("--data", type=click.Path(path_type=Path), help="The data's folder (also: the variable ETBAC_DATA).")
@click.option("--loader", default="fashion-mnist", show_default=True, help="The data's form.")
@click.option(
    "--exits", default="auto", show_default=True, callback=_places, help="auto, all, none, or blocks like 3,7,12."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The checkpoint to write.")
@click.option(
    "--from", "start", type=click.Path(path_type=Path), help="A checkpoint whose trained trunk is taken over."
)
@click.option("--factory", help="module:function that makes the model of --from, if you trust that code.")
@click.option("--epochs", type=click.IntRange(1), help="Epochs of the trunk.")
@click.option("--batch-size", type=click.IntRange(1), help="Batch size of the trunk's training.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), help="Highest learning rate of the trunk.")
@click.option("--scales", callback=_scales, help="Sizes of the pictures in equal parts of the epochs, like 0.5,0.75,1.")
@click.option("--exit-epochs", type=click.IntRange(1), help="Epochs of the exits.")
@click.option(
    "--distillation", type=click.FloatRange(0, 1), help="Weight of the full model's answer in the exits' loss."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the sets, the weights and the order.")
@click.option("--threads", type=click.IntRange(1), help="Processor threads; left out, torch decides.")
@standard
def classification(
    output: Output,
    model: str,
    model_options: str,
    data: Path | None,
    loader: str,
    exits: str | tuple[int, ...],
    out: Path,
    start: Path | None,
    factory: str | None,
    epochs: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    scales: tuple[float, ...] | None,
    exit_epochs: int | None,
    distillation: float | None,
    seed: int,
    threads: int | None,
) -> None:
    """Train a classifier with exits. Interrupted, the same command goes on where it was.

    \b
    etbac train classification --model resnet32 --exits 3,7,12 --data /usr/share/datasets/fashion-mnist --out resnet.pt
    etbac train classification --from resnet.pt --exits all --out more-exits.pt
    """
    _need_torch()
    import torch

    from etbac.models.exit_training import ExitOptions
    from etbac.models.training import train
    from etbac.models.trunk_training import TrunkOptions

    if threads is not None:
        torch.set_num_threads(threads)
    with _progress(output) as progress:
        found = train(
            model,
            "classification",
            out=out,
            data=data,
            loader=loader,
            exits=exits,
            model_options=_json_object(model_options),
            factory=factory,
            start=start,
            trunk=TrunkOptions(
                **_given(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, scales=scales)
            ),
            heads=ExitOptions(**_given(epochs=exit_epochs, distillation=distillation)),
            seed=seed,
            progress=progress,
        )
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

    accuracies = found.record["test_accuracy"]
    table = Table("answer", "after", "head", "accuracy on the test set")
    for spec in found.network.exits:
        table.add_row(f"exit {spec.id}", spec.module, spec.head, f"{accuracies[f'exit_{spec.id}']:.4f}")
    table.add_row("full model", "", "", f"{accuracies['prediction']:.4f}")
    payload = {
        "checkpoint": found.path,
        "full_sha256": found.full_sha256,
        "exits": [spec.id for spec in found.network.exits],
        "test_accuracy": accuracies,
    }
    output.result(payload, table, f"{found.path} written; next: etbac compile {found.path}")


def _given(**options: Any) -> dict[str, Any]:
    """The options that were given; the others keep the defaults of the options' class."""
    return {name: value for name, value in options.items() if value is not None}


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise click.BadParameter(f"--model-options {text!r} is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise click.BadParameter(f'--model-options {text!r} is not a JSON object like {{"width": 32}}')
    return value


def _need_torch() -> None:
    if find_spec("torch") is None:
        raise MissingPackageError(
            "etbac train needs torch, which is not installed; install it with: pip install 'etbac[train]'"
        )
