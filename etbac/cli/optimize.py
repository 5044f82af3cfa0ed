"""`etbac optimize`: from a model to a certified chain of the exits that pay."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etbac.cli.common import (
    Output,
    demand_options,
    engine_dir_option,
    fast_at_option,
    metric_option,
    precision_option,
    standard,
    uncertified_option,
)
from etbac.cli.request import Request, takes_model

if TYPE_CHECKING:
    from rich.table import Table

    from etbac.compiler.optimize import Optimized


@click.command("optimize", epilog="Example: etbac optimize resnet.pt --precision 0.9968")
@takes_model
@engine_dir_option
@precision_option
@metric_option
@fast_at_option
@demand_options
@uncertified_option
@click.option(
    "--budget", type=click.FloatRange(min=0, min_open=True), default=20.0, show_default=True, help="Seconds a profile."
)
@click.option(
    "--batches",
    type=click.IntRange(min=25),
    default=400,
    show_default=True,
    help="Raced against the full model at the end; a p99 takes 2000.",
)
@standard
def cli(
    output: Output,
    request: Request,
    engine_dir: Path,
    precision: float,
    metric: str | None,
    batch_size: int | None,
    uncertified: bool,
    budget: float,
    batches: int,
    **demands: Any,
) -> None:
    """Compile MODEL, measure it, keep the exits that pay, certify them once, and race the chain.

    The certify set is read once, on the chain as it is rebuilt. Exit status 1 where the precision cannot be certified.
    """
    from etbac.compiler.optimize import optimize_model

    with output.bars() as bar:
        made = optimize_model(
            request.read,
            engine_dir,
            precision,
            data=request.planning_data,
            metric=metric,
            batch_size=batch_size,
            budget_s=budget,
            uncertified=uncertified,
            batches=batches,
            note=output.note,
            bar=bar,
            **demands,
        )
    output.result(_payload(made), _table(made), *_sentences(made))


def _payload(made: Optimized) -> dict[str, Any]:
    return {
        "engine_dir": str(made.compiled.engine_dir.path),
        "tried": list(made.tried),
        "exits": list(made.compiled.engine_dir.manifest.exits),
        "figures": made.figures,
        "static_cut": made.first.search["static_cut"],
        "plan": made.plan.to_json(),
    }


def _table(made: Optimized) -> Table:
    from rich.table import Table

    figures, size = made.figures, made.plan.search["batch_size"]
    table = Table(f"batches of {size}, ms", "predicted", "measured", "÷ full model", "p90 ÷ full", "p99 ÷ full")
    full, cut = made.full_ms, figures["static_cut_ms"]
    table.add_row(
        "chain",
        _number(figures["predicted_ms"]),
        _number(figures["measured_ms"]),
        _number(figures["ratio"]),
        _number(figures["p90_ratio"]),
        _number(figures["p99_ratio"]),
    )
    table.add_row("full model", _number(full), _number(figures["full_ms"]), "1.000", "1.000", "1.000")
    if cut is not None:
        exit_id = made.first.search["static_cut"]["exit_id"]
        ratio = None if full is None else cut / full
        table.add_row(f"best static cut, exit {exit_id} (not certified)", _number(cut), "–", _number(ratio), "–", "–")
    return table


def _sentences(made: Optimized) -> list[str]:
    plan, exits = made.plan, made.compiled.engine_dir.manifest.exits
    search, certificate = plan.search, plan.certificate
    ratio = "–" if search["precision"] is None else f"{search['precision']:.4f}"
    if certificate is None:
        certified = f"{'' if plan.estimate else 'not certified: '}{plan.reason}"
    else:
        certified = f"certified ≥ {plan.precision:g} at {100 * (1 - certificate['level']):.4g}% confidence"
        if certificate["reading"] > 1:
            together = f"{100 * (1 - certificate['levels_summed']):.4g}%"
            certified += f" (reading {certificate['reading']} of these data; all hold together at {together})"
    bound = made.figures["p99_ratio_bound"]
    tail = f"; upper 95% bound of p99 ÷ full model {bound:.3f}" if bound is not None else ""
    tried = ", ".join(map(str, made.tried))
    kept = f"exits {', '.join(map(str, exits))} of {tried} tried"
    if exits and (made.figures["ratio"] or 0) > 1:
        kept += "; slower than the full model here, which Chain.full runs: larger batches (--batch-size) gain more"
    return [
        kept if exits else f"no exit pays, of {tried} tried: the chain is the full model alone",
        f"precision {ratio} on the search set; {certified}",
        f"{made.figures['batches']:,} batches of each, alternating{tail}",
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
