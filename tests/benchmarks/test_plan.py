import numpy as np
import pytest

from benchmarks.plan.baselines import compare, one_threshold, static_cut
from benchmarks.plan.guarantee import gates, made_up, measures, repeat, table
from etbac.planner.statistics import ExitStatistics


def test_the_draws_are_the_same_whoever_makes_them():
    population = made_up("made up", 0.97, "betting", exits=3, n=4_000)
    once, again = (repeat(population, 600, draws=6, workers=1) for _ in range(2))
    assert once.draws == again.draws
    assert len(once.draws) == 6


@pytest.mark.parametrize("test", ["betting", "exact"])
def test_certified_plans_hold_where_naive_ones_do_not_and_cut_less_than_the_best(test):
    cell = repeat(made_up("made up", 0.97, test, exits=3, n=6_000), 800, draws=30, workers=1)
    assert cell.violations <= 5
    assert cell.naive_violations > 5
    assert cell.no_exit < 0.5
    assert 0.2 < cell.of_best < 1.02
    assert all(draw.cut == 0 for draw in cell.draws if not draw.certified)


def test_a_level_that_lets_nearly_everything_pass_has_violations():
    """That the count counts."""
    population = made_up("made up", 0.97, "exact", exits=3, n=6_000)
    loose = type(population)(population.name, population.statistics, population.matrix, 0.97, "exact", level=0.9)
    cell = repeat(loose, 800, draws=30, workers=1)
    assert cell.violations > 8
    assert not any(gate.met for gate in gates([cell]))
    assert len(measures([cell])) == 1
    assert table([cell]).row_count == 1


def test_the_planner_is_at_least_as_fast_as_the_others():
    population = made_up("made up", 0.98, "betting", exits=5, n=3_000)
    planner, *others = compare(population.statistics, population.matrix, 16, 0.98)
    assert planner.precision >= 0.98
    for rival in others:
        assert rival.precision >= 0.98
        assert planner.cost_ms <= rival.cost_ms * 1.001
    names = {rival.name: rival for rival in others}
    assert names["recursive placement"].cost_ms < names["no exit"].cost_ms


def test_one_threshold_and_the_static_cut_are_the_boldest_that_keep_the_precision():
    right = np.ones((3, 100), bool)
    right[0, :30] = False
    right[1, :1] = False
    confidence = np.tile(np.linspace(0, 1, 100, dtype=np.float32), (2, 1))
    sample = ExitStatistics((4, 9), confidence, right, right[2])
    assert list(static_cut(sample, 0.99)) == [9]
    (at,) = set(one_threshold(sample, 0.99).values())
    assert at == confidence[0, 29]
