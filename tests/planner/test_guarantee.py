import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from etbac.errors import UsageError
from etbac.planner import guarantee

precisions = st.floats(0.5, 0.9999)
levels = st.floats(1e-4, 0.4)


@given(st.integers(1, 1_000_000), st.floats(0, 3), precisions)
@settings(max_examples=200, deadline=None)
def test_exact_test_is_the_binomial_tail(n, ratio, precision):
    harms = min(n, int(n * (1 - precision) * ratio))
    expected = stats.binom.cdf(harms, n, 1 - precision)
    assert guarantee.exact_test(n, harms, precision) == pytest.approx(expected, rel=1e-7, abs=1e-300)


@pytest.mark.parametrize(("n", "harms"), [(935, 0), (2_500, 3), (5_000, 9), (10_000, 22), (50_000, 139)])
def test_allowed_harms_at_a_precision_of_9968(n, harms):
    assert guarantee.allowed_harms(n, 0.9968, 0.05) == harms


def test_fewest_samples():
    assert guarantee.samples_needed(0.9968, 0.05) == 935
    assert guarantee.samples_needed(0.99, 0.05) == 299
    assert guarantee.allowed_harms(934, 0.9968, 0.05) == -1


@given(st.integers(1, 100_000), precisions, levels)
@settings(max_examples=200, deadline=None)
def test_allowed_harms_is_the_last_number_that_passes(n, precision, delta):
    most = guarantee.allowed_harms(n, precision, delta)
    assert most == -1 or guarantee.exact_test(n, most, precision) <= delta
    assert guarantee.exact_test(n, most + 1, precision) > delta


@given(st.integers(1, 20_000), st.integers(0, 300), levels)
@settings(max_examples=100, deadline=None)
def test_best_precision_is_where_the_test_just_passes(n, harms, delta):
    best = guarantee.best_precision(n, harms, delta)
    expected = 1 - stats.beta.ppf(1 - delta, harms + 1, n - harms) if harms < n else 0.0
    assert best == pytest.approx(expected, abs=1e-7)


@given(precisions, levels)
@settings(deadline=None)
def test_samples_needed_without_harm_pass_and_one_fewer_does_not(precision, delta):
    n = guarantee.samples_needed(precision, delta)
    assert n is not None
    assert guarantee.exact_test(n, 0, precision) <= delta
    assert n == 1 or guarantee.exact_test(n - 1, 0, precision) > delta


def test_samples_needed_at_a_harm_rate():
    n = guarantee.samples_needed(0.9968, 0.05, harm_rate=0.0025)
    assert n is not None
    assert guarantee.exact_test(n, math.ceil(n * 0.0025), 0.9968) <= 0.05
    assert n > guarantee.samples_needed(0.9968, 0.05, harm_rate=0.001) > 935
    assert guarantee.samples_needed(0.9968, 0.05, harm_rate=0.0033) is None


def test_a_second_reading_costs_half_the_level_and_the_sum_is_said():
    assert [guarantee.reading_level(0.05, k) for k in (1, 2, 3)] == pytest.approx([0.05, 0.025, 0.0125])
    assert guarantee.summed_level(0.05, 3) == pytest.approx(0.0875)
    with pytest.raises(ValueError):
        guarantee.reading_level(0.05, 0)


@given(st.integers(1, 60), st.integers(100, 20_000), st.integers(100, 20_000), st.integers(0, 60))
@settings(max_examples=200, deadline=None)
def test_pass_probability_is_beta_binomial(blocks, n_search, n_certify, allowed):
    expected = stats.betabinom.cdf(allowed, n_certify, blocks, n_search + 1 - blocks)
    assert guarantee.pass_probability(blocks, n_search, n_certify, allowed) == pytest.approx(
        expected, rel=1e-6, abs=1e-12
    )


def test_pass_probability_holds_for_thresholds_cut_one_after_the_other():
    """Two exits, each cut at its second harmful sample: four blocks, whatever the confidences' distributions are."""
    rng = np.random.default_rng(0)
    n_search = n_certify = 2_000
    allowed, passed, trials = 6, 0, 2_000
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
    expected = guarantee.pass_probability(4, n_search, n_certify, allowed)
    assert passed / trials == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / trials))


@pytest.mark.parametrize(("precision", "said"), [(99.68, "0.9968"), (0, "between 0 and 1"), (1, "between 0 and 1")])
def test_a_precision_that_is_no_ratio_is_refused(precision, said):
    with pytest.raises(UsageError, match=said):
        guarantee.allowed_harms(1_000, precision, 0.05)
