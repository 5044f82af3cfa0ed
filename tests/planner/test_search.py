import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etbac.planner.prediction import stage_costs
from etbac.planner.search import cheapest
from etbac.planner.statistics import ExitStatistics


def brute_force(statistics: ExitStatistics, costs: np.ndarray, most_blocks: int) -> float:
    """The lowest cost over every choice of "unused, or stop below the (d + 1)-th harmful survivor" at every exit."""
    best = np.inf
    for choice in itertools.product(range(-1, most_blocks), repeat=len(statistics.exits)):
        if sum(d + 1 for d in choice) > most_blocks:
            continue
        alive = np.ones(statistics.n, bool)
        cost = costs[0, statistics.n]
        for e, d in enumerate(choice):
            confidence = statistics.confidence[e]
            if d >= 0:
                harms = np.sort(confidence[alive & statistics.harmful[e]])[::-1]
                alive &= ~(confidence > (harms[d] if d < len(harms) else -np.inf))
            cost += costs[e + 1, alive.sum()]
        best = min(best, cost)
    return float(best)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("exits", "blocks"), [(1, 6), (2, 9), (3, 8), (4, 6)])
def test_search_is_within_one_percent_of_exhaustive_search(statistics, matrix, exits, blocks, seed):
    sample = statistics(exits, 600, seed)
    costs = stage_costs(matrix(exits, seed), 8, np.arange(601) / 600)
    assert cheapest(sample, costs, blocks).cost_ms <= 1.01 * brute_force(sample, costs, blocks)


@given(
    seed=st.integers(0, 2**32 - 1),
    exits=st.integers(1, 5),
    n=st.integers(1, 60),
    blocks=st.integers(0, 8),
    levels=st.integers(1, 9),
)
@settings(max_examples=150, deadline=None)
def test_a_candidate_keeps_its_budget_and_costs_what_its_replay_costs(seed, exits, n, blocks, levels):
    """Confidences with many ties, NaN among them, answers at random."""
    rng = np.random.default_rng(seed)
    confidence = (rng.integers(0, levels, (exits, n)) / levels).astype(np.float32)
    confidence[rng.random((exits, n)) < 0.1] = np.nan
    right = rng.random((exits + 1, n)) < 0.7
    full_right = right[-1] ^ (rng.random(n) < 0.2)
    sample = ExitStatistics(tuple(range(1, exits + 1)), confidence, right, full_right)
    costs = np.cumsum(rng.random((exits + 1, n + 1)), axis=1) - 1
    costs[:, 0] = 0

    found = cheapest(sample, costs, blocks)
    replay = sample.replay(found.thresholds)

    assert replay.harms <= found.blocks
    assert found.blocks <= blocks or not found.thresholds
    assert found.cost_ms == pytest.approx(sum(costs[k, s] for k, s in enumerate(replay.survivors)))
    assert not np.isnan(list(found.thresholds.values())).any()


def test_more_budget_never_costs_more(statistics, matrix):
    sample = statistics(5, 2_000, 3)
    costs = stage_costs(matrix(5, 3), 16, np.arange(2_001) / 2_000)
    found = [cheapest(sample, costs, blocks).cost_ms for blocks in (0, 1, 2, 4, 8, 16)]
    assert found == sorted(found, reverse=True)
    assert found[0] == pytest.approx(costs[:, -1].sum())


def test_an_exit_that_is_always_right_lets_everybody_go(matrix):
    right = np.ones((3, 500), bool)
    confidence = np.random.default_rng(0).random((2, 500)).astype(np.float32)
    sample = ExitStatistics((4, 9), confidence, right, right[-1])
    costs = stage_costs(matrix(2, 0), 4, np.arange(501) / 500)
    assert sample.replay(cheapest(sample, costs, 1).thresholds).leaving.tolist() == [500, 0, 0]
