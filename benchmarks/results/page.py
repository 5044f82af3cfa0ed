"""The rows as a table, on the terminal and in docs/results.md."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.markdown import table as markdown
from benchmarks.results.cost import Cost
from benchmarks.results.make import BATCHES, PRECISION
from benchmarks.results.row import Row

COLUMNS = (
    *("task", "what", "leave at", "mean ÷ full", "static cut ÷ full", "p90 ÷ full", "p99 ÷ full"),
    *("metric", "full model", "chain", "precision", "certified", "minutes"),
)
PAGE = Path("docs/results.md")
GOAL = 0.40
"""By which the chain's mean latency is to be below the full model's."""


def cells(row: Row, result: Mapping[str, Any]) -> list[str]:
    return [
        row.name,
        row.about,
        result["shares"],
        f"{result['ratio']:.3f}",
        "none passes" if result["cut_ratio"] is None else f"{result['cut_ratio']:.3f}",
        f"{result['p90_ratio']:.3f}",
        f"{result['p99_ratio']:.3f}",
        result["metric"],
        f"{result['full']:.4f}",
        f"{result['chain']:.4f}",
        f"{result['precision']:.4f}",
        f"≥ {PRECISION}" if result["plan"]["certified"] else f"no: {row.uncertified or result['plan']['reason']}",
        " + ".join(f"{each:.1f}" for each in result["minutes"]),
    ]


def table(rows: Sequence[Row], results: Sequence[Mapping[str, Any]]) -> Table:
    found = Table(*COLUMNS)
    for row, result in zip(rows, results, strict=True):
        found.add_row(*cells(row, result))
    return found


def shortfalls(rows: Sequence[Row], results: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each row that saves less than GOAL."""
    missed = [row for row, result in zip(rows, results, strict=True) if result["ratio"] > 1 - GOAL]
    return [f"{row.name} saves less than {GOAL:.0%}: {row.short or 'nobody knows why yet'}." for row in missed]


def write(rows: Sequence[Row], results: Sequence[Mapping[str, Any]], cost: Cost, minutes: float) -> None:
    """docs/results.md."""
    lines = markdown(COLUMNS, [cells(row, result) for row, result in zip(rows, results, strict=True)])
    figures = {"batches": f"{BATCHES:,}", "minutes": minutes, **cost.to_json()}
    short = "".join(f"\n- {sentence}" for sentence in shortfalls(rows, results))
    PAGE.write_text(WORDS.format(table=lines, short=short, commands=_commands(results), **figures))


def _commands(results: Sequence[Mapping[str, Any]]) -> str:
    """As they are given in the repository's folder."""
    lines = [shlex.join(result[name]) for result in results for name in ("train", "optimize")]
    return "\n".join(lines).replace(f"{Path.cwd()}/", "")


WORDS = """# Results

Written by `make results`, which makes the data, trains, optimises and races every row: {minutes:.0f} minutes.
All figures but what is certified are of the test set, which nothing was chosen by. Latency is the mean of {batches}
batches of 16 of random composition; chain, full model and best static cut in turn. *Precision* is the chain's metric ÷
the full model's; *certified* is what holds at 95% confidence by samples kept apart, and says why where nothing does.
*Minutes*: data and training + optimising and racing. *Agreement* is with the full model's own answers: not accuracy.

{table}
{short}

An epoch of four exits on a frozen ResNet-32 takes {epoch:.2f} × its forward pass over the same pictures (later epochs
read what the first has kept). Two processes of one thread each train {together:.2f} × as fast as one with twice the
batch, and their losses differ by no more than {apart:.1e}.

## Commands

```
{commands}
```
"""
