"""Latency of several ways to answer the same batches, measured in one run, alternating, so that noise falls on all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Batch = Mapping[str, npt.NDArray[np.generic]]
Answer = Callable[[Batch], object]
Figure = Callable[[npt.NDArray[np.float64]], float]
FEWEST_FOR_P99 = 2_000
RESAMPLES = 1_000
ROWS_OF_A_BLOCK = 25
"""Consecutive batches are resampled together: a busy moment of the machine falls on neighbours."""


@dataclass(frozen=True)
class Timings:
    """Seconds of every batch, by contender; position i is the same batch for all."""

    seconds: Mapping[str, npt.NDArray[np.float64]]

    def mean(self, name: str) -> float:
        return float(self.seconds[name].mean())

    def quantile(self, name: str, q: float) -> float:
        return float(np.quantile(self.seconds[name], q))

    def ratio(self, name: str, base: str) -> float:
        """Mean latency of `name` ÷ mean latency of `base`."""
        return self.mean(name) / self.mean(base)

    def ratio_interval(self, name: str, base: str, block: int = ROWS_OF_A_BLOCK, seed: int = 0) -> tuple[float, float]:
        """95% bootstrap interval (percentile, paired, in blocks of so many batches) of `ratio`."""
        low, high = np.quantile(self._resampled(name, base, _mean, block, seed), (0.025, 0.975))
        return float(low), float(high)

    def p99_ratio_bound(self, name: str, base: str, seed: int = 0) -> float:
        """Upper 95% bootstrap bound (percentile, paired, in blocks) of p99(name) ÷ p99(base)."""
        return float(np.quantile(self._resampled(name, base, _p99, ROWS_OF_A_BLOCK, seed), 0.95))

    def _resampled(self, name: str, base: str, figure: Figure, block: int, seed: int) -> list[float]:
        """The figure of `name` ÷ that of `base`, of RESAMPLES draws of blocks."""
        rng = np.random.default_rng(seed)
        blocks = len(self.seconds[name]) // block
        ours, theirs = (self.seconds[each][: blocks * block].reshape(blocks, -1) for each in (name, base))
        draws = (rng.integers(0, blocks, blocks) for _ in range(RESAMPLES))
        return [figure(ours[drawn]) / figure(theirs[drawn]) for drawn in draws]


def _mean(seconds: npt.NDArray[np.float64]) -> float:
    return float(seconds.mean())


def _p99(seconds: npt.NDArray[np.float64]) -> float:
    return float(np.quantile(seconds, 0.99))


def random_rows(samples: int, batch_size: int, batches: int, seed: int = 0) -> Iterator[npt.NDArray[np.int64]]:
    """Rows of full batches of random composition; every sample is drawn once before any is drawn again."""
    rng = np.random.default_rng(seed)
    order = np.empty(0, np.int64)
    for _ in range(batches):
        while len(order) < batch_size:
            order = np.concatenate([order, rng.permutation(samples)])
        rows, order = order[:batch_size], order[batch_size:]
        yield rows


def random_batches(
    inputs: Mapping[str, npt.NDArray[np.generic]], batch_size: int, batches: int, seed: int = 0
) -> Iterator[Batch]:
    """Full batches of random composition, of inputs with their batch on axis 0."""
    for rows in random_rows(len(next(iter(inputs.values()))), batch_size, batches, seed):
        yield {name: array[rows] for name, array in inputs.items()}


def measure(contenders: Mapping[str, Answer], batches: Iterator[Batch], warm_up: int = 20, seed: int = 0) -> Timings:
    """Time every contender on every batch, in an order drawn anew for each batch; the first `warm_up` don't count."""
    rng = np.random.default_rng(seed)
    names = list(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number, batch in enumerate(batches):
        for place in rng.permutation(len(names)):
            begin = time.perf_counter()
            contenders[names[place]](batch)
            elapsed = time.perf_counter() - begin
            if number >= warm_up:
                seconds[names[place]].append(elapsed)
    return Timings({name: np.array(values) for name, values in seconds.items()})
