"""`make results`: exits for every task trained on small real data, and what they are worth.

Each row trains, then optimises: the chain that is certified (or not, and the row says so) is raced against the full
model and the best static cut. Checkpoints are kept in results/tasks, and rows in results/tasks.json until a source file
changes. `QUICK=1`: fewer samples and epochs, kept apart. Names after the module: these rows alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

import benchmarks
import etbac
from benchmarks.measures import Measure, at_least, at_most, conclude
from benchmarks.results import cutouts, figures, garments, imagenet, sounds, texts
from benchmarks.results.cost import Cost, measure
from benchmarks.results.make import PRECISION, made
from benchmarks.results.page import GOAL, shortfalls, table, write
from benchmarks.results.row import FOLDER, QUICK
from benchmarks.zoo.packages import install_missing
from benchmarks.zoo.store import Store, source_hash

SOURCES = [Path(etbac.__file__).parent, Path(benchmarks.__path__[0], "results")]
ROWS = (texts.row, sounds.row, garments.row, imagenet.row, cutouts.row, figures.row)
MANY_GOAL, MANY = 0.60, 2

console = Console(width=200, highlight=False)


def main() -> int:
    install_missing()
    asked = sys.argv[1:]
    rows = [row for make in ROWS if (row := make()).name in asked or not asked]
    store = Store(FOLDER.with_suffix(".json"), source_hash(SOURCES))
    results = [_kept(store, row.name, row.about, partial(made, row, FOLDER / row.name)) for row in rows]
    console.print(table(rows, results), *shortfalls(rows, results), sep="\n")
    measures = [
        each
        for row, result in zip(rows, results, strict=True)
        for each in (
            at_least(f"{row.name}: mean latency below the full model's", 1 - result["ratio"], GOAL, ".3f"),
            at_least(f"{row.name}: precision on the test set", result["precision"], float(PRECISION), ".4f"),
        )
    ]
    if not asked:
        many = sum(result["ratio"] <= 1 - MANY_GOAL for result in results)
        measures.append(Measure(f"rows with a cut of {MANY_GOAL:.0%}", f"≥ {MANY}", str(many), many >= MANY))
        cost = Cost(**_kept(store, "cost", "what training exits costs", lambda: measure().to_json()))
        measures += [
            at_most("an epoch of four exits ÷ a forward pass", cost.epoch, 1.3, ".2f"),
            at_least("two processes ÷ one", cost.together, 1.6, ".2f"),
            at_most("largest difference of their losses", cost.apart, 1e-3, ".1e"),
        ]
        minutes = sum(sum(result["minutes"]) for result in results)
        measures.append(at_most("minutes", minutes, 10 if QUICK else 100, ".0f"))
    if not asked and not QUICK:
        write(rows, results, cost, minutes)
    return conclude(f"{'QUICK ' if QUICK else ''}make results", [], measures)


def _kept(store: Store, name: str, about: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The row as it was kept, or made now."""
    found = store.get(name)
    if found is None:
        print(f"{name}: {about} …", flush=True)
        found = work()
        store.put(name, found)
    return found


if __name__ == "__main__":
    sys.exit(main())
