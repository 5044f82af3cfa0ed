"""A row's work: its data, `etbac train`, `etbac optimize`, a race on the test set."""

from __future__ import annotations

import hashlib
import inspect
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import baselines
from benchmarks.results.row import QUICK, Row
from etbac.frontend.load import load_model
from etbac.metrics import metric as find_metric
from etbac.planner.collect import collect
from etbac.planner.samples import load_recorded
from etbac.profiles.race import measure, random_batches
from etbac.runtime.chain import load

PRECISION = "0.9968"
BATCHES, WARM_UP = (100 if QUICK else 2_000), 20
CHAIN, FULL, CUT = "chain", "full model", "static cut"


@dataclass(frozen=True)
class Trained:
    """A checkpoint, the folder of its data, the arguments after `etbac train TASK`, and how long that took."""

    checkpoint: Path
    folder: Path
    learn: Sequence[str]
    seconds: float


def trained(row: Row, place: Path) -> Trained:
    """What is in `place` is used again: the data and the checkpoint, if they were made as they would be made now."""
    checkpoint, folder = place / "model.pt", place / "data"
    learn = [*row.train, *(row.quick if QUICK else row.whole), "--data", str(folder), "--out", str(checkpoint)]
    record = place / "trained.json"
    asked = [learn, _source(row)]
    if not (record.is_file() and json.loads(record.read_text())["asked"] == asked):
        trained_s = _train(row, learn, place, folder)
        record.write_text(json.dumps({"asked": asked, "seconds": trained_s}))
    return Trained(checkpoint, folder, learn, json.loads(record.read_text())["seconds"])


def made(row: Row, place: Path) -> dict[str, Any]:
    """The row's figures."""
    found, engines = trained(row, place), place / "engines"
    checkpoint, folder, learn, trained_s = found.checkpoint, found.folder, found.learn, found.seconds
    start = time.monotonic()
    uncertified = ["--uncertified"] if row.uncertified or QUICK else []
    how = ["--precision", PRECISION, *uncertified, *row.optimize]
    where = ["--data", str(folder), "--engine-dir", str(engines)]
    optimized = json.loads(etbac("optimize", str(checkpoint), *how, *where, "--json"))
    raced = race(checkpoint, engines, folder, optimized["static_cut"])
    return {
        "train": ["etbac", "train", row.task, *learn],
        "optimize": ["etbac", "optimize", str(checkpoint), *how, *where],
        "plan": optimized["plan"],
        "minutes": [trained_s / 60, (time.monotonic() - start) / 60],
        **raced,
    }


def _source(row: Row) -> str:
    """Of the module that makes the row's data."""
    return hashlib.sha256(inspect.getsource(sys.modules[row.make.__module__]).encode()).hexdigest()


def _train(row: Row, learn: Sequence[str], place: Path, folder: Path) -> float:
    """Seconds, with those for the data; goes on where an interrupted run of the same was."""
    start = time.monotonic()
    begun = place / "begun.json"
    if not (begun.is_file() and json.loads(begun.read_text()) == [*learn, _source(row)]):
        shutil.rmtree(place, ignore_errors=True)
        folder.mkdir(parents=True)
        row.make(folder)
        begun.write_text(json.dumps([*learn, _source(row)]))
    etbac("train", row.task, *learn)
    return time.monotonic() - start


def race(checkpoint: Path, engines: Path, folder: Path, static_cut: dict[str, Any] | None) -> dict[str, Any]:
    """Chain, full model and best static cut on the same batches of the test set in turn, and what the chain answers
    there: nothing was chosen by these samples."""
    with load(engines) as chain, tempfile.TemporaryDirectory() as scratch:
        metric, plan = find_metric(chain.manifest.metric), chain.plan
        assert plan is not None
        (test,) = load_recorded(chain.engine_dir, folder, ("test",))
        replay = collect(chain, test, metric).replay(plan.thresholds)
        contenders = {CHAIN: lambda batch: chain.run(batch).prediction, FULL: chain.full}
        if static_cut is not None:
            exported = load_model(str(checkpoint))
            contenders[CUT] = baselines.static_cut(exported, static_cut["exit_id"], Path(scratch))
        size = plan.search["batch_size"]
        timings = measure(contenders, random_batches(test.inputs, size, BATCHES + WARM_UP), WARM_UP)
        shares = [f"{exit_id or 'end'} {share:.0%}" for exit_id, share in zip(chain.ids, replay.shares, strict=True)]
    return {
        "batch": size,
        "ms": {name: timings.mean(name) * 1e3 for name in contenders},
        "ratio": timings.ratio(CHAIN, FULL),
        "cut_ratio": timings.ratio(CUT, FULL) if static_cut else None,
        "p90_ratio": timings.quantile(CHAIN, 0.9) / timings.quantile(FULL, 0.9),
        "p99_ratio": timings.quantile(CHAIN, 0.99) / timings.quantile(FULL, 0.99),
        "metric": metric.name,
        "chain": replay.pairs.chain_metric,
        "full": replay.pairs.full_metric,
        "precision": replay.precision,
        "shares": ", ".join(shares),
        "samples": len(test),
    }


def etbac(*arguments: str) -> str:
    """What the program prints; its notes pass through. SystemExit where it fails."""
    print("$ etbac " + " ".join(arguments), flush=True)
    done = subprocess.run([sys.executable, "-m", "etbac", *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"FAILED: etbac {arguments[0]} ended with status {done.returncode}")
    return done.stdout
