"""The figures on the terminal, as CSV, as a page, and in docs/benchmarks.md."""

from __future__ import annotations

import csv
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.table import Table

from benchmarks.bench.quoted import EARLYON, SOURCE
from benchmarks.bench.result import Result
from benchmarks.markdown import table as markdown
from benchmarks.measures import Measure
from etbac.backends.onnxruntime_backend import thread_count
from etbac.profiles.device import processor
from etbac.report.html import document, element, section
from etbac.report.html import table as html_table
from etbac.report.style import CSS

DOCUMENT = Path("docs/benchmarks.md")
FIGURES = ("ratio", "low", "high", "mean_ms", "median_ms", "p90_ms")
COLUMNS = ("subject", "batch", "contender", *FIGURES, "batches", "accuracy")
TITLE = "Against every alternative"
CELL = "mean ÷ the full model's [95%], mean ms (p90)"
METHOD = (
    "Everybody answers the same batches, of random composition, in one process, with as many threads, in fp32 "
    "where the row says nothing else. A round gives each contender its turn, in an order drawn anew: four "
    "batches, after one that does not count (threads of the library before still spin, and caches are cold); one "
    "batch where the full model takes more than 0.1 s. A cell holds the mean latency ÷ the full model's on ONNX "
    "Runtime, with a 95% interval (bootstrap over rounds, paired), then the mean and, in brackets, the 90th "
    "percentile in milliseconds. Means, for a median would flatter exits: most batches of one sample leave at the "
    "first. Rows are in the order of their ratios at batch 16."
)
COMPARABLE = (
    "All rows of a table can be compared with each other: same machine, samples, threads. The three ways to leave "
    "early beside etbac have its exits and thresholds, and their answers are checked against its own; in them a "
    "batch goes on whole until its last sample is sure, which is the chance that compaction takes. A static cut "
    "and a smaller network answer differently: look at their accuracy. torch.compile is given every batch size to "
    "compile for itself. OpenVINO is held to fp32; left to itself it computes in bf16 where the processor can. "
    "Accuracy is of the first samples of the test set, which nothing was chosen by; their number stands with each "
    "table."
)


def cells(result: Result) -> tuple[list[str], list[list[str]]]:
    """The titles, and a row for each contender."""
    head = ["contender", "accuracy", *(f"batch {size}" for size in result.sizes)]
    rows = [
        [name, result.accuracy(name), *(_cell(result, size, name) for size in result.sizes)] for name in result.names
    ]
    return head, rows


def _cell(result: Result, size: int, name: str) -> str:
    found = result.figures(size).get(name)
    if found is None:
        return "–"
    ratio = f"{found['ratio']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
    return f"{ratio}, {found['mean_ms']:.2f} ({found['p90_ms']:.2f})"


def terminal(result: Result) -> Table:
    head, rows = cells(result)
    found = Table(*head, title=f"{result.name}: {result.about}", caption=CELL)
    for row in rows:
        found.add_row(*row)
    return found


def sentences(result: Result) -> list[str]:
    """What stands under a table."""
    absent = [f"Not there: {name}: {why}." for name, why in result.judged["absent"].items()]
    batches = ", ".join(f"{result.raced[size]['batches']:,} of {size}" for size in result.sizes)
    count = f"Batches timed of each: {batches}. Samples judged: {result.judged['samples']:,}."
    return [*result.standings(), count, *(f"{note}." for note in result.judged["notes"]), *absent]


def write_csv(results: Sequence[Result], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for result in results:
            for size in result.sizes:
                for name, found in result.figures(size).items():
                    figures = (f"{found[figure]:.5g}" for figure in FIGURES)
                    judged = result.judged["accuracy"].get(name)
                    writer.writerow((result.name, size, name, *figures, result.raced[size]["batches"], judged))


def write_html(results: Sequence[Result], measures: Sequence[Measure], path: Path) -> None:
    parts = [
        section(result.name.lower(), f"{result.name}: {result.about}", html_table(*cells(result)), *sentences(result))
        for result in results
    ]
    head = element("header", element("h1", TITLE), element("p", machine(), class_="quiet"))
    others = section("others", "Published elsewhere", f"{EARLYON} {SOURCE}")
    measured = section("measures", "Targets", element("ul", *(element("li", each) for each in measures)))
    method = section("method", "Method", METHOD, COMPARABLE)
    path.write_text(document(TITLE, CSS, head, *parts, others, measured, method))


def write_document(results: Sequence[Result], measures: Sequence[Measure], minutes: float) -> None:
    parts = [
        f"## {result.name}: {result.about}\n\n{markdown(*cells(result))}\n\n{_bullets(sentences(result))}"
        for result in results
    ]
    DOCUMENT.write_text(
        WORDS.format(
            minutes=minutes,
            machine=machine(),
            method=METHOD,
            comparable=COMPARABLE,
            parts="\n\n".join(parts),
            earlyon=EARLYON,
            source=SOURCE,
            measures=_bullets(map(str, measures)),
        )
    )


def machine() -> str:
    versions = ", ".join(f"{name} {_version(name)}" for name in ("onnxruntime", "openvino", "torch"))
    threads = thread_count()
    return (
        f"{processor()}, {threads} thread{'s' if threads > 1 else ''}; Python {platform.python_version()}, {versions}"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


WORDS = """# Against every alternative

Written by `make bench`: {minutes:.0f} minutes from kept checkpoints, on {machine}.
`results/bench.csv` has every figure.

{method}

{comparable}

{parts}

## Published elsewhere

{earlyon} ({source})

## Targets

{measures}
"""
