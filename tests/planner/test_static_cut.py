import numpy as np
import pytest

from etbac.planner.evidence import find_test
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
