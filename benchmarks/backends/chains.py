"""The chain against the full model, against its matrix, and in int8 against fp32: all calls in one interleaved run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.backends.subjects import bert_base, demo, demo_checkpoint, resnet50
from benchmarks.measures import Measure, at_least, at_most
from etbac.engine_dir import EngineDir
from etbac.metrics import metric as find_metric
from etbac.models.checkpoint import load as load_checkpoint
from etbac.models.checkpoint import load_set
from etbac.planner.plan import plan
from etbac.profiles.profiler import measure_chain
from etbac.profiles.timer import measure
from etbac.runtime.chain import Chain, load
from etbac.runtime.inputs import tile
from etbac.runtime.selection import portable, select
from etbac.verification.chain import TOLERANCE
from etbac.verification.engines import compare_engines

SIZES = (1, 2, 4, 8, 16, 32)
ERROR = 0.01
Row = dict[str, Any]


def against_full(make: Callable[[], EngineDir], seconds: float) -> Row:
    """Medians with exits off, of the full model, and Σ of the matrix; and the largest difference of the answers."""
    directory = make()
    with Chain(directory, portable(directory)) as chain:
        batches = _batches(chain)
        calls: dict[tuple[str, int], Callable[[], Any]] = {}
        calls |= {("chain", size): partial(chain.run, batch, thresholds="off") for size, batch in batches.items()}
        calls |= {("full", size): partial(chain.full, batch) for size, batch in batches.items()}
        taken = measure(calls, seconds, ERROR)
        ms = {key: float(np.median(samples)) for key, samples in taken.items()}
        whole = np.asarray(chain.full(batches[16]))
        answers = np.asarray(chain.run(batches[16], thresholds="off").prediction)
        gap = np.abs(answers - whole).max() / np.abs(whole).max()
        profile = measure_chain(chain, SIZES, seconds, ERROR, apart=False)
        stages = [
            {"batch": each.batch, "ran": sum(size > 0 for size in each.sizes), "ratio": each.ratio}
            | {"sum_ms": each.matrix_ms, "chain_ms": each.timing.median_ms, "exits": each.exits}
            for each in profile.chain
        ]
    return {
        "name": directory.path.name,
        "passed": bool(gap <= TOLERANCE),
        "difference": float(gap),
        "chain_ms": [ms["chain", size] for size in SIZES],
        "full_ms": [ms["full", size] for size in SIZES],
        "rounds": min(len(samples) for samples in taken.values()),
        "noise": profile.noise,
        "stages": stages,
    }


def int8(make: Callable[..., EngineDir], seconds: float) -> Row:
    """Medians of the int8 and the fp32 chain, exits off, and what int8 costs."""
    directory = make(int8=True)
    with (
        Chain(directory, select(directory, dtype="int8")) as narrow,
        Chain(directory, portable(directory)) as wide,
    ):
        batches = _batches(wide)
        calls = {
            (chain.dtype, size): partial(chain.run, batch, thresholds="off")
            for chain in (narrow, wide)
            for size, batch in batches.items()
        }
        taken = measure(calls, seconds, ERROR)
        ms = {key: float(np.median(samples)) for key, samples in taken.items()}
        cost = compare_engines(narrow, wide, directory.read_samples())
    return {
        "name": directory.path.name,
        "passed": cost.broken is None,
        "note": cost.broken or "",
        "difference": cost.largest,
        "int8_ms": [ms["int8", size] for size in SIZES],
        "fp32_ms": [ms["fp32", size] for size in SIZES],
    }


def int8_accuracy(make: Callable[..., EngineDir]) -> Row:
    """The demo's network in int8: certified on the certify set, then judged on the test set, as its plan says."""
    directory = make(int8=True)
    with TemporaryDirectory() as scratch:
        copy = _copy(directory, Path(scratch))
        made = plan(copy.path, dtype="int8", uncertified=True)
        test = load_set(load_checkpoint(demo_checkpoint()), "test")
        with load(copy.path, dtype="int8") as narrow, Chain(copy, portable(copy)) as wide:
            metric = find_metric(wide.manifest.metric)
            cost = compare_engines(narrow, wide, test.inputs, test.labels, metric, made.thresholds)
    return {
        "name": "demo",
        "passed": cost.broken is None,
        "note": cost.broken or "",
        "certified": made.certified,
        "reason": made.reason,
        "flips": cost.flips / cost.samples,
        "figures": dict(cost.figures),
    }


CHAINS: dict[str, tuple[Callable[[], EngineDir], float]] = {
    "ResNet-50": (resnet50, 100.0),
    "BERT-base": (bert_base, 150.0),
    "demo": (demo, 30.0),
}
INT8: dict[str, tuple[Callable[..., EngineDir], float]] = {"ResNet-50": (resnet50, 60.0), "demo": (demo, 20.0)}


def measures_of_chain(name: str, row: Row) -> list[Measure]:
    ratios = dict(zip(SIZES, np.divide(row["chain_ms"], row["full_ms"]), strict=True))
    small = name == "demo"
    counted = {size: ratio for size, ratio in ratios.items() if not small or size >= 8}
    limit = 1.15 if small else 1.05
    found = [at_most(f"{name}: exits off ÷ full model, worst batch", max(counted.values()), limit)]
    large = [stage for stage in row["stages"] if stage["sum_ms"] >= 5]
    little = [stage for stage in row["stages"] if stage["sum_ms"] < 5]
    if large:
        found.append(at_most(f"{name}: chain ÷ Σ matrix, worst batch", max(s["ratio"] for s in large), 1.03))
    if little:
        beyond = max(1e3 * (s["chain_ms"] - s["sum_ms"]) / s["ran"] for s in little)
        found.append(at_most(f"{name}: µs a stage beyond the matrix, worst batch", beyond, 50, ".0f"))
    return found


def measures_of_int8(name: str, row: Row) -> list[Measure]:
    at = SIZES.index(16)
    return [at_least(f"{name}: fp32 ÷ int8 at batch 16", row["fp32_ms"][at] / row["int8_ms"][at], 1.5, ".2f")]


def measures_of_accuracy(row: Row) -> list[Measure]:
    found = row["figures"]
    ratio = found["int8 chain"] / found["full model"]
    certified = Measure(
        "demo in int8: certified at 0.9968", "yes", "yes" if row["certified"] else "no", row["certified"]
    )
    return [certified, at_least("demo in int8: accuracy ÷ full model's on the test set", ratio, 0.9968)]


def _batches(chain: Chain) -> dict[int, Any]:
    samples = chain.engine_dir.read_samples()
    return {size: tile(chain.manifest.inputs, samples, size) for size in SIZES}


def _copy(directory: EngineDir, scratch: Path) -> EngineDir:
    """A copy, so that no plan is left in a directory that is used again."""
    import shutil

    return EngineDir.open(shutil.copytree(directory.path, scratch / "engines"))


def sizes_row(name: str, values: Sequence[float]) -> list[str]:
    return [name, *(f"{value:.3f}" for value in values)]
