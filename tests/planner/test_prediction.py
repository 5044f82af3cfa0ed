import numpy as np
import pytest

from etbac.planner.prediction import chain_latency, stage_costs
from etbac.profiles.matrix import Matrix


def test_expected_cost_is_the_mean_over_random_batches(statistics, matrix):
    sample, table = statistics(3, 4_000, 1), matrix(3, 1)
    replay = sample.replay({1: 0.95, 2: 0.9, 3: 0.99})
    stage = sample.leaves_at({1: 0.95, 2: 0.9, 3: 0.99})
    rng = np.random.default_rng(0)
    drawn = stage[rng.integers(0, 4_000, (4_000, 16))]
    sizes = np.stack([(drawn >= k).sum(axis=1) for k in range(4)], axis=1)
    measured = [table.chain_at(row) for row in sizes]
    predicted = chain_latency(table, 16, replay.survivors / sample.n)
    assert predicted == pytest.approx(np.mean(measured), abs=4 * np.std(measured) / np.sqrt(len(measured)))


def test_the_ends_are_exact(matrix):
    table = matrix(2, 5)
    costs = stage_costs(table, 16, [0.0, 1.0])
    np.testing.assert_allclose(costs[:, 0], 0, atol=1e-12)
    np.testing.assert_allclose(costs[:, 1], table.stages_at(16)[:, 16])
    assert chain_latency(table, 16, [1, 1, 1]) == pytest.approx(table.chain_at([16, 16, 16]))


def test_a_stage_with_a_fixed_price_costs_it_whenever_anybody_arrives():
    table = Matrix((1, 0), (1, 4), np.array([[2.0, 2.0], [3.0, 3.0]]), np.array([4.0, 4.0]))
    assert chain_latency(table, 4, [1.0, 0.25]) == pytest.approx(2 + 3 * (1 - 0.75**4))
