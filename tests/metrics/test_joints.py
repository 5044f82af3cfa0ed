import numpy as np
import pytest

from etbac.errors import InputError
from etbac.metrics.joints import STRIDE, pckh, positions

CELLS = np.array([[[10.25, 5.0], [3.0, 8.75], [12.0, 12.0]]])
"""x and y of three joints, in cells of heatmaps of 16 by 24."""


def heatmaps(cells: np.ndarray) -> np.ndarray:
    rows, columns = np.mgrid[:16, :24]
    x, y = cells[..., 0, None, None], cells[..., 1, None, None]
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8).astype(np.float32)


def joints(cells: np.ndarray, head: float = 8.0) -> np.ndarray:
    ones = np.ones((*cells.shape[:2], 1))
    return np.concatenate([STRIDE * cells, ones, head * ones], axis=2).astype(np.float32)


def test_a_joint_is_where_the_heatmap_is_highest_and_a_quarter_towards_its_higher_neighbour():
    np.testing.assert_allclose(positions(heatmaps(CELLS)), CELLS)


@pytest.mark.parametrize("corner", [(0, 0), (23, 0), (0, 15), (23, 15)])
def test_on_the_border_there_is_no_shift(corner):
    np.testing.assert_array_equal(positions(heatmaps(np.array([[corner]]))), [[corner]])


def test_joints_within_half_a_head_are_found_in_pixels_of_the_input():
    assert pckh(heatmaps(CELLS), joints(CELLS)).tolist() == [1.0]
    moved = CELLS + np.array([[1.0, 0], [0, 1.25], [0, 0]])
    np.testing.assert_allclose(pckh(heatmaps(moved), joints(CELLS)), [2 / 3])
    assert pckh(heatmaps(moved), joints(CELLS, head=10)).tolist() == [1.0]


def test_only_visible_joints_count_and_a_picture_without_any_is_left_out_of_ratios():
    truth = joints(np.concatenate([CELLS, CELLS]))
    truth[0, 0, 2] = 0
    truth[1, :, 2] = 0
    wrong_first = np.concatenate([CELLS + np.array([[5, 5], [0, 0], [0, 0]]), CELLS])
    assert pckh(heatmaps(wrong_first), truth).tolist() == [1.0, 0.0]


def test_a_joint_with_nan_is_not_found():
    maps = heatmaps(CELLS)
    maps[0, 1, 0, 0] = np.nan
    np.testing.assert_allclose(pckh(maps, joints(CELLS)), [2 / 3])


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"heatmaps \[1, 3, 16, 24\] and joints \[1, 2, 4\]"):
        pckh(heatmaps(CELLS), joints(CELLS)[:, :2])
