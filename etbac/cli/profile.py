"""`etbac profile`: measure the inference time matrix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from etbac.cli.common import Engines, Output, engine_dir_option, standard, which_engines
from etbac.cli.config import read_config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from etbac.profiles.profile import Profile
    from etbac.profiles.profiler import Sizes

RANDOM = "random weights"


def parse_sizes(context: click.Context, parameter: click.Parameter, text: str | None) -> Sizes | None:
    """As `parse_numbers`, or `adaptive`."""
    return "adaptive" if text == "adaptive" else parse_numbers(context, parameter, text)


def parse_numbers(context: click.Context, parameter: click.Parameter, text: str | None) -> Sequence[int] | None:
    """`1,2,4`, or `start:stop:step` (stop included where a step falls on it); else a usage error."""
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
        raise click.BadParameter(f"{text!r} holds no size, or one below 1")
    return sizes


@click.command("profile", epilog="Example: etbac profile --batch-sizes 1,8,32 --budget 60")
@click.argument("model", required=False)
@engine_dir_option
@click.option("--exits", default="all", show_default=True, help="With MODEL: its exits, all or blocks like 3,7,12.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    callback=read_config,
    is_eager=True,
    expose_value=False,
    help="A .toml or .json file with options: batch-sizes, max-batch, lengths, budget, dtype, backend, exits, "
    "model, …; also ETBA's batch_size_max, interval, device.",
)
@click.option("--max-batch", type=click.IntRange(min=1), help="Measure 1, 2, 4, … up to this size.  [default: 32]")
@click.option("--batch-sizes", callback=parse_sizes, help="Instead: 1,2,4, start:stop:step, or adaptive.")
@click.option(
    "--lengths",
    callback=parse_numbers,
    help="Sizes of the inputs' dynamic dimensions besides the batch, like 16,64,128.  [default: the samples']",
)
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
    model: str | None,
    engine_dir: Path,
    exits: str,
    max_batch: int | None,
    batch_sizes: Sizes | None,
    lengths: Sequence[int] | None,
    budget: float,
    engines: Engines,
) -> None:
    """Measure every engine, the full model and the whole chain, by batch size and length.

    Interrupted, it goes on where it was.

    With MODEL, a registered network like resnet50, a chain of it with random weights is compiled into the engine
    directory first: its latencies are real, its answers are not.
    """
    from etbac.profiles.profiler import profile

    if max_batch is not None and batch_sizes is not None:
        raise click.UsageError("--max-batch and --batch-sizes both say what to measure; give one of them")
    if model is not None:
        sizes = batch_sizes if isinstance(batch_sizes, tuple) else ()
        _compile_random(model, exits, engine_dir, max((max_batch or 1, *sizes)), engines, output)
    with output.progress() as progress:
        task = progress.add_task("measuring", total=100)
        measured = profile(
            engine_dir,
            batch_sizes=batch_sizes,
            max_batch=max_batch,
            lengths=lengths,
            budget_s=budget,
            progress=lambda done: progress.update(task, completed=int(100 * done)),
            note=output.note,
            **engines,
        )
    if measured.warning:
        output.note(f"warning: {measured.warning}")
    machine = measured.machine
    gpu = f"{machine['gpu']}, " if machine.get("gpu") else ""
    where = f"{measured.name} on {gpu}{machine['processor']}, {machine['cores']} cores; median milliseconds of a batch"
    switching = (
        f"between runs of other engines and sizes an engine takes {measured.switching:.2f} times what it takes again"
    )
    notes = [switching, *measured.slower]
    if (smallest := measured.batch_sizes[0]) > 1:
        notes.append(f"Σ matrix takes batch {smallest}'s latency for stages with fewer rows; measure smaller sizes too")
    output.result(measured.to_json(), where, matrix_table(measured), chain_table(measured), *notes)


def _compile_random(model: str, exits: str, engine_dir: Path, largest: int, engines: Engines, output: Output) -> None:
    """A registered network with random weights as an engine directory, for batches up to the `largest`, or more.

    A UsageError where the directory holds a chain of another origin.
    """
    from etbac.compiler import CompileOptions, EngineOptions, compile_model
    from etbac.compiler.compile import MAX_BATCH
    from etbac.engine_dir import EngineDir
    from etbac.engine_dir.names import MANIFEST
    from etbac.errors import UsageError
    from etbac.frontend.torch_export import from_module
    from etbac.models.named import random_network

    if (engine_dir / MANIFEST).exists() and EngineDir.open(engine_dir).manifest.source.get("kind") != RANDOM:
        raise UsageError(
            f"{engine_dir} holds a chain that {model} with random weights would replace: name another --engine-dir"
        )
    network, inputs = random_network(model, exits)
    source = {"path": model, "kind": RANDOM, "sha256": None}
    options = EngineOptions(engines["backend"] or "onnxruntime", engines["dtype"] or "fp32", calibration=inputs)
    compile_options = CompileOptions(engines=options, max_batch=max(MAX_BATCH, largest))
    example = {name: array[:2] for name, array in inputs.items()}
    compiled = compile_model(from_module(network, example, source), engine_dir, compile_options)
    count = len(compiled.engine_dir.manifest.exits)
    output.note(f"{model} with random weights and {count} exits, in {engine_dir}: its latency alone means something")


def matrix_table(measured: Profile) -> Table:
    """Engines down, each at every length where there are lengths, batch sizes across."""
    from rich.table import Table

    sizes, lengths = measured.batch_sizes, measured.lengths
    table = Table("engine", "exit", *(["length"] if lengths else []), *(f"batch {size}" for size in sizes))
    for row in (*measured.rows[:-1], *measured.pieces, *measured.beside, measured.rows[-1]):
        exit_text = str(row.exit_id) if row.exit_id else "–"
        if row is measured.rows[-1] or row in (*measured.pieces[:1], *measured.beside[:1]):
            table.add_section()
        cells = [f"{timing.median_ms:.3f}" for timing in row.timings]
        for place, length in enumerate(map(str, lengths)):
            table.add_row(row.engine, exit_text, length, *cells[place * len(sizes) : (place + 1) * len(sizes)])
        if not lengths:
            table.add_row(row.engine, exit_text, *cells)
    return table


def chain_table(measured: Profile) -> Table:
    """The chain itself against the sum of its engines."""
    from rich.table import Table

    point = ["batch", "length"] if measured.lengths else ["batch"]
    table = Table(
        "samples leave", *point, "rows at each stage", "chain ms", "p95", "Σ matrix ms", "chain ÷ Σ", "per stage"
    )
    for each in measured.chain:
        ran = sum(1 for size in each.sizes if size)
        beyond = 1000 * (each.timing.median_ms - each.matrix_ms) / ran
        table.add_row(
            each.exits,
            *map(str, each.point[: len(point)]),
            " ".join(map(str, each.sizes)),
            f"{each.timing.median_ms:.3f}",
            f"{each.timing.p95_ms:.3f}",
            f"{each.matrix_ms:.3f}",
            f"{each.ratio:.3f}",
            f"{beyond:+.0f} µs",
        )
    return table
