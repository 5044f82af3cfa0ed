"""`make bench-plan`: the planner's guarantee, its plans, its predictions and the monitor, measured.

Parts that are done are kept in `results/bench-plan` until a source file changes; names of parts given as arguments run
those alone. What `make demo-full` has measured is counted in where it has run.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

import etbac
from benchmarks import demo
from benchmarks.measures import Measure, at_most, conclude
from benchmarks.plan import baselines, drift, exhaustive, guarantee, populations, predicted
from benchmarks.plan.populations import FASHION_MNIST, FOLDER, PLANNED, WORDNET
from benchmarks.zoo.store import Store, source_hash
from etbac.planner.search import THOROUGH
from etbac.runtime.chain import load

STARTED = float(os.environ.get("ETBAC_STARTED", time.time()))
MINUTES = 15.0
ROUNDS = {FASHION_MNIST: (35.0, 12), WORDNET: (50.0, 4)}
"""Seconds of the prediction's measurement, and batches of each size a round."""
SIGMAS = (0.0, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 1.0)
LARGE = (33, 10_000)
"""Exits and samples for which the planner's seconds are measured."""

console = Console(width=160, highlight=False)
Row = dict[str, Any]


@dataclass(frozen=True)
class Shown:
    """Tables, what must hold, and targets."""

    tables: Sequence[Any]
    gates: Sequence[Measure]
    measures: Sequence[Measure]


@dataclass(frozen=True)
class Part:
    """`run` gives a row, as JSON has it. `needs`: files without which the row is worth nothing."""

    name: str
    run: Callable[[], Row]
    needs: Sequence[Path] = ()


def main(names: Sequence[str]) -> int:
    """Run the parts that are not done, show all, and return the exit status: 1 where something did not hold."""
    parts = {part.name: part for part in all_parts()}
    unknown = [name for name in names if name not in parts]
    if unknown:
        console.print(f"there is no part {unknown[0]!r}; there are {', '.join(parts)}")
        return 2
    here = Path(__file__).parent
    store = Store(FOLDER / "rows.json", source_hash([Path(etbac.__file__).parent, here]))
    rows = {name: _row(part, store) for name, part in parts.items() if name in names or not names}
    shown = [show(rows) for show in (_plans, _guarantee, _predictions, _drift)]
    for table in (table for each in shown for table in each.tables):
        console.print(table)
    gates = [gate for each in shown for gate in each.gates]
    minutes = at_most("minutes, installation included", (time.time() - STARTED) / 60, MINUTES, ".1f")
    measures = [measure for each in shown for measure in each.measures]
    return conclude("make bench-plan", gates, [*measures, *_demo_full(), minutes])


def all_parts() -> list[Part]:
    recording = [
        Part(FASHION_MNIST, _nothing_but(populations.fashion_mnist), populations.files(FASHION_MNIST)),
        Part(WORDNET, _nothing_but(populations.wordnet), populations.files(WORDNET)),
    ]
    names = (FASHION_MNIST, WORDNET)
    return [
        *recording,
        *(Part(f"predicted, {name}", partial(_predict, name)) for name in names),
        *(Part(f"plans, {name}", partial(_compare, name)) for name in names),
        Part("seconds", _seconds),
        Part("drift", _watch),
        *(
            Part(f"guarantee, {name}, {n}, {precision}", partial(_repeat, name, n, precision))
            for name in (*names, "synthetic")
            for n, precision in guarantee.CELLS
        ),
    ]


def _row(part: Part, store: Store) -> Row:
    done = store.get(part.name)
    if done is not None and all(path.exists() for path in part.needs):
        print(f"{part.name}: done before, on these sources", flush=True)
        return done
    print(f"… {part.name}", flush=True)
    store.put(part.name, row := part.run())
    return row


def _nothing_but(record: Callable[[], None]) -> Callable[[], Row]:
    def run() -> Row:
        record()
        return {}

    return run


def _population(name: str) -> guarantee.Population:
    return populations.synthetic() if name == "synthetic" else populations.recorded(name)


def _predict(name: str) -> Row:
    with populations.planned(name) as (chain, samples):
        return {"found": [asdict(each) for each in predicted.predicted(name, chain, samples, *ROUNDS[name])]}


def _compare(name: str) -> Row:
    population = _population(name)
    rivals = baselines.compare(population.statistics, population.matrix, population.batch, population.precision)
    return {
        "full_ms": population.matrix.full_at(population.batch),
        "rivals": [asdict(rival) for rival in rivals],
        "exhaustive": [asdict(each) for each in exhaustive.compare(population)],
    }


def _seconds() -> Row:
    exits, samples = LARGE
    large = guarantee.made_up("large", populations.PRECISION, "betting", exits, samples)
    begun = time.perf_counter()
    large.choices(large.statistics, large.prices(samples), (1.0, 0.5), THOROUGH).fastest(large.precision)
    return {"seconds": time.perf_counter() - begun}


def _watch() -> Row:
    with load(PLANNED[FASHION_MNIST]) as chain:
        test = drift.load_test_set(chain, demo.DEMO.checkpoint)
        grades, clean = drift.graded(chain, test, SIGMAS)
        alarms = drift.false_alarms(FASHION_MNIST, clean, drift.thresholds_of(chain))
    return {"grades": [asdict(grade) for grade in grades], "alarms": asdict(alarms)}


def _repeat(name: str, n: int, precision: float) -> Row:
    return asdict(guarantee.repeat(_population(name).at(precision), n))


def _plans(rows: dict[str, Row]) -> Shown:
    tables, compared, seconds = [], [], rows.get("seconds")
    for name, row in _of(rows, "plans"):
        rivals = [baselines.Rival(**rival) for rival in row["rivals"]]
        tables.append(baselines.table(rivals, row["full_ms"], name))
        compared += [exhaustive.Compared(**each) for each in row["exhaustive"]]
    if compared:
        tables.append(exhaustive.table(compared))
    exits, samples = LARGE
    what = f"planner's seconds for {exits} exits and {samples:,} samples"
    within = [at_most(what, seconds["seconds"], exhaustive.MOST_SECONDS, ".1f")] if seconds else []
    return Shown(tables, [], [*(exhaustive.measures(compared) if compared else []), *within])


def _guarantee(rows: dict[str, Row]) -> Shown:
    cells = [
        guarantee.Cell(**{**row, "draws": [guarantee.Draw(**draw) for draw in row["draws"]]})
        for _, row in _of(rows, "guarantee")
    ]
    return Shown([guarantee.table(cells)] if cells else [], guarantee.gates(cells), guarantee.measures(cells))


def _predictions(rows: dict[str, Row]) -> Shown:
    found = [predicted.Predicted(**each) for _, row in _of(rows, "predicted") for each in row["found"]]
    return Shown([predicted.table(found)] if found else [], [], predicted.measures(found))


def _drift(rows: dict[str, Row]) -> Shown:
    row = rows.get("drift")
    if row is None:
        return Shown([], [], [])
    grades, alarms = [drift.Grade(**grade) for grade in row["grades"]], [drift.FalseAlarms(**row["alarms"])]
    tables = [drift.false_alarms_table(alarms), drift.blur_table(grades)]
    return Shown(tables, drift.gates(alarms, grades), drift.measures(grades))


def _of(rows: dict[str, Row], kind: str) -> list[tuple[str, Row]]:
    return [(name.removeprefix(f"{kind}, "), row) for name, row in rows.items() if name.startswith(f"{kind}, ")]


def _demo_full() -> list[Measure]:
    """What `make demo-full` has measured, each under its name."""
    results = demo.results_of(demo.FULL)
    found = json.loads(results.read_text()) if results.is_file() else {}
    if found.get("sources") != source_hash([Path(etbac.__file__).parent]):
        return [Measure("make demo-full's measures", "met", "it has not run here on these sources", False)]
    return [Measure(**each) for each in found["measures"]]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
