import numpy as np
import pytest

from etbac.planner.guarantee import exact_test
from etbac.planner.static_cut import static_cut
from etbac.planner.statistics import ExitStatistics


def chain_with_harms(harms: tuple[int, ...], n: int = 2_000) -> ExitStatistics:
    right = np.ones((len(harms) + 1, n), bool)
    for e, lost in enumerate(harms):
        right[e, :lost] = False
    return ExitStatistics(tuple(range(1, len(harms) + 1)), np.zeros((len(harms), n), np.float32), right, right[-1])


def test_the_earliest_exit_that_holds_the_precision_is_taken(matrix):
    cut = static_cut(chain_with_harms((900, 2, 0)), 0.9968, 0.05)
    assert cut is not None
    assert (cut.exit_id, cut.harms, cut.n_right) == (2, 2, 2_000)
    assert cut.precision == pytest.approx(0.999)
    table = matrix(3, 0)
    assert cut.latency(table, 8) == pytest.approx(table.stages_at(8)[:2, 8].sum())


def test_the_sequence_ends_at_the_first_exit_that_fails():
    assert exact_test(2_000, 30, 0.9968) > 0.05
    assert static_cut(chain_with_harms((0, 30, 0)), 0.9968, 0.05).exit_id == 3
    assert static_cut(chain_with_harms((0, 0, 30)), 0.9968, 0.05) is None
