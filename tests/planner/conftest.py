from collections.abc import Callable

import numpy as np
import pytest

from etbac.planner.statistics import ExitStatistics
from etbac.profiles.matrix import Matrix


@pytest.fixture
def statistics() -> Callable[..., ExitStatistics]:
    """Samples of random hardness: an exit is right below its depth's limit, surer the further away from it."""

    def make(exits: int, n: int, seed: int, noise: float = 0.08) -> ExitStatistics:
        rng = np.random.default_rng(seed)
        hardness = rng.random(n)
        limits = np.sort(rng.uniform(0.6, 1.0, exits + 1))
        margin = limits[:, None] - hardness + noise * rng.standard_normal((exits + 1, n))
        confidence = 1 / (1 + np.exp(-12 * np.abs(margin[:-1])))
        right = margin > 0
        return ExitStatistics(tuple(range(1, exits + 1)), confidence.astype(np.float32), right, right[-1])

    return make


@pytest.fixture
def matrix() -> Callable[..., Matrix]:
    """Stages of random cost, growing with the batch size; with `heads`, these and the cuts are known apart."""

    def make(exits: int, seed: int, heads: bool = False) -> Matrix:
        sizes, rng = (1, 2, 4, 8, 16, 32), np.random.default_rng(seed)
        each = rng.uniform(0.3, 1.7, (exits + 1, 1)) * (0.3 + 0.1 * np.array(sizes))
        head_ms, cut_ms = (rng.uniform(0, most, (exits + 1, 1)) * each for most in (0.4, 0.1))
        head_ms[-1] = cut_ms[0] = 0
        apart = (head_ms, cut_ms) if heads else ()
        return Matrix((*range(1, exits + 1), 0), sizes, each, 0.9 * each.sum(axis=0), *apart)

    return make
