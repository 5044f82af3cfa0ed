"""`make results`: exits for every task trained on small real data, and what they are worth.

Each row trains, then optimises: the chain that is certified (or not, and the row says so) is raced against the full
model. Checkpoints are kept in results/tasks, and rows in results/tasks.json until a source file changes. `QUICK=1`:
fewer samples and epochs, kept apart. Names after the module: these rows alone.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measures import Measure, at_least, conclude
from benchmarks.results import garments, sounds, texts
from benchmarks.results.row import QUICK, Row
from benchmarks.zoo.packages import install_missing
from benchmarks.zoo.store import Store, source_hash
from etbac.metrics import metric as find_metric
from etbac.planner.collect import collect
from etbac.planner.samples import load_recorded
from etbac.runtime.chain import load

FOLDER = Path("results/quick" if QUICK else "results") / "tasks"
PRECISION = "0.9968"
BATCHES = 100 if QUICK else 2_000
GOAL, MANY_GOAL = 0.40, 0.60

console = Console(width=170, highlight=False)


ROWS = (texts.row, sounds.row, garments.row)


def main() -> int:
    install_missing()
    asked = sys.argv[1:]
    chosen = [row for make in ROWS if (row := make()).name in asked or not asked]
    store = Store(FOLDER.with_suffix(".json"), source_hash())
    results = []
    for row in chosen:
        result = store.get(row.name)
        if result is None:
            print(f"{row.name}: {row.about} …", flush=True)
            result = do(row)
            store.put(row.name, result)
        results.append(result)
    console.print(table(chosen, results))
    cuts = [1 - result["figures"]["ratio"] for result in results]
    measures = [
        at_least(f"{row.name}: mean latency below the full model's", cut, GOAL, ".3f")
        for row, cut in zip(chosen, cuts, strict=True)
    ]
    many = sum(cut >= MANY_GOAL for cut in cuts)
    measures.append(Measure(f"rows with a cut of {MANY_GOAL:.0%}", "≥ 2", str(many), many >= 2))
    return conclude(f"{'QUICK ' if QUICK else ''}make results", [], measures)


def do(row: Row) -> dict[str, Any]:
    """The row: figures of `etbac optimize --json`, and minutes."""
    place = FOLDER / row.name
    checkpoint, folder = place / "model.pt", place / "data"
    start = time.monotonic()
    if not folder.exists():
        unfinished = place / "data.part"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        row.make(unfinished)
        unfinished.rename(folder)
    if not checkpoint.exists():
        length = row.quick if QUICK else row.whole
        etbac("train", row.task, *row.train, *length, "--data", str(folder), "--out", str(checkpoint))
    trained = time.monotonic()
    how = ["--uncertified"] if row.uncertified or QUICK else []
    found = etbac(
        *("optimize", str(checkpoint), "--precision", PRECISION, "--batches", str(BATCHES), "--json", *how),
        *("--data", str(folder), "--engine-dir", str(place / "engines"), *row.optimize),
    )
    minutes = [(trained - start) / 60, (time.monotonic() - trained) / 60]
    return {**json.loads(found), "minutes": minutes, "test": on_the_test_set(place / "engines", folder)}


def on_the_test_set(engines: Path, folder: Path) -> dict[str, Any]:
    """What the chain and the full model score there, and who leaves where: samples that nothing was chosen by."""
    with load(engines) as chain:
        metric, plan = find_metric(chain.manifest.metric), chain.plan
        assert plan is not None
        (test,) = load_recorded(chain.engine_dir, folder, ("test",))
        replay = collect(chain, test, metric).replay(plan.thresholds)
        shares = [f"{exit_id or 'end'} {share:.0%}" for exit_id, share in zip(chain.ids, replay.shares, strict=True)]
    return {
        "metric": metric.name,
        "chain": replay.pairs.chain_metric,
        "full": replay.pairs.full_metric,
        "precision": replay.precision,
        "shares": ", ".join(shares),
    }


def etbac(*arguments: str) -> str:
    """What the program prints; its notes pass through. SystemExit where it fails."""
    print("$ etbac " + " ".join(arguments), flush=True)
    done = subprocess.run([sys.executable, "-m", "etbac", *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"FAILED: etbac {arguments[0]} ended with status {done.returncode}")
    return done.stdout


def table(chosen: Sequence[Row], results: Sequence[Mapping[str, Any]]) -> Table:
    found = Table("task", "what", "leave at", "mean ÷ full", "p90 ÷ full", "p99 ÷ full", "static cut ÷ full")
    for name in ("metric", "full model", "chain", "precision", "certified", "minutes"):
        found.add_column(name)
    for row, result in zip(chosen, results, strict=True):
        figures = result["figures"]
        cut = figures["static_cut_ms"]
        test = result["test"]
        found.add_row(
            row.name,
            row.about,
            test["shares"],
            f"{figures['ratio']:.3f}",
            f"{figures['p90_ratio']:.3f}",
            "–" if figures["p99_ratio"] is None else f"{figures['p99_ratio']:.3f}",
            "–" if cut is None else f"{cut / figures['full_ms']:.3f}",
            test["metric"],
            f"{test['full']:.4f}",
            f"{test['chain']:.4f}",
            f"{test['precision']:.4f}",
            f"≥ {PRECISION}" if result["plan"]["certified"] else row.uncertified or str(result["plan"]["reason"]),
            " + ".join(f"{each:.1f}" for each in result["minutes"]),
        )
    return found


if __name__ == "__main__":
    sys.exit(main())
