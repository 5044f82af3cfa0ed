"""`etbac profile`: measure the inference time matrix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from etbac.cli.common import Engines, Output, engine_dir_option, standard, which_engines

if TYPE_CHECKING:
    from rich.table import Table

    from etbac.profiles.profile import Profile


def parse_sizes(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """`1,2,4` or `start:stop:step` (stop included where a step falls on it) -> the sizes; else a usage error."""
    if text is None:
        return None
    try:
        if ":" not in text:
            sizes = tuple(int(part) for part in text.split(","))
        else:
            start, stop, step = (int(part) for part in text.split(":"))
            sizes = tuple(range(start, stop + 1, step))
    except ValueError:
        raise click.BadParameter(f"{text!r}: write sizes like 1,2,4 or start:stop:step like 4:32:4") from None
    if not sizes or min(sizes) < 1:
        raise click.BadParameter(f"{text!r} holds no batch size, or one below 1")
    return sizes


@click.command("profile", epilog="Example: etbac profile --batch-sizes 1,8,32 --budget 60")
@engine_dir_option
@click.option("--max-batch", type=click.IntRange(min=1), help="Measure 1, 2, 4, … up to this size.  [default: 32]")
@click.option("--batch-sizes", callback=parse_sizes, help="Which sizes instead: 1,2,4 or start:stop:step.")
@click.option(
    "--budget",
    type=click.FloatRange(min=0, min_open=True),
    default=20.0,
    show_default=True,
    help="Seconds to spend at most.",
)
@standard
@which_engines
def cli(
    output: Output,
    engine_dir: Path,
    max_batch: int | None,
    batch_sizes: tuple[int, ...] | None,
    budget: float,
    engines: Engines,
) -> None:
    """Measure every engine, the full model and the whole chain, by batch size."""
    from etbac.profiles.profiler import profile

    if max_batch is not None and batch_sizes is not None:
        raise click.UsageError("--max-batch and --batch-sizes both say what to measure; give one of them")
    with output.progress() as progress:
        task = progress.add_task("measuring", total=100)
        measured = profile(
            engine_dir,
            batch_sizes=batch_sizes,
            max_batch=max_batch,
            budget_s=budget,
            progress=lambda done: progress.update(task, completed=int(100 * done)),
            note=output.note,
            **engines,
        )
    if measured.warning:
        output.note(f"warning: {measured.warning}")
    machine = measured.machine
    where = f"{measured.name} on {machine['processor']}, {machine['cores']} cores; median milliseconds of a batch"
    output.result(measured.to_json(), where, matrix_table(measured), chain_table(measured), *measured.slower)


def matrix_table(measured: Profile) -> Table:
    """Engines down, batch sizes across."""
    from rich.table import Table

    table = Table("engine", "exit", *(f"batch {size}" for size in measured.batch_sizes))
    for row in (*measured.rows[:-1], *measured.beside, measured.rows[-1]):
        exit_text = str(row.exit_id) if row.exit_id else "–"
        if row is measured.rows[-1] or row in measured.beside[:1]:
            table.add_section()
        table.add_row(row.engine, exit_text, *(f"{timing.median_ms:.3f}" for timing in row.timings))
    return table


def chain_table(measured: Profile) -> Table:
    """The chain itself against the sum of its engines."""
    from rich.table import Table

    table = Table(
        "samples leave", "batch", "rows at each stage", "chain ms", "p95", "Σ matrix ms", "chain ÷ Σ", "per stage"
    )
    for each in measured.chain:
        ran = sum(1 for size in each.sizes if size)
        beyond = 1000 * (each.timing.median_ms - each.matrix_ms) / ran
        table.add_row(
            each.exits,
            str(each.batch),
            " ".join(map(str, each.sizes)),
            f"{each.timing.median_ms:.3f}",
            f"{each.timing.p95_ms:.3f}",
            f"{each.matrix_ms:.3f}",
            f"{each.ratio:.3f}",
            f"{beyond:+.0f} µs",
        )
    return table
