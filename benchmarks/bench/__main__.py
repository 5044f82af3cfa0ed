"""`make bench`: etbac against every alternative, on the same samples, in one run, wins and losses.

Rows are kept in results/bench.json until a source file or a checkpoint changes. Writes results/bench.csv and
results/bench.html, and docs/benchmarks.md where `QUICK` is not set: `QUICK=1` is smaller, and kept apart.
"""

from __future__ import annotations

import functools
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

import benchmarks
import etbac
from benchmarks.backends import chains, subjects
from benchmarks.bench import page, random_weights, trained
from benchmarks.bench.contenders import FULL, OURS, OURS_INT8, Field, field_of
from benchmarks.bench.judge import judge
from benchmarks.bench.options import FOLDER, HEADLINE, MINUTES
from benchmarks.bench.overhead import overhead
from benchmarks.bench.quoted import EARLYON
from benchmarks.bench.result import Result
from benchmarks.bench.subject import Spec, Subject
from benchmarks.bench.turns import race
from benchmarks.demo import CUT_IN_INT8
from benchmarks.demo import FULL as DEMO_FULL
from benchmarks.measures import Measure, at_least, at_most, conclude
from benchmarks.results.row import QUICK
from benchmarks.zoo.packages import install_missing
from benchmarks.zoo.store import Store, source_hash
from etbac.errors import one_line
from etbac.profiles.race import random_batches

STARTED = float(os.environ.get("ETBAC_STARTED", time.time()))
SOURCES = [Path(etbac.__file__).parent, *(Path(benchmarks.__path__[0], name) for name in ("bench", "backends"))]
ENDLESS = 1 << 40
DEMO = "ResNet-32"
OFF: dict[str, tuple[Callable[[], Any], float]] = {"MiniLM": (subjects.minilm, 2.0 if QUICK else 40.0)}
"""Chains with three exits, none of which fires, and seconds for them."""
if not QUICK:
    OFF["ResNet-50"] = (subjects.resnet50, 70.0)

console = Console(width=200, highlight=False, markup=False)
Row = dict[str, Any]


def main() -> int:
    install_missing()
    kept = Rows(Store(FOLDER / "bench.json", source_hash(SOURCES)))
    results = [measured(spec, kept) for spec in (trained.resnet32(), random_weights.resnet50(), trained.minilm())]
    off = {name: kept.get(f"off {name}", partial(chains.against_full, *made)) for name, made in OFF.items()}
    for result in results:
        console.print(page.terminal(result), *page.sentences(result), sep="\n")
    console.print(EARLYON)
    gates = [gate for result in results for gate in result.gates()]
    gates += [at_most(f"{name}: exits off, difference", row["difference"], 1e-4, ".1e") for name, row in off.items()]
    measures = [measure for name, row in off.items() for measure in chains.measures_of_chain(name, row)]
    measures += [measure for result in results for measure in result.measures()]
    measures += demo_measures(next(result for result in results if result.name == DEMO))
    minutes = (time.time() - STARTED) / 60
    measures.append(at_most("minutes", minutes, MINUTES, ".1f"))
    page.write_csv(results, FOLDER / "bench.csv")
    page.write_html(results, [*gates, *measures], FOLDER / "bench.html")
    if not QUICK:
        page.write_document(results, [*gates, *measures], minutes)
    return conclude(f"{'QUICK ' if QUICK else ''}make bench", gates, measures)


class Rows:
    """Finished work: found again, or made and kept unless it failed."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, name: str, make: Callable[[], Row]) -> Row:
        found = self._store.get(name)
        if found is None:
            console.print(f"{name} …")
            found = make()
            if not found.get("failed"):
                self._store.put(name, found)
        return found


def measured(spec: Spec, kept: Rows) -> Result:
    """The subject is made where a row of it is missing."""
    key = f"{spec.name} {spec.prepare()[:8]}"
    names = {size: f"{key}, batches of {size}" for size in spec.seconds}
    answers, outside = f"{key}, answers", f"{key}, outside engines"
    with ExitStack() as stack:

        @functools.cache
        def opened() -> tuple[Subject, Field]:
            console.print(f"{spec.name}: making what is raced …")
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            subject = spec.open(stack)
            return subject, field_of(subject, scratch, spec.compiles)

        judged = kept.get(answers, lambda: judge(*opened()))
        costs = kept.get(outside, lambda: {str(size): _outside(opened()[0], size) for size in spec.seconds})
        rows = {size: kept.get(name, partial(_raced, spec, opened, size)) for size, name in names.items()}
    failed = [row["failed"] for row in rows.values() if row.get("failed")]
    raced = {size: row for size, row in rows.items() if not row.get("failed")}
    by_size = {int(size): row for size, row in costs.items()}
    return Result(spec.name, spec.about, spec.is_real, judged, raced, by_size, failed)


def _outside(subject: Subject, size: int) -> Row:
    return overhead(subject.chain, subject.limits, random_batches(subject.inputs, size, ENDLESS, seed=size))


def _raced(spec: Spec, opened: Callable[[], tuple[Subject, Field]], size: int) -> Row:
    subject, field = opened()
    batches = random_batches(subject.inputs, size, ENDLESS, seed=size)
    try:
        raced = race(field.answers, batches, spec.seconds[size], FULL)
    except Exception as error:  # of whichever library: the other sizes go on, and the verdict says it
        return {"failed": f"batches of {size}: {one_line(error)[:300]}"}
    return {"batches": len(raced.timings.seconds[FULL]), "figures": raced.figures(FULL)}


def demo_measures(result: Result) -> list[Measure]:
    """By how much the mean latency is below the full model's on ONNX Runtime."""
    if HEADLINE not in result.raced:
        return []
    figures = result.figures(HEADLINE)
    recipe = trained.demo_recipe().name
    goals = {OURS: DEMO_FULL.cut, OURS_INT8: CUT_IN_INT8}
    return [
        at_least(
            f"{DEMO} of {recipe}, {name}: mean latency below the full model's", 1 - figures[name]["ratio"], goal, ".3f"
        )
        for name, goal in goals.items()
        if name in figures
    ]


if __name__ == "__main__":
    sys.exit(main())
