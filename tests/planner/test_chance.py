import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from etbac.planner.chance import DRAWS, Ahead, chance
from etbac.planner.evidence import find_test
from etbac.planner.guarantee import allowed_harms

BETTING, EXACT = find_test("betting"), find_test("exact")


def ahead(n: int, test=EXACT, precision: float = 0.9968, n_right: int | None = None) -> Ahead:
    return Ahead(test, precision, 0.05, n, n if n_right is None else n_right)


@given(st.integers(0, 60), st.integers(100, 20_000), st.integers(100, 20_000), st.floats(0.9, 0.999))
@settings(max_examples=100)
def test_of_the_exact_test_it_is_beta_binomial(blocks, n_search, n_certify, precision):
    allowed = allowed_harms(n_certify, precision, 0.05)
    found = chance(ahead(n_certify, precision=precision), blocks, 0, n_search, n_search)
    if blocks == 0 or allowed < 0:
        assert found == (allowed >= 0)
        return
    expected = stats.betabinom.cdf(allowed, n_certify, blocks, n_search + 1 - blocks)
    assert found == pytest.approx(expected, abs=5 * math.sqrt(0.25 / DRAWS))


def test_it_holds_for_thresholds_cut_one_after_the_other():
    """Two exits, each cut at its second harmful sample: four blocks, whatever the confidences' distributions are."""
    rng = np.random.default_rng(0)
    n_search = n_certify = 2_000
    allowed, passed, trials = allowed_harms(n_certify, 0.994, 0.05), 0, 2_000
    for _ in range(trials):
        first, second = rng.random((2, n_search + n_certify))
        wrong_first, wrong_second = rng.random((2, n_search + n_certify)) < np.array([[0.1], [0.05]])
        harm_one = np.where(wrong_first, first, -1.0)
        cut_one = np.sort(harm_one[:n_search])[-2]
        stays = first < cut_one
        harm_two = np.where(wrong_second & stays, second, -1.0)
        cut_two = np.sort(harm_two[:n_search])[-2]
        harms = (harm_one[n_search:] >= cut_one) | (harm_two[n_search:] >= cut_two)
        passed += int(harms.sum() <= allowed)
    expected = chance(ahead(n_certify, precision=0.994), 4, 0, n_search, n_search)
    assert passed / trials == pytest.approx(expected, abs=0.06)


def test_repairs_raise_the_chance_of_the_betting_test_alone():
    with_repairs, without = (
        [chance(ahead(10_000, test, n_right=9_300), 30, repairs, 10_000, 9_300) for repairs in (30, 0)]
        for test in (BETTING, EXACT)
    )
    assert with_repairs[0] > with_repairs[1] + 0.5
    assert without[0] == without[1]


def test_more_harm_never_has_a_better_chance():
    found = [chance(ahead(10_000, BETTING, n_right=9_300), blocks, 10, 10_000, 9_300) for blocks in range(0, 60, 5)]
    assert found == sorted(found, reverse=True)
    assert (found[0], found[-1]) == (1, 0)
