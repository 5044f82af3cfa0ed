import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from etbac.errors import UsageError
from etbac.planner import guarantee

precisions = st.floats(0.5, 0.9999)
levels = st.floats(1e-4, 0.4)


@given(st.integers(1, 1_000_000), st.floats(0, 3), precisions)
@settings(max_examples=200)
def test_exact_test_is_the_binomial_tail(n, ratio, precision):
    harms = min(n, int(n * (1 - precision) * ratio))
    expected = stats.binom.cdf(harms, n, 1 - precision)
    # scipy's own falls to nothing early: 0.0 where the tail is 2.9e-269
    assert guarantee.exact_test(n, harms, precision) == pytest.approx(expected, rel=1e-7, abs=1e-200)


@pytest.mark.parametrize(("n", "harms"), [(935, 0), (2_500, 3), (5_000, 9), (10_000, 22), (50_000, 139)])
def test_allowed_harms_at_a_precision_of_9968(n, harms):
    assert guarantee.allowed_harms(n, 0.9968, 0.05) == harms


def test_fewest_samples():
    assert guarantee.samples_needed(0.9968, 0.05) == 935
    assert guarantee.samples_needed(0.99, 0.05) == 299
    assert guarantee.allowed_harms(934, 0.9968, 0.05) == -1


@given(st.integers(1, 100_000), precisions, levels)
@settings(max_examples=200)
def test_allowed_harms_is_the_last_number_that_passes(n, precision, delta):
    most = guarantee.allowed_harms(n, precision, delta)
    assert most == -1 or guarantee.exact_test(n, most, precision) <= delta
    assert guarantee.exact_test(n, most + 1, precision) > delta


@given(st.integers(1, 20_000), st.integers(0, 300), levels)
@settings(max_examples=100)
def test_best_precision_is_where_the_test_just_passes(n, harms, delta):
    best = guarantee.best_precision(n, harms, delta)
    expected = 1 - stats.beta.ppf(1 - delta, harms + 1, n - harms) if harms < n else 0.0
    assert best == pytest.approx(expected, abs=1e-7)


@given(precisions, levels)
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
    with pytest.raises(ValueError):
        guarantee.reading_level(0.05, 0)


@pytest.mark.parametrize(("precision", "said"), [(99.68, "0.9968"), (0, "between 0 and 1"), (1, "between 0 and 1")])
def test_a_precision_that_is_no_ratio_is_refused(precision, said):
    with pytest.raises(UsageError, match=said):
        guarantee.allowed_harms(1_000, precision, 0.05)
