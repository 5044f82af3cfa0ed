"""`make demo` and `make demo-full`: train, compile, profile, plan, and race the chain on the 10,000 test images."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

import etbac as product
from benchmarks import baselines, data
from benchmarks.measures import Measure, at_least, at_most, verdict
from benchmarks.zoo.store import source_hash
from etbac.contract import FULL_MODEL_ID
from etbac.frontend.load import load_model
from etbac.models import checkpoint as checkpoints
from etbac.passes.exit_model import ExitModel
from etbac.planner.evidence import Pairs, find_test
from etbac.planner.plan import TEST
from etbac.profiles.profiler import measure_chain
from etbac.profiles.race import FEWEST_FOR_P99, Timings, measure, random_batches
from etbac.runtime.chain import Chain, load
from etbac.runtime.trace import Tracer

PRECISION, DELTA = 0.9968, 0.05
BATCH = 16
WARM_UP = 20
MATRIX_SIZES, MATRIX_SECONDS = (1, 2, 3, 4, 6, 8, 12, 16), 10.0
FULL_MODEL, STATIC_CUT, NOT_CERTIFIED = "full model", "static cut", " (not certified)"
CHAIN, IN_INT8 = "chain", "chain in int8"
STARTED = float(os.environ.get("ETBAC_STARTED", time.time()))

console = Console(width=150, highlight=False)
Bools = npt.NDArray[np.bool_]
Samples = tuple[Mapping[str, Any], npt.NDArray[np.int64]]
"""Inputs by name, and labels."""


@dataclass(frozen=True)
class Recipe:
    """What is trained, what is kept of it, and what is aimed at: how much lower the chain's mean latency is than the
    full model's, and its ratio to the best static cut's. Without `exits` those that pay are chosen; `int8`: where the
    same is made in int8."""

    name: str
    checkpoint: Path
    engines: Path
    train: tuple[str, ...]
    accuracy: float
    cut: float
    of_static: float
    minutes: float
    exits: str | None = None
    small: Path | None = None
    train_small: tuple[str, ...] = ()
    int8: Path | None = None


DEMO = Recipe(
    name="make demo",
    checkpoint=Path("resnet.pt"),
    engines=Path("engines"),
    train=("--model", "resnet32", "--epochs", "8", "--scales", "0.5,0.75,1,1", "--exits", "1,3,5,7,9,12"),
    exits="1,3,7,12",
    accuracy=0.92,
    cut=0.40,
    of_static=0.60,
    minutes=15,
)
FULL = Recipe(
    name="make demo-full",
    checkpoint=Path("resnet-full.pt"),
    engines=Path("engines-full"),
    train=("--model", "resnet32", "--epochs", "12", "--scales", "0.5,0.75,1,1", "--exits", "1,3,5,7,9,12"),
    accuracy=0.93,
    cut=0.65,
    of_static=1 / 1.5,
    minutes=75,
    small=Path("resnet-small.pt"),
    train_small=("--model", "resnet14", "--epochs", "6", "--exits", "none"),
    int8=Path("engines-full-int8"),
)
CUT_IN_INT8 = 0.80


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="the longer training, and a smaller network beside it")
    recipe = FULL if parser.parse_args().full else DEMO
    folder = data.fashion_mnist()
    train(recipe.checkpoint, recipe.train, folder)
    if recipe.small is not None:
        train(recipe.small, recipe.train_small, folder)
    make_chain(recipe, recipe.engines)
    if recipe.int8 is not None:
        make_chain(recipe, recipe.int8, "--dtype", "int8")
    passed, measures = race(recipe)
    for line in measures:
        print(line)
    print(verdict(recipe.name, passed, measures))
    return 0 if passed else 1


def train(out: Path, options: tuple[str, ...], folder: Path) -> None:
    """Train unless the checkpoint is there; an interrupted training goes on."""
    if out.exists():
        print(f"{out} is there (delete it to train it again)", flush=True)
        return
    etbac("train", "classification", *options, "--data", str(folder), "--out", str(out))


def make_chain(recipe: Recipe, path: Path, *how: str) -> None:
    """A certified chain in the directory `path`."""
    directory, precision = ("--engine-dir", str(path)), ("--precision", str(PRECISION))
    if recipe.exits is None:
        etbac("optimize", str(recipe.checkpoint), *precision, "--keep-samples", *how, *directory)
        return
    etbac("compile", str(recipe.checkpoint), "--exits", recipe.exits, "--keep-samples", "--no-plan", *how, *directory)
    etbac("profile", *directory)
    etbac("plan", *precision, *directory)


def etbac(*arguments: str) -> None:
    """Run the program as a user does; SystemExit where it fails."""
    print("$ etbac " + " ".join(arguments), flush=True)
    status = subprocess.run([sys.executable, "-m", "etbac", *arguments]).returncode
    if status:
        raise SystemExit(f"FAILED: etbac {arguments[0]} ended with status {status}")


def race(recipe: Recipe) -> tuple[bool, list[Measure]]:
    """Chain, full model, best static cut and, if trained, the smaller network, on the same random batches in turn."""
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        chain = stack.enter_context(load(recipe.engines))
        int8 = None if recipe.int8 is None else stack.enter_context(load(recipe.int8))
        found = checkpoints.load(recipe.checkpoint)
        certify, test = (checkpoints.load_set(found, name) for name in ("certify", "test"))
        assert certify.labels is not None
        assert test.labels is not None
        rows = contenders(recipe, chain, (certify.inputs, certify.labels), Path(scratch))
        if int8 is not None:
            rows[IN_INT8] = lambda batch: int8.run(batch).prediction
        batches = FEWEST_FOR_P99 + WARM_UP
        print(f"racing {', '.join(rows)} over {batches - WARM_UP:,} batches of {BATCH} …", flush=True)
        timings = measure(rows, random_batches(test.inputs, BATCH, batches), WARM_UP)
        right = {name: judge(answer, test.inputs, test.labels) for name, answer in rows.items()}
        # ratios of speed are against the faster of the compiled full model and the untouched export
        full = min((FULL_MODEL, "untouched export"), key=timings.mean)
        every = chain.run_all(test.inputs)
        show_exits(chain, every, test.labels)
        show_race(timings, right, full, chain)
        print(f"share of test samples by exit: {shares(chain, test.inputs)}")
        print(f"chain ÷ Σ matrix at the sizes each stage had: {against_matrix(chain, test.inputs):.3f}")
        static = next(name for name in rows if name.startswith(STATIC_CUT))
        measures = judge_race(recipe, timings, right, full, static)
        keep_results(recipe, timings, right, full, measures)
        return all(each.plan is not None and each.plan.certified for each in (chain, int8) if each), measures


def contenders(recipe: Recipe, chain: Chain, certify: Samples, scratch: Path) -> dict[str, Callable[[Any], Any]]:
    exported = load_model(recipe.checkpoint)
    rows: dict[str, Callable[[Any], Any]] = {
        CHAIN: lambda batch: chain.run(batch).prediction,
        FULL_MODEL: chain.full,
        "untouched export": baselines.untouched(exported, scratch),
    }
    cut, name = best_static_cut(exported, certify)
    rows[name] = baselines.static_cut(exported, cut, scratch)
    if recipe.small is not None:
        small = baselines.whole(load_model(recipe.small), scratch, recipe.small.stem)
        full_right, small_right = (judge(rows[FULL_MODEL], *certify), judge(small, *certify))
        certified, sentence = certification(full_right, small_right)
        rows[f"smaller network{'' if certified else NOT_CERTIFIED}"] = small
        print(f"smaller network: {sentence}", flush=True)
    return rows


def best_static_cut(exported: ExitModel, certify: Samples) -> tuple[int, str]:
    """The earliest exit at which everybody may leave, certified by the test that the chain passed, and the row's name.

    Each exit is tested as if it were the only one: that favours the cut. Where none passes, the earliest exit whose
    metric alone keeps the precision stands in, marked.
    """
    right = baselines.right_by_exit(exported, *certify)
    full = right[FULL_MODEL_ID]
    passed = []
    for exit_id in sorted(exported.exits):
        certified, sentence = certification(full, right[exit_id])
        print(f"static cut at exit {exit_id}: {sentence}", flush=True)
        passed += [exit_id] if certified else []
    if passed:
        return passed[0], f"{STATIC_CUT} at exit {passed[0]}"
    accurate = [exit_id for exit_id in exported.exits if right[exit_id].sum() >= PRECISION * full.sum()]
    stand_in = min(accurate, default=max(exported.exits))
    return stand_in, f"{STATIC_CUT} at exit {stand_in}{NOT_CERTIFIED}"


def certification(full_right: Bools, right: Bools) -> tuple[bool, str]:
    """Whether the test that certifies plans certifies this answer's precision, and a sentence."""
    pairs = Pairs(right, full_right)
    p = find_test(TEST).p_value(pairs, PRECISION)
    ratio, word = right.sum() / full_right.sum(), "certified" if p <= DELTA else "not certified"
    counts = f"{pairs.harms} harms and {pairs.repairs} repairs of {pairs.n:,}"
    return p <= DELTA, f"ratio {ratio:.4f}, {counts}: {word} at {PRECISION} by the {TEST} test (p = {p:.2g})"


def judge(answer: Callable[[Any], Any], inputs: Mapping[str, Any], labels: npt.NDArray[np.int64]) -> Bools:
    """bool [rows]: whether the answer is the label."""
    classes = []
    for start in range(0, len(labels), baselines.ROWS_AT_ONCE):
        batch = {name: array[start : start + baselines.ROWS_AT_ONCE] for name, array in inputs.items()}
        classes.append(np.asarray(answer(batch)).argmax(-1))
    right: Bools = np.concatenate(classes) == labels
    return right


def show_exits(chain: Chain, every: Any, labels: npt.NDArray[np.int64]) -> None:
    table = Table(
        "exit alone", *(str(exit_id) for exit_id in chain.exits), FULL_MODEL, title="accuracy on the test set"
    )
    table.add_row("", *(f"{accuracy:.4f}" for accuracy in (every.prediction.argmax(-1) == labels).mean(axis=1)))
    console.print(table)


def show_race(timings: Timings, right: Mapping[str, Bools], full: str, chain: Chain) -> None:
    plan = chain.plan
    certified = "not certified" if plan is None or not plan.certified else f"certified ≥ {plan.precision} at 95%"
    count = len(timings.seconds[full])
    table = Table(
        *("", "accuracy", "÷ full model", "mean ms", "÷ full", "median ms", "p99 ms", "p99 ÷ full (95% bound)"),
        title=f"batches of {BATCH}, {count:,} of each, alternating; chain: precision {certified}",
    )
    for name in timings.seconds:
        table.add_row(
            name + (" *" if name == full else ""),
            f"{right[name].mean():.4f}",
            f"{right[name].mean() / right[FULL_MODEL].mean():.4f}",
            f"{timings.mean(name) * 1e3:.2f}",
            f"{timings.ratio(name, full):.3f}",
            f"{timings.quantile(name, 0.5) * 1e3:.2f}",
            f"{timings.quantile(name, 0.99) * 1e3:.2f}",
            f"{timings.p99_ratio_bound(name, full):.3f}",
        )
    console.print(table)
    print("* the full model that ratios are against: the faster of the compiled one and the untouched export")


def shares(chain: Chain, inputs: Mapping[str, Any]) -> str:
    ids = chain.run(inputs).exit_id
    names = {exit_id: f"exit {exit_id}" for exit_id in chain.exits} | {0: FULL_MODEL}
    return ", ".join(f"{name} {np.mean(ids == exit_id):.1%}" for exit_id, name in names.items())


def against_matrix(chain: Chain, inputs: Mapping[str, Any], batches: int = 300) -> float:
    """Chain ÷ Σ of its engines' medians at the sizes that each had, measured before and after: the median batch."""
    before = engines_at(chain)
    timed = []
    for batch in random_batches(inputs, BATCH, batches, seed=1):
        trace = Tracer()
        begin = time.perf_counter()
        chain.run(batch, trace=trace)
        timed.append(((time.perf_counter() - begin) * 1e3, trace.runs))
    matrix = (before + engines_at(chain)) / 2
    return float(np.median([ms / sum(matrix[run.stage, run.rows] for run in sizes) for ms, sizes in timed]))


def engines_at(chain: Chain) -> npt.NDArray[np.float64]:
    """[stages, size]: milliseconds at every size that a stage may run."""
    matrix = measure_chain(chain, MATRIX_SIZES, MATRIX_SECONDS).matrix
    return matrix.at(matrix.stage_ms, chain.manifest.max_batch)


def judge_race(recipe: Recipe, timings: Timings, right: Mapping[str, Bools], full: str, static: str) -> list[Measure]:
    accuracy = float(right[FULL_MODEL].mean())
    measures = [
        at_least("full model's accuracy", accuracy, recipe.accuracy),
        at_most("mean latency ÷ full model", timings.ratio(CHAIN, full), 1 - recipe.cut),
        at_most("p99 ÷ full model (upper 95% bound)", timings.p99_ratio_bound(CHAIN, full), 1.05),
        at_most("mean latency ÷ best static cut", timings.ratio(CHAIN, static), recipe.of_static),
        at_most("p99 ÷ best static cut (upper 95% bound)", timings.p99_ratio_bound(CHAIN, static), 1.05),
    ]
    if recipe.int8 is not None:
        measures.append(at_most("in int8: mean latency ÷ full model", timings.ratio(IN_INT8, full), 1 - CUT_IN_INT8))
    minutes = (time.time() - STARTED) / 60
    return [*measures, at_most("minutes, installation included", minutes, recipe.minutes, ".1f")]


def results_of(recipe: Recipe) -> Path:
    return Path("results", recipe.checkpoint.stem + ".json")


def keep_results(
    recipe: Recipe, timings: Timings, right: Mapping[str, Bools], full: str, measures: Sequence[Measure]
) -> None:
    rows = {
        name: {
            "accuracy": float(right[name].mean()),
            "mean_ms": timings.mean(name) * 1e3,
            "p99_ms": timings.quantile(name, 0.99) * 1e3,
            "mean_ratio": timings.ratio(name, full),
        }
        for name in timings.seconds
    }
    path = results_of(recipe)
    path.parent.mkdir(exist_ok=True)
    kept = [asdict(replace(measure, name=f"{recipe.name}: {measure.name}")) for measure in measures]
    sources = source_hash([Path(product.__file__).parent])
    path.write_text(json.dumps({"sources": sources, "baseline": full, "rows": rows, "measures": kept}, indent=2))


if __name__ == "__main__":
    sys.exit(main())
