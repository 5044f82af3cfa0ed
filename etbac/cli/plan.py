"""`etbac plan`: choose exits and thresholds at a precision, and certify them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etbac.cli.common import (
    Engines,
    Output,
    demand_options,
    engine_dir_option,
    fast_at_option,
    metric_option,
    precision_option,
    standard,
    uncertified_option,
    which_engines,
)

if TYPE_CHECKING:
    from rich.table import Table

    from etbac.contract import Plan


@click.command("plan", epilog="Example: etbac plan --precision 0.9968 --batch-size 16")
@engine_dir_option
@precision_option
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="An .npz file of inputs by name and labels, or the data set's folder.  [default: as the checkpoint recorded]",
)
@metric_option
@fast_at_option
@click.option("--front", is_flag=True, help="Show the plans that trade precision for latency, too.")
@demand_options
@uncertified_option
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Splits an .npz file into search and certify set; readings are counted by the whole file, whatever the seed.",
)
@standard
@which_engines
def cli(
    output: Output,
    engine_dir: Path,
    precision: float,
    data: Path | None,
    metric: str | None,
    batch_size: int | None,
    front: bool,
    uncertified: bool,
    seed: int,
    engines: Engines,
    **demands: Any,
) -> None:
    """Choose exits and their thresholds on the search set and certify the precision once on the certify set."""
    from etbac.planner.plan import plan

    with output.bars() as bar:
        made = plan(
            engine_dir,
            precision,
            data=data,
            metric=metric,
            batch_size=batch_size,
            uncertified=uncertified,
            seed=seed,
            note=output.note,
            bar=bar,
            **demands,
            **engines,
        )
    fronts = [front_table(made)] if front else []
    output.result(made.to_json(), exits_table(made), latency_table(made), *fronts, *sentences(made))


def exits_table(made: Plan) -> Table:
    """Each exit's threshold, the share of samples that leave there, and how good it is alone."""
    from rich.table import Table

    search = made.search
    exits = [int(exit_id) for exit_id in search["exits"] if exit_id != "0"]
    table = Table("exit", "threshold", "samples leave", f"{search['metric']} alone")
    for exit_id in exits:
        threshold = made.thresholds.get(exit_id)
        table.add_row(
            str(exit_id),
            "not used" if threshold is None else f"{threshold:.4f}",
            f"{search['shares'][str(exit_id)]:.1%}",
            f"{search['exits'][str(exit_id)]:.4f}",
        )
    table.add_row("end", "", f"{search['shares']['0']:.1%}", f"{search['exits']['0']:.4f}")
    return table


def latency_table(made: Plan) -> Table:
    """Predicted milliseconds of a batch: the chain, everybody at one exit, the full model."""
    from rich.table import Table

    cut = made.search["static_cut"]
    alone = "with these exits alone ms"
    table = Table("batch", "chain ms", alone, "full model ms", "chain is lower by", "best static cut ms")
    for size, row in made.predicted.items():
        saved = 1 - row["chain_ms"] / row["full_ms"]
        static = "–" if cut is None else f"{cut['predicted'][str(size)]:.3f} (exit {cut['exit_id']})"
        figures = (f"{row[name]:.3f}" for name in ("chain_ms", "rebuilt_ms", "full_ms"))
        table.add_row(str(size), *figures, f"{saved:.1%}", static)
    return table


def front_table(made: Plan) -> Table:
    """Plans of the search set, from the most cautious to the boldest; nothing here is certified."""
    from rich.table import Table

    table = Table("exits", "precision on the search set", "predicted ms", title="front")
    for row in made.search["front"]:
        precision = "–" if row["precision"] is None else f"{row['precision']:.4f}"
        table.add_row(", ".join(row["thresholds"]) or "none", precision, f"{row['predicted_ms']:.3f}")
    return table


def sentences(made: Plan) -> list[str]:
    """What is certified, or why nothing is; and where exits don't pay."""
    from etbac.planner.words import amount, scored

    search, certificate = made.search, made.certificate
    ratio = "–" if search["precision"] is None else f"{search['precision']:.4f}"
    lines = [
        f"on the search set ({search['n']:,} samples): precision {ratio}, "
        f"{amount(search['harms'])} lost, {amount(search['repairs'])} repaired"
    ]
    if certificate is None:
        lines.append(f"{'' if made.estimate else 'not certified: '}{made.reason}")
    else:
        units = "" if certificate["units"] is None else f" of {certificate['units']:,} units"
        lines.append(
            f"certified: precision ≥ {made.precision:g} at {100 * (1 - certificate['level']):.4g}% confidence "
            f"({certificate['test']} test: of {certificate['samples']:,} samples{units}, {scored(certificate['n'])}, "
            f"{amount(certificate['harms'])} are lost and {amount(certificate['repairs'])} repaired; reading "
            f"{certificate['reading']} of these data, whose readings all hold together at "
            f"{100 * (1 - certificate['levels_summed']):.4g}%)"
        )
    most = "" if search["most_ms"] is None else f" ({search['most_ms']:.3f} ms was allowed)"
    lines.append(f"predicted p99 at batch {search['batch_size']}: {search['p99_ms']:.3f} ms{most}")
    if search.get("head_bytes") is not None:
        taken, allowed = (search[name] / 1_000_000 for name in ("head_bytes", "most_head_bytes"))
        lines.append(f"weights of these exits' heads: {taken:.3f} MB ({allowed:g} MB were allowed)")
    if search["worst_class"] is not None:
        worst = search["worst_class"]
        lines.append(f"worst class on the search set: {worst['class']}, precision {worst['precision']:.4f}")
    return [*lines, *padding_sentence(made), *_verdicts(made)]


def padding_sentence(made: Plan) -> list[str]:
    """One, where batches are padded."""
    stages = [f"{_stage(exit_id)} {_ranges(sizes)}" for exit_id, sizes in made.padding.items()]
    return [f"padded, as the larger batch is faster: {'; '.join(stages)}"] if stages else []


def _stage(exit_id: int) -> str:
    return f"exit {exit_id}'s stage" if exit_id else "the last stage"


def _ranges(sizes: Mapping[int, int]) -> str:
    """3→4, 5–7→8."""
    parts = []
    for (rows, _), run in groupby(enumerate(sizes), lambda each: (sizes[each[1]], each[1] - each[0])):
        first, *rest = (reach for _, reach in run)
        parts.append(f"{f'{first}–{rest[-1]}' if rest else first}→{rows}")
    return ", ".join(parts)


def _verdicts(made: Plan) -> list[str]:
    """Where a simpler answer is as good."""
    if not made.thresholds:
        return ["the best plan is no exit: every sample takes the whole chain, or use the full model"]
    search = made.search
    last = str(max(made.thresholds, key=list(map(int, search["exits"])).index))
    lines = []
    if len(made.thresholds) == 1 and search["shares"][last] == 1:
        lines.append(f"the best plan is a static cut: on the search set every sample leaves at exit {last}")
    predicted = made.predicted.get(search["batch_size"])
    if predicted is None:
        return lines
    if predicted["rebuilt_ms"] >= predicted["full_ms"]:
        lines.append("the full model alone is predicted to be faster than this chain")
    cut = search["static_cut"]
    if cut is not None and cut["predicted"][str(search["batch_size"])] < predicted["rebuilt_ms"]:
        lines.append(f"a static cut, everybody at exit {cut['exit_id']}, is predicted to be faster than this chain")
    return lines
