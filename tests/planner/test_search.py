import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etbac.planner.prices import Prices
from etbac.planner.search import QUICK, Effort, Search
from etbac.planner.statistics import ExitStatistics


def every_plan(statistics: ExitStatistics, levels: list[np.ndarray]) -> Iterator[tuple[dict[int, float], np.ndarray]]:
    """All subsets of exits with every one of the levels as thresholds, and where samples leave."""
    for limits in itertools.product(*([np.inf, *each] for each in levels)):
        thresholds = {e: float(t) for e, t in zip(statistics.exits, limits, strict=True) if t < np.inf}
        yield thresholds, statistics.leaves_at(thresholds)


def price_of(statistics: ExitStatistics, prices: Prices, thresholds: dict[int, float]) -> float:
    """Added up segment by segment."""
    survivors = statistics.replay(thresholds).survivors
    used = [place for place, exit_id in enumerate(statistics.exits) if exit_id in thresholds]
    segments = zip([-1, *used], [*used, prices.end], strict=True)
    return float(sum(prices.segment(before, place)[survivors[before + 1]] for before, place in segments))


def lowest_within(statistics: ExitStatistics, prices: Prices, most_blocks: int) -> float:
    """The lowest price over every choice of "unused, or stop below the (d + 1)-th harmful survivor" at every exit."""
    harmful, end = statistics.harmful, prices.end

    def lowest(place: int, last: int, alive: np.ndarray, left: int) -> float:
        if place == end:
            return float(prices.segment(last, end)[alive.sum()])
        best = lowest(place + 1, last, alive, left)
        confidence, here = statistics.confidence[place], float(prices.segment(last, place)[alive.sum()])
        harms = np.sort(confidence[alive & harmful[place]])[::-1]
        for d in range(min(left, len(harms) + 1)):
            stays = alive & ~(confidence > (harms[d] if d < len(harms) else -np.inf))
            best = min(best, here + lowest(place + 1, place, stays, left - 1 - d))
        return best

    return lowest(0, -1, np.ones(statistics.n, bool), most_blocks)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("heads", [False, True], ids=["heads unknown", "heads known"])
@pytest.mark.parametrize(("exits", "blocks"), [(1, 9), (2, 9), (3, 8), (4, 7), (5, 6), (6, 5)])
def test_search_is_within_one_percent_of_exhaustive_search(statistics, matrix, exits, blocks, heads, seed):
    sample = statistics(exits, 600, seed)
    prices = Prices.expected(matrix(exits, seed, heads), 8, sample.n)
    found = Search(sample, prices, -sample.harmful.astype(float)).cheapest(-blocks)
    assert found is not None
    assert found.blocks <= blocks
    assert found.cost_ms <= 1.01 * lowest_within(sample, prices, blocks)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("exits", "levels"), [(2, 30), (3, 14)])
def test_it_is_also_where_repairs_count_and_many_samples_are_as_sure(statistics, matrix, exits, levels, seed):
    fine = statistics(exits, 250, seed)
    grades = np.quantile(fine.confidence, np.linspace(0, 1, levels + 1)[1:-1])
    coarse = (np.searchsorted(grades, fine.confidence) / levels).astype(np.float32)
    sample = ExitStatistics(fine.exits, coarse, fine.scores, fine.full_scores)
    prices = Prices.expected(matrix(exits, seed, True), 8, sample.n)
    worth = sample.scores.astype(float) - sample.full_scores
    plans = [
        (price_of(sample, prices, thresholds), worth[stage, np.arange(sample.n)].sum() - len(thresholds))
        for thresholds, stage in every_plan(sample, [np.unique(row) for row in coarse])
    ]
    search = Search(sample, prices, worth, credit=1.0)
    for precision in (0.99, 0.97, 0.95):
        least = -(1 - precision) * sample.n_right
        found = search.cheapest(least)
        assert found.repairs - found.blocks >= least
        assert found.cost_ms <= 1.01 * min(cost for cost, net in plans if net >= least)


@given(
    seed=st.integers(0, 2**32 - 1),
    exits=st.integers(1, 5),
    n=st.integers(1, 60),
    least=st.integers(-8, 2),
    levels=st.integers(1, 9),
    most=st.integers(0, 5),
    fractions=st.booleans(),
)
@settings(max_examples=200)
def test_a_candidate_is_what_its_replay_says(seed, exits, n, least, levels, most, fractions):
    """Confidences with many ties, NaN and infinities among them, answers at random: right or wrong, or in between."""
    rng = np.random.default_rng(seed)
    confidence = (rng.integers(0, levels, (exits, n)) / levels).astype(np.float32)
    odd = rng.random((exits, n))
    confidence[odd < 0.1] = np.nan
    confidence[odd > 0.95] = np.inf
    right = rng.random((exits + 1, n)) < 0.7
    full_right = right[-1] ^ (rng.random(n) < 0.2)
    if fractions:
        right, full_right = right * rng.random((exits + 1, 1)), full_right * rng.random(n)
    sample = ExitStatistics(tuple(range(1, exits + 1)), confidence, right, full_right)
    stages = np.cumsum(rng.random((exits + 1, n + 1)), axis=1) - 1
    stages[:, 0] = 0
    prices = Prices.whole(stages)
    worth = right.astype(float) - full_right

    search = Search(sample, prices, worth, 1.0, most_exits=most)
    found = search.cheapest(least)

    assert found is not None or all(each.net - len(each.thresholds) < least for each in search.front)
    for candidate in (*search.front, *([found] if found else [])):
        replay = sample.replay(candidate.thresholds)
        assert (candidate.harms, candidate.repairs) == (replay.pairs.harms, replay.pairs.repairs)
        assert candidate.cost_ms == pytest.approx(price_of(sample, prices, candidate.thresholds))
        assert len(candidate.thresholds) <= most
        assert np.isfinite(list(candidate.thresholds.values())).all()
    assert found is None or found.net - len(found.thresholds) >= least - 1e-6


def test_less_worth_never_costs_more(statistics, matrix):
    sample = statistics(5, 2_000, 3)
    search = Search(sample, Prices.expected(matrix(5, 3), 16, sample.n), -sample.harmful.astype(float))
    found = [search.cheapest(-blocks).cost_ms for blocks in (0, 1, 2, 4, 8, 16)]
    assert found == sorted(found, reverse=True)
    assert found[0] == search.nothing.cost_ms
    assert [each.cost_ms for each in search.front] == sorted((each.cost_ms for each in search.front), reverse=True)


def test_many_samples_are_searched_on_some_of_them_and_refined_on_all(statistics, matrix):
    sample = statistics(4, 3_000, 5)
    prices, worth = Prices.expected(matrix(4, 5), 16, sample.n), -sample.harmful.astype(float)
    thinned = Search(sample, prices, worth).cheapest(-10)
    whole = Search(sample, prices, worth, effort=Effort(coarse=sample.n)).cheapest(-10)
    assert thinned.cost_ms <= 1.02 * whole.cost_ms
    assert thinned.blocks <= 10


def test_a_quick_search_is_not_far_from_a_thorough_one(statistics, matrix):
    sample = statistics(6, 2_000, 5)
    prices, worth = Prices.expected(matrix(6, 5, True), 16, sample.n), -sample.harmful.astype(float)
    thorough, quick = (Search(sample, prices, worth, effort=effort).cheapest(-8) for effort in (Effort(), QUICK))
    assert quick.blocks <= 8
    assert quick.cost_ms <= 1.05 * thorough.cost_ms


def test_an_exit_that_is_always_right_lets_everybody_go_and_the_others_are_not_used(matrix):
    right = np.ones((3, 500), bool)
    confidence = np.random.default_rng(0).random((2, 500)).astype(np.float32)
    sample = ExitStatistics((4, 9), confidence, right, right[-1])
    found = Search(sample, Prices.expected(matrix(2, 0), 4, 500), -sample.harmful.astype(float)).cheapest(-1)
    assert list(found.thresholds) == [4]
    assert sample.replay(found.thresholds).leaving.tolist() == [500, 0, 0]


def test_a_head_that_costs_more_than_it_saves_is_left_out():
    """The exit lets half of the samples go, and saves them the second stage; its head costs as much as that stage."""
    confidence = np.linspace(0, 1, 100, dtype=np.float32)[None]
    right = np.stack([confidence[0] > 0.5, np.ones(100, bool)])
    sample = ExitStatistics((1,), confidence, right, right[1])
    stages = np.tile(np.arange(101.0), (2, 1))
    trunk = Prices.whole(stages)
    nothing = np.zeros((1, 101))
    used = [
        Search(sample, Prices(trunk.merged, head, nothing), -sample.harmful.astype(float)).cheapest(-1).thresholds
        for head in (stages[:1], nothing)
    ]
    assert [list(each) for each in used] == [[], [1]]
