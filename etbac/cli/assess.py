"""`etbac assess`: what exits would be worth, before any is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etbac.cli.common import Output, precision_option, standard
from etbac.cli.train import FORMS, json_object, need
from etbac.cli.train_options import data_options

if TYPE_CHECKING:
    from rich.table import Table

    from etbac.compiler.assess import Assessment


@click.command(
    "assess", epilog="Example: etbac assess resnet50 --from resnet50.safetensors --loader image-folder --data imagenet"
)
@click.argument("model")
@click.option(
    "--task",
    type=click.Choice(sorted(FORMS)),
    help="What the model does.  [default: the checkpoint's, or classification]",
)
@click.option("--factory", help="module:function that made the checkpoint's model, if you trust that code.")
@click.option(
    "--from", "start", type=click.Path(path_type=Path), help="The model's weights: a file, or a transformers folder."
)
@data_options
@click.option(
    "--samples", type=click.IntRange(10), default=2_000, show_default=True, help="To fit probes to, and to try."
)
@click.option(
    "--batch-size", type=click.IntRange(1), default=16, show_default=True, help="The batch size to be fast at."
)
@precision_option
@standard
def cli(
    output: Output,
    model: str,
    task: str | None,
    factory: str | None,
    start: Path | None,
    model_options: str,
    data: Path | None,
    loader: str | None,
    data_options: dict[str, Any],
    preprocessing: dict[str, Any],
    samples: int,
    batch_size: int,
    precision: float,
) -> None:
    """Say which exits to expect of a trained MODEL, and what they would save, before training any.

    MODEL is a checkpoint of etbac train, a folder of transformers, or a registered model with --from. Linear probes on
    the frozen trunk's features stand in for exits, and a chain with untrained heads is measured for a rough inference
    time matrix.
    """
    need("torch")
    from etbac.compiler.assess import assess, describe
    from etbac.models import checkpoint
    from etbac.training.begin import DataAsked, begin

    asked = DataAsked(loader, data, data_options, preprocessing)
    path = Path(model)
    if path.is_file() and not checkpoint.is_checkpoint(path):
        checkpoint.load(path)  # says why it is none
    named, origin = (None, path) if path.exists() else (model, start)
    found = assess(
        begin(named, origin, factory, json_object(model_options), asked, output.note, task),
        precision,
        samples=samples,
        batch_size=batch_size,
        note=output.note,
    )
    payload = {
        "worth_it": found.is_worth_it,
        "exits": found.exits,
        "saved": {str(size): share for size, share in found.saved.items()},
        "accuracy": {str(exit_id): right for exit_id, right in found.accuracy.items()},
        "shares": {str(exit_id): share for exit_id, share in found.shares.items()},
    }
    output.result(payload, _table(found), describe(found))


def _table(found: Assessment) -> Table:
    from rich.table import Table

    table = Table("exit", "after", "accuracy of a probe", "samples would leave")
    for exit_id, place in found.places.items():
        share = f"{found.shares[exit_id]:.1%}" if exit_id in found.exits else "not used"
        table.add_row(str(exit_id), place, f"{found.accuracy[exit_id]:.4f}", share)
    table.add_row("full model", "", f"{found.accuracy[0]:.4f}", f"{found.shares[0]:.1%}")
    return table
