from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from etbac.planner.choices import Choices
from etbac.planner.demands import Demands
from etbac.planner.memory import Memory
from etbac.planner.prices import Prices
from etbac.planner.statistics import ExitStatistics

BATCH = 8


@pytest.fixture
def sample(statistics) -> ExitStatistics:
    made = statistics(4, 2_000, 2)
    return ExitStatistics(made.exits, made.confidence, made.scores, made.full_scores, np.arange(made.n) % 3)


def choices(sample: ExitStatistics, table, **asked: Any) -> Choices:
    return Choices(
        sample, Prices.expected(table, BATCH, sample.n), Demands(sample, Prices.exactly(table, BATCH), **asked)
    )


def test_the_tail_is_that_of_random_batches(sample, matrix):
    table, thresholds = matrix(4, 2), {1: 0.97, 2: 0.95, 3: 0.9, 4: 0.9}
    stage = sample.leaves_at(thresholds)
    drawn = stage[np.random.default_rng(1).integers(0, sample.n, (4_000, BATCH))]
    times = [table.chain_at([(row >= k).sum() for k in range(5)]) for row in drawn]
    found = Demands(sample, Prices.exactly(table, BATCH)).tail_ms(thresholds)
    assert found == pytest.approx(np.quantile(times, 0.99), rel=0.02)


def test_without_exits_the_tail_is_the_whole_chain(sample, matrix):
    table = matrix(4, 2, True)
    prices = Prices.exactly(table, BATCH)
    assert Demands(sample, prices).tail_ms({}) == pytest.approx(prices.segment(-1, 4)[BATCH])


def test_the_tail_has_the_noise_of_single_runs_which_falls_on_a_whole_batch(sample, matrix):
    table = matrix(4, 2, True)
    runs = np.ones((5, len(table.batch_sizes), 200))
    runs[..., :10] = 3.0
    noisy = Demands(sample, Prices.exactly(replace(table, runs=runs), BATCH))
    calm = Demands(sample, Prices.exactly(table, BATCH))
    assert noisy.tail_ms({}) == pytest.approx(3 * calm.tail_ms({}))


def test_a_plan_is_found_that_keeps_to_the_tail(sample, matrix):
    free = choices(sample, matrix(4, 2, True))
    tails = sorted(free.demands.tail_ms(choice.candidate.thresholds) for choice in free.plans)
    limit = (tails[0] + tails[len(tails) // 2]) / 2
    found = choices(sample, matrix(4, 2, True), most_ms=limit)
    assert found.plans
    assert all(found.demands.tail_ms(choice.candidate.thresholds) <= limit for choice in found.plans)
    assert choices(sample, matrix(4, 2, True), most_ms=tails[0] / 100).plans == []


def test_every_class_keeps_the_precision_asked_for(matrix):
    """The first exit is as sure of class 2 as of the others, and half as often right."""
    rng = np.random.default_rng(0)
    classes = np.arange(3_000) % 3
    confidence = rng.random((1, 3_000)).astype(np.float32)
    right = np.ones((2, 3_000), bool)
    right[0] = confidence[0] > np.where(classes == 2, 0.5, 0.1)
    sample = ExitStatistics((1,), confidence, right, right[1], classes)
    free, fair = choices(sample, matrix(1, 0)), choices(sample, matrix(1, 0), class_precision=0.98)
    (plain, kept) = (each.fastest(0.95) for each in (free, fair))
    assert free.demands.class_precisions(plain.thresholds)[1].min() < 0.98
    names, ratios = fair.demands.class_precisions(kept.thresholds)
    assert names.tolist() == [0, 1, 2]
    assert ratios.min() >= 0.98
    assert kept.thresholds
    assert kept.cost_ms > plain.cost_ms


def test_no_plan_has_heads_that_take_more_than_is_allowed(sample, matrix):
    """The exit that a free choice has is too large, and of the others two fit."""
    free = choices(sample, matrix(4, 2))
    wanted = max(free.fastest(0.9).thresholds)
    memory = Memory({exit_id: 9 if exit_id == wanted else 2 for exit_id in sample.exits}, 5)
    found = choices(sample, matrix(4, 2), memory=memory)
    taken = {memory.taken(choice.candidate.thresholds) for choice in found.plans}
    assert taken == {0, 2, 4}
    assert wanted not in found.fastest(0.9).thresholds
    assert found.fastest(0.9).thresholds


def test_the_fastest_plan_keeps_the_precision_on_the_search_set(sample, matrix):
    found = choices(sample, matrix(4, 2, True)).fastest(0.98)
    assert found.thresholds
    assert sample.replay(found.thresholds).precision >= 0.98


def test_the_front_trades_precision_for_latency(sample, matrix):
    front = choices(sample, matrix(4, 2, True)).front
    assert [each.net for each in front] == sorted({each.net for each in front}, reverse=True)
    assert [each.cost_ms for each in front] == sorted({each.cost_ms for each in front}, reverse=True)
