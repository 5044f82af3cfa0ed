from dataclasses import replace

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


def test_a_stage_is_padded_to_the_size_above_that_is_fastest_if_it_spares_enough():
    #             1     2     4    8   16
    fast_at_8 = [9.0, 5.0, 4.15, 4.0, 9.0]
    table = Matrix((3, 7, 0), (1, 2, 4, 8, 16), np.array([fast_at_8] * 3), np.ones(5))
    rows = table.padded(18)
    np.testing.assert_array_equal(rows[0], range(19))  # takes what the chain is given
    # 4 rows take 4.15 ms: 8 spare less than a twentieth
    np.testing.assert_array_equal(rows[1], [0, 8, 8, 8, *range(4, 19)])
    np.testing.assert_allclose(table.stages_at(4)[2], [0, 4, 4, 4, 4.15])
    noisy = replace(table, noise=0.3).padded(8)
    np.testing.assert_array_equal(noisy[1], [0, 8, *range(2, 9)])
    assert table.chain_at([4, 3, 1]) == pytest.approx(4.15 + (5 + 4.15) / 2 + 9)


def test_with_fewer_exits_stages_join_without_the_heads_and_cuts_between():
    stage_ms, head_ms, cut_ms = (
        np.array([row] * 2).T.astype(float) for row in ([5, 7, 9, 4], [1, 2, 3, 0], [0, 0.5, 0.25, 0.1])
    )
    runs = np.arange(8.0).reshape(4, 2, 1)
    whole = Matrix((1, 2, 3, 0), (1, 4), stage_ms, np.ones(2), head_ms, cut_ms, runs=runs)
    assert whole.with_exits((1, 2, 3)).stage_ms == pytest.approx(stage_ms)
    fewer = whole.with_exits((2,))
    assert fewer.stages == (2, 0)
    np.testing.assert_allclose(fewer.stage_ms[:, 0], [5 - 1 + 7 - 0.5, 9 - 3 + 4 - 0.1])
    np.testing.assert_array_equal(fewer.runs, runs[[1, 3]])
    with pytest.raises(ValueError, match="not measured apart"):
        fewer.with_exits((2,))


latencies = st.lists(st.floats(0.1, 10), min_size=8, max_size=8)


@given(latencies, st.integers(0, 20))
def test_padding_never_costs_and_what_is_padded_is_padded_no_further(each, largest):
    table = Matrix((3, 0), (1, 2, 5, 8), np.reshape(each, (2, 4)), np.ones(4))
    rows, raw = table.padded(largest), table.at(table.stage_ms, 20)
    assert (rows >= np.arange(largest + 1)).all()
    assert (table.stages_at(largest) <= raw[:, : largest + 1]).all()
    again = table.padded(20)
    np.testing.assert_array_equal(np.take_along_axis(again, rows, axis=1), rows)
