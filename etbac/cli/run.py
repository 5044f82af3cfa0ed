"""`etbac run`: inputs through the chain, with each sample's answer, exit and confidence."""

from __future__ import annotations

import time
from pathlib import Path

import click

from etbac.cli import answers
from etbac.cli.common import Engines, Output, engine_dir_option, standard, which_engines
from etbac.engine_dir import clear_leftovers
from etbac.errors import EngineDirError, UsageError
from etbac.runtime.certificate import standing
from etbac.runtime.chain import Chain, load
from etbac.runtime.exits import Thresholds
from etbac.runtime.results import Result, join
from etbac.runtime.sources import Source, open_source
from etbac.runtime.trace import UNTRACED, Tracer

NO_PLAN = "no plan: every sample takes the whole chain; run `etbac plan --precision 0.9968`"


def parse_threshold(context: click.Context, parameter: click.Parameter, text: str | None) -> Thresholds:
    """`0.8`, `off`, or by exit id `3=0.9,7=0.8`."""
    if text is None:
        return None
    if text == "off":
        return "off"
    try:
        if "=" not in text:
            return float(text)
        pairs = [part.split("=") for part in text.split(",")]
        return {int(exit_id): float(threshold) for exit_id, threshold in pairs}
    except ValueError:
        raise click.BadParameter(f"{text!r}: write a number, numbers by exit like 3=0.9,7=0.8, or off") from None


@click.command("run", epilog="Example: etbac run --engine-dir engines --input photos/ --output answers.npz")
@engine_dir_option
@click.option(
    "--input",
    "path",
    type=click.Path(path_type=Path),
    help="An .npy or .npz file, or by the model a folder of pictures or sounds or a file of texts; by default "
    "the directory's samples.",
)
@click.option(
    "--output",
    "target",
    type=click.Path(path_type=Path),
    help="An .npz file for the answers: prediction, exit_id, exit, confidence.",
)
@click.option(
    "--trace",
    "traced",
    type=click.Path(path_type=Path),
    help="A file for what ran when, which ui.perfetto.dev and chrome://tracing open.",
)
@click.option("--batch-size", type=click.IntRange(min=1), help="Rows to a batch; by default the largest compiled for.")
@click.option(
    "--threshold",
    "thresholds",
    callback=parse_threshold,
    help="0.8 at all exits, 3=0.9,7=0.8 by exit, or off; by default the plan's.",
)
@standard
@which_engines
def cli(
    engine_dir: Path,
    path: Path | None,
    target: Path | None,
    traced: Path | None,
    batch_size: int | None,
    thresholds: Thresholds,
    engines: Engines,
    output: Output,
) -> None:
    """Run inputs through the chain: every sample's prediction, exit and confidence, and how long the batches took."""
    for option, path_of in (("--output", target), ("--trace", traced)):
        if path_of is not None and not path_of.absolute().parent.is_dir():
            raise UsageError(f"{option} {path_of}: there is no folder {path_of.parent}")
    trace = None if traced is None else Tracer()
    with load(engine_dir, **engines) as chain:
        clear_leftovers(chain.engine_dir)
        source = open_source(chain.engine_dir, path)
        result, seconds = run_batches(chain, source, batch_size or chain.manifest.max_batch, thresholds, trace)
        certified = standing(chain, thresholds)
        from_elsewhere = chain.plan is not None and not _profiled_here(chain)
    if chain.note:
        output.note(chain.note)
    if chain.plan is None and thresholds is None:
        output.note(NO_PLAN)
    if from_elsewhere:
        output.note(
            f"no profile of {chain.backend}-{chain.device}-{chain.dtype} on this machine: the plan's exits and sizes, "
            "and the latency that it predicts, may be another's; run `etbac profile`"
        )
    if note := source.note():
        output.note(note)
    if target is not None:
        answers.write(result, target)
    if trace is not None and traced is not None:
        trace.write(traced)

    latency = answers.latency_ms(seconds)
    shares = answers.exit_shares(chain.ids, result)
    rows = answers.rows(chain.manifest.task, source.names, result)
    engines_used = {"backend": chain.backend, "device": chain.device, "dtype": chain.dtype, "note": chain.note}
    payload = {"rows": source.rows, "batches": len(seconds), "latency_ms": latency, "exits": shares, **engines_used}
    output.result(
        {**payload, **vars(certified), "samples": rows},
        answers.row_table(rows),
        answers.exit_table(shares),
        answers.latency_line(latency, len(seconds)),
        answers.certificate_line(certified),
    )


def _profiled_here(chain: Chain) -> bool:
    from etbac.profiles.stored import read

    try:
        return read(chain) is not None
    except EngineDirError:  # it has changed, or a new one is being written
        return False


def run_batches(
    chain: Chain, source: Source, batch_size: int, thresholds: Thresholds = None, trace: Tracer | None = None
) -> tuple[Result, list[float]]:
    """All rows' answers, and the seconds from each batch's call to its last answer."""
    results, seconds = [], []
    told = trace or UNTRACED
    began = told.now()
    for batch in source.batches(batch_size):
        told.host("read inputs", began)
        start = time.perf_counter()
        results.append(chain.run(batch, thresholds, trace=trace))
        seconds.append(time.perf_counter() - start)
        began = told.now()
    return join(results), seconds
