"""`etbac report`: a page about an engine directory."""

from __future__ import annotations

from pathlib import Path

import click

from etbac.cli.common import Engines, Output, engine_dir_option, standard, which_engines


@click.command("report", epilog="Example: etbac report --batches 2000")
@engine_dir_option
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="An .npz file of inputs by name and labels, or the data set's folder.  [default: as the checkpoint recorded]",
)
@click.option("--out", type=click.Path(path_type=Path), help="The page.  [default: report.html in the directory]")
@click.option(
    "--batches", type=int, default=300, show_default=True, help="Batches to measure; the page has p99 from 2000 on."
)
@click.option("--plots", type=click.Path(path_type=Path), help="A folder for the plots, as SVG and PNG.")
@standard
@which_engines
def cli(
    output: Output,
    engine_dir: Path,
    data: Path | None,
    out: Path | None,
    batches: int,
    plots: Path | None,
    engines: Engines,
) -> None:
    """Write one HTML page: latency, precision and what is certified, exits, harm, matrix; no network, no script."""
    from etbac.planner.race import CHAIN, FULL
    from etbac.report import report

    with output.bars() as bar:
        path, figures = report(
            engine_dir, data=data, out=out, batches=batches, plots=plots, note=output.note, bar=bar, **engines
        )
    chain, full = (1e3 * figures.timings.mean(name) for name in (CHAIN, FULL))
    payload = {
        "report": path,
        "plots": plots,
        "batch": figures.batch,
        "chain_ms": chain,
        "full_ms": full,
        "certified": figures.standing.certified,
    }
    output.result(payload, f"{path}: a batch of {figures.batch} takes {chain:.3g} ms, the full model {full:.3g} ms")
