import numpy as np
import pytest

from etbac.planner.evidence import Parts, find_test
from etbac.planner.static_cut import static_cut
from etbac.planner.statistics import ExitStatistics

EXACT = find_test("exact")


def chain_with_harms(harms: tuple[int, ...], n: int = 2_000) -> ExitStatistics:
    right = np.ones((len(harms) + 1, n), bool)
    for e, lost in enumerate(harms):
        right[e, :lost] = False
    return ExitStatistics(tuple(range(1, len(harms) + 1)), np.zeros((len(harms), n), np.float32), right, right[-1])


def test_the_earliest_exit_that_holds_the_precision_is_taken(matrix):
    cut = static_cut(chain_with_harms((900, 2, 0)), 0.9968, 0.05, EXACT)
    assert cut is not None
    assert cut.exit_id == 2
    assert cut.precision == pytest.approx(0.999)
    table = matrix(3, 0)
    assert cut.latency(table, 8) == pytest.approx(table.stages_at(8)[:2, 8].sum())


def test_every_exit_has_its_own_test():
    assert EXACT.p_value(chain_with_harms((30,)).pairs({1: 0.0}), 0.9968) > 0.05
    assert static_cut(chain_with_harms((30, 0, 0)), 0.9968, 0.05, EXACT).exit_id == 2
    assert static_cut(chain_with_harms((0, 30, 30)), 0.9968, 0.05, EXACT).exit_id == 1
    assert static_cut(chain_with_harms((30, 30, 30)), 0.9968, 0.05, EXACT) is None


def test_the_test_is_the_one_that_certifies_plans():
    """The full model is wrong where the exit repairs it: more repairs than harms are enough for the one test alone."""
    right = np.ones((2, 4_000), bool)
    right[0, :40] = right[1, 40:240] = False
    sample = ExitStatistics((1,), np.zeros((1, 4_000), np.float32), right, right[1])
    assert static_cut(sample, 0.9968, 0.05, EXACT) is None
    assert static_cut(sample, 0.9968, 0.05, find_test("betting")).exit_id == 1


def test_a_metric_without_a_test_is_held_to_its_ratio():
    """Its value is the mean's square; the scores, by which thresholds are searched, would pass nothing."""
    scores = np.zeros((3, 50))
    means = np.array([0.9, 0.999, 1.0])
    parts = Parts(np.broadcast_to(means[:, None, None], (3, 50, 1)), np.ones((50, 1)), lambda mean: float(mean[0] ** 2))
    sample = ExitStatistics((1, 2), np.zeros((2, 50), np.float32), scores, scores[-1], parts=parts)
    cut = static_cut(sample, 0.9968, 0.05, EXACT)
    assert cut is not None
    assert (cut.exit_id, cut.precision) == (2, pytest.approx(0.998001))
