"""The monitor of drift tested: false alarms on streams like the certify set, and how soon blurred images are noticed.

    python -m benchmarks.plan.drift [--streams 1000] [--engine-dir engines --checkpoint resnet.pt]

counts false alarms on made-up statistics; with an engine directory that holds a certified plan, and its checkpoint,
also on those of the test set, which it then blurs more and more.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from scipy.ndimage import gaussian_filter

from benchmarks.measures import Measure, at_least, at_most, conclude
from benchmarks.plan.guarantee import WORKERS, made_up
from etbac.metrics import METRICS
from etbac.models import checkpoint as checkpoints
from etbac.planner.collect import collect
from etbac.planner.drift import LEVEL, Monitor, reference_counts
from etbac.planner.samples import SampleSet
from etbac.planner.search import THOROUGH
from etbac.planner.statistics import ExitStatistics
from etbac.planner.watch import Watch
from etbac.runtime.chain import Chain, load

SAMPLES = 10_000
"""Of a certify set, and of a stream without a change."""
MOST_ALARMS = 0.015
"""15 of 1,000 streams: at the monitor's level of 0.005 more are seen once in 10,000 times, at most."""
WITHIN = 1_000
BATCH = 16
FALL = 0.01
FIRING = 0.95
SIGMAS = (0.0, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.625, 0.65, 0.675, 0.7, 0.8, 1.0, 1.5, 2.0, 3.0)
"""Of the gaussian, in pixels."""

METRIC = METRICS["accuracy"]

Left = tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]
"""Where samples leave, and with what confidence."""


@dataclass(frozen=True)
class FalseAlarms:
    """How many of `streams` streams raised an alarm, each with its own certify set, of `samples` samples both.

    This and Grade are flat: `dataclasses.asdict` gives JSON, and the class takes it back.
    """

    population: str
    streams: int
    samples: int
    level: float
    alarms: int
    seconds: float

    @property
    def share(self) -> float:
        return self.alarms / self.streams


@dataclass(frozen=True)
class Grade:
    """One blur: accuracies, and in how many samples `streams` streams alarm; None where WITHIN were not enough."""

    sigma: float
    full: float
    chain: float
    precision: float
    of_clean: float
    """The chain's accuracy ÷ the full model's on images that are not blurred."""
    streams: int
    alarmed: float
    """Share of streams that alarmed."""
    median: int | None
    q95: int | None


def false_alarms(
    name: str,
    statistics: ExitStatistics,
    thresholds: Mapping[int, float],
    streams: int = 1_000,
    samples: int = SAMPLES,
    level: float = LEVEL,
    workers: int = WORKERS,
) -> FalseAlarms:
    """The certify sets and the streams are drawn from `statistics` with replacement; every stream has its own seed."""
    begun = time.perf_counter()
    one = partial(_alarms, statistics.leaves_with(thresholds), len(statistics.scores), samples, level)
    seeds = np.array_split(np.arange(streams), max(1, min(streams, 4 * workers)))
    if workers == 1:
        found = [one(part) for part in seeds]
    else:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            found = list(pool.map(one, seeds))
    return FalseAlarms(name, streams, samples, level, sum(found), time.perf_counter() - begun)


def _alarms(left: Left, stages: int, samples: int, level: float, seeds: npt.NDArray[np.intp]) -> int:
    return sum(_alarm(left, stages, samples, level, int(seed)) for seed in seeds)


def _alarm(left: Left, stages: int, samples: int, level: float, seed: int) -> bool:
    rng = np.random.default_rng(seed)
    reference, stream = (_draw(left, samples, rng) for _ in range(2))
    return Monitor(reference_counts(*reference, stages), level, seed).update(*stream)


def _draw(left: Left, samples: int, rng: np.random.Generator) -> Left:
    rows = rng.integers(0, len(left[0]), samples)
    return left[0][rows], left[1][rows]


def blur(images: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[np.float32]:
    """[..., height, width], each image alone. Normalised before or after, images are the same: it is a mean."""
    blurred: npt.NDArray[np.float32] = gaussian_filter(
        images, [0.0] * (images.ndim - 2) + [sigma, sigma], mode="nearest"
    )
    return blurred


def graded(
    chain: Chain,
    test: SampleSet,
    sigmas: Sequence[float] = SIGMAS,
    streams: int = 100,
    progress: Callable[[Grade], None] = lambda grade: None,
) -> tuple[list[Grade], ExitStatistics]:
    """A grade for each blur, the first of them none, and the statistics of that; streams are drawn from blurred images.

    The chain has a certified plan, and one input, of images.
    """
    reference, (name,) = Watch(chain).monitor.reference, test.inputs
    grades: list[Grade] = []
    clean = collect(chain, test, METRIC)
    for sigma in sigmas:
        inputs = {name: blur(test.inputs[name], sigma)}
        statistics = collect(chain, SampleSet(test.specs, inputs, test.labels), METRIC) if sigma else clean
        grades.append(_grade(sigma, statistics, clean.n_right, thresholds_of(chain), reference, streams))
        progress(grades[-1])
    return grades, clean


def thresholds_of(chain: Chain) -> Mapping[int, float]:
    return {} if chain.plan is None else chain.plan.thresholds


def _grade(
    sigma: float,
    statistics: ExitStatistics,
    clean_right: float,
    thresholds: Mapping[int, float],
    reference: Sequence[int],
    streams: int,
) -> Grade:
    replay, left = statistics.replay(thresholds), statistics.leaves_with(thresholds)
    taken = np.array([_samples_until_alarm(left, reference, seed) for seed in range(streams)])
    median, q95 = (_finite(np.quantile(taken, q, method="inverted_cdf")) for q in (0.5, 0.95))
    return Grade(
        sigma=sigma,
        full=replay.pairs.full_metric,
        chain=replay.pairs.chain_metric,
        precision=replay.precision,
        of_clean=float(replay.pairs.chain.sum()) / clean_right,
        streams=streams,
        alarmed=float(np.isfinite(taken).mean()),
        median=median,
        q95=q95,
    )


def _samples_until_alarm(left: Left, reference: Sequence[int], seed: int) -> float:
    """In batches of BATCH; +inf where WITHIN samples are not enough."""
    stage, confidence = _draw(left, WITHIN, np.random.default_rng(seed))
    monitor = Monitor(reference, seed=seed)
    for start in range(0, WITHIN, BATCH):
        if monitor.update(stage[start : start + BATCH], confidence[start : start + BATCH]):
            return monitor.seen
    return np.inf


def _finite(samples: float) -> int | None:
    return int(samples) if np.isfinite(samples) else None


def fallen(grades: Sequence[Grade]) -> tuple[str, Grade | None]:
    """The smallest blur that costs a point of precision, else (there is none) of the chain's accuracy; and of what."""
    none, *blurred = grades
    by_precision = [grade for grade in blurred if grade.precision <= none.precision - FALL]
    if by_precision:
        return "precision", by_precision[0]
    return "accuracy (precision never falls by one)", next(
        (grade for grade in blurred if grade.chain <= none.chain - FALL), None
    )


def false_alarms_table(found: Sequence[FalseAlarms]) -> Table:
    shown = Table("population", "streams", "samples each", "false alarms", "s")
    for each in found:
        row = (each.population, f"{each.streams:,}", f"{each.samples:,}", f"{each.alarms}", f"{each.seconds:.0f}")
        shown.add_row(*row)
    return shown


def blur_table(grades: Sequence[Grade]) -> Table:
    what, at = fallen(grades)
    shown = Table(
        *("blur σ", "full model", "chain", "precision", "chain ÷ unblurred full model"),
        *(f"alarmed in {WITHIN:,}", "median samples", "95%"),
        caption=f"* the smallest blur that costs a point of {what}",
    )
    for grade in grades:
        shown.add_row(
            f"{grade.sigma:g}{' *' if grade is at else ''}",
            *(f"{figure:.4f}" for figure in (grade.full, grade.chain, grade.precision, grade.of_clean)),
            f"{grade.alarmed:.0%}",
            *("–" if samples is None else f"{samples}" for samples in (grade.median, grade.q95)),
        )
    return shown


def gates(alarms: Sequence[FalseAlarms], grades: Sequence[Grade] = ()) -> list[Measure]:
    """Few false alarms; at the blur that costs a point the median stream alarms."""
    rare = [
        at_most(f"{each.population}: share of streams with a false alarm", each.share, MOST_ALARMS) for each in alarms
    ]
    return [*rare, *([_firing(grades, "the median stream alarms", 0.5)] if grades else [])]


def measures(grades: Sequence[Grade]) -> list[Measure]:
    """At the blur that costs a point nearly all streams alarm."""
    return [_firing(grades, "streams alarm", FIRING)]


def _firing(grades: Sequence[Grade], name: str, share: float) -> Measure:
    what, at = fallen(grades)
    if at is None:
        return Measure(f"{name}", f"≥ {share:.0%}", f"no blur costs a point of {what}", False)
    where = f"σ = {at.sigma:g}, a point of {what}: {name} within {WITHIN:,} samples, share"
    return at_least(where, at.alarmed, share, ".2f")


def load_test_set(chain: Chain, checkpoint: Path) -> SampleSet:
    found = checkpoints.load_set(checkpoints.load(checkpoint), "test")
    return SampleSet(tuple(chain.manifest.inputs), found.inputs, found.labels)


def _say(grade: Grade) -> None:
    print(f"blur σ = {grade.sigma:g}: precision {grade.precision:.4f}, {grade.alarmed:.0%} alarmed", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument("--precision", type=float, default=0.9968)
    parser.add_argument("--engine-dir", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=Path("resnet.pt"))
    options = parser.parse_args()
    population = made_up("made up", options.precision, "betting")
    prices = population.prices(population.statistics.n)
    plan = population.choices(population.statistics, prices, (1.0,), THOROUGH).fastest(options.precision)
    alarms = [false_alarms(population.name, population.statistics, plan.thresholds, options.streams)]
    grades: list[Grade] = []
    if options.engine_dir is not None:
        with load(options.engine_dir) as chain:
            grades, clean = graded(chain, load_test_set(chain, options.checkpoint), progress=_say)
            alarms.append(false_alarms("test set", clean, thresholds_of(chain), options.streams))
    console = Console(width=150, highlight=False)
    console.print(false_alarms_table(alarms))
    if grades:
        console.print(blur_table(grades))
    return conclude("benchmarks.plan.drift", gates(alarms, grades), measures(grades) if grades else [])


if __name__ == "__main__":
    sys.exit(main())
