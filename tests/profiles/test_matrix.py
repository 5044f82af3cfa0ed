import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etbac.profiles.matrix import Matrix

MATRIX = Matrix((3, 0), (2, 4, 8), np.array([[1.0, 2.0, 3.0], [4.0, 4.0, 8.0]]), np.array([5.0, 6.0, 10.0]))


def test_between_two_sizes_it_is_linear_and_at_a_size_it_is_the_figure_itself():
    table = MATRIX.stages_at(8)
    np.testing.assert_allclose(table[0], [0, 1, 1, 1.5, 2, 2.25, 2.5, 2.75, 3])
    assert MATRIX.full_at(6) == pytest.approx(8.0)


def test_beyond_the_largest_size_it_grows_in_proportion():
    assert MATRIX.full_at(16) == pytest.approx(20.0)


@given(st.integers(0, 8), st.integers(0, 8))
def test_the_chain_is_the_sum_of_its_stages_and_an_empty_stage_costs_nothing(first, second):
    table = MATRIX.stages_at(8)
    assert MATRIX.chain_at([first, second]) == pytest.approx(table[0, first] + table[1, second])
    assert MATRIX.chain_at([0, 0]) == 0


def test_rows_and_sizes_must_fit():
    with pytest.raises(ValueError):
        Matrix((3, 0), (2, 4), MATRIX.stage_ms, MATRIX.full_ms)
    with pytest.raises(ValueError):
        Matrix((3, 0), (4, 2, 8), MATRIX.stage_ms, MATRIX.full_ms)
