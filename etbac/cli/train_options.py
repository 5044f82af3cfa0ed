"""Options of `etbac train`, and those that it shares with `etbac assess`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from etbac.cli.common import parse_ids

NONE = "none"
OTHER = "for other tasks than classification"
GENTLE = f"{OTHER}, and with --from"

Command = TypeVar("Command", bound=Callable[..., Any])


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


def _padding(context: click.Context, parameter: click.Parameter, text: str | None) -> int | str | None:
    if text is None or text == NONE:
        return text
    if not text.isdecimal():
        raise click.BadParameter(f"{text!r}: write a number of pixels, or none")
    return int(text)


def _named(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, Any]:
    """NAME=VALUE, a value that is JSON being that, else text."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{text!r}: write NAME=VALUE, like task_name=cola")
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found


_DATA = (
    click.option("--model-options", default="{}", help='Arguments of the model, as JSON: {"width": 32}.'),
    click.option("--data", type=click.Path(path_type=Path), help="The data's folder (also: the variable ETBAC_DATA)."),
    click.option("--loader", help="The data's form.  [default: the task's own]"),
    click.option(
        "--preprocess",
        "preprocessing",
        multiple=True,
        callback=_named,
        help="NAME=VALUE of how inputs are made: height=384, tokenizer=bert/, max_length=64, rate=8000, …",
    ),
    click.option(
        "--data-option", "data_options", multiple=True, callback=_named, help="NAME=VALUE of the data's form."
    ),
)
_OPTIONS = (
    click.option(
        "--exits", default="auto", show_default=True, callback=_places, help="auto, all, none, or blocks like 3,7,12."
    ),
    click.option("--out", type=click.Path(path_type=Path), required=True, help="The checkpoint to write."),
    click.option(
        "--from",
        "start",
        type=click.Path(path_type=Path),
        help="A checkpoint whose trained trunk is taken over, or the model's weights: a file or a transformers folder.",
    ),
    click.option("--factory", help="module:function that makes the model of --from, if you trust that code."),
    click.option("--joint", is_flag=True, help="Train trunk and exits together; the full model stays what it was."),
    click.option("--epochs", type=click.IntRange(1), help="Epochs of the trunk.  [default: 5]"),
    click.option(
        "--batch-size",
        type=click.IntRange(1),
        help=f"Samples of a step of the trunk's training, a process.  [default: 64; 32 {OTHER}]",
    ),
    click.option(
        "--learning-rate",
        type=click.FloatRange(0, min_open=True),
        help=f"The trunk's highest learning rate.  [default: 0.1; 0.0002 {GENTLE}]",
    ),
    click.option(
        "--schedule",
        type=click.Choice(["cosine", "one-cycle"]),
        help="Learning rate of the trunk: down along half a cosine, or up and down.  [default: one-cycle]",
    ),
    click.option(
        "--optimizer",
        type=click.Choice(["sgd", "adamw"]),
        help=f"Of the trunk.  [default: sgd; adamw {GENTLE}]",
    ),
    click.option(
        "--clip",
        type=click.FloatRange(0),
        help=f"Largest norm of the trunk's gradient, 0 for any.  [default: 0; 1 {GENTLE}]",
    ),
    click.option(
        "--accumulate", type=click.IntRange(1), help="Batches that make one step of the optimisers.  [default: 1]"
    ),
    click.option(
        "--stop-after",
        type=click.IntRange(1),
        help="End after so many epochs without a lower loss on the fit set.  [default: never]",
    ),
    click.option(
        "--padding",
        callback=_padding,
        help="Pixels by which pictures are shifted at random, and mirrored, in the trunk's training; or none.  "
        f"[default: 2; none {OTHER}]",
    ),
    click.option(
        "--scales",
        callback=_scales,
        help=f"Sizes of the pictures in equal parts of the trunk's epochs.  [default: 0.5,0.75,1; 1 {OTHER}]",
    ),
    click.option("--exit-epochs", type=click.IntRange(1), help="Epochs of the exits.  [default: 12]"),
    click.option(
        "--exit-batch-size", type=click.IntRange(2), help="Samples of a step of the exits, a process.  [default: 256]"
    ),
    click.option(
        "--exit-learning-rate",
        type=click.FloatRange(0, min_open=True),
        help="The exits' highest; AdamW, down along half a cosine.  [default: 0.002]",
    ),
    click.option("--head-options", default="{}", help='Of every head, as JSON: {"hidden": 64, "dropout": 0}.'),
    click.option(
        "--distillation",
        type=click.FloatRange(0, 1),
        help="Weight of the full model's answer in the exits' loss, that of the labels being the rest.  [default: 0]",
    ),
    click.option(
        "--temperature",
        type=click.FloatRange(0, min_open=True),
        help="By which answers are softened that exits learn.  [default: 2]",
    ),
    click.option(
        "--mixed-precision",
        type=click.Choice(["no", "fp16", "bf16"]),
        default="no",
        show_default=True,
        help="Numbers of the forward passes.",
    ),
    click.option(
        "--workers", type=click.IntRange(0), default=0, show_default=True, help="Processes that read samples."
    ),
    click.option(
        "--cache-gb",
        type=click.FloatRange(0),
        default=8.0,
        show_default=True,
        help="How much of the frozen trunk's features may be kept on disk; beyond it the trunk runs in every epoch.",
    ),
    click.option("--losses", help="A CSV file to which losses are added."),
    click.option("--tensorboard", help="A folder for TensorBoard."),
    click.option("--seed", type=int, default=0, show_default=True, help="Seed of the sets, the weights and the order."),
    click.option("--threads", type=click.IntRange(1), help="Processor threads; left out, torch decides."),
)


def data_options(command: Command) -> Command:
    """What is read, and how the model is made."""
    return _all(_DATA)(command)


def _all(options: tuple[Callable[[Any], Any], ...]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def all_options(command: Command) -> Command:
    """What is trained, and how."""
    return _all(_OPTIONS)(command)
