import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etbac.errors import InputError
from etbac.metrics import metric
from etbac.metrics.values import closeness

PEARSON = metric("pearson")


@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.floats(0, 5))
def test_it_is_pearsons_correlation(seed, n, noise):
    rng = np.random.default_rng(seed)
    targets = rng.uniform(0, 5, n).astype(np.float32)
    numbers = (targets + noise * rng.standard_normal(n)).astype(np.float32)
    found = PEARSON.of(PEARSON.rows(numbers[:, None], targets))
    assert found == pytest.approx(np.corrcoef(numbers, targets)[0, 1], abs=1e-6)


def test_numbers_that_are_all_the_same_have_none():
    assert PEARSON.of(PEARSON.rows(np.ones(5), np.arange(5.0))) == 0


def test_a_number_scores_by_how_near_it_is():
    np.testing.assert_allclose(closeness(np.array([2.0, 3.0, np.nan]), np.array([2.0, 4.0, 0.0])), [1, 0.5, 0])


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"\[3, 2\] and \[3\]"):
        closeness(np.zeros((3, 2)), np.zeros(3))
