from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from etbac.errors import UsageError
from etbac.passes.gates.keypoints import Keypoints

Decide = Callable[..., dict[str, Any]]


@pytest.fixture
def heatmaps() -> Any:
    return np.random.default_rng(0).standard_normal((5, 16, 6, 4)).astype(np.float32)


@pytest.mark.parametrize("m", [1, 9, 16])
def test_confidence_is_the_mth_largest_joint_maximum(decide: Decide, heatmaps: Any, m: int) -> None:
    expected = np.sort(heatmaps.max(axis=(2, 3)), axis=1)[:, -m]
    np.testing.assert_array_equal(decide(Keypoints(m=m), heatmaps)["confidence"], expected)


def test_a_sample_leaves_when_m_joints_reach_the_threshold(decide: Decide) -> None:
    heatmaps = np.zeros((3, 16, 2, 2), np.float32)
    for row, joints in enumerate([8, 9, 10]):
        heatmaps[row, :joints, 1, 0] = 0.7
    assert decide(Keypoints(), heatmaps, threshold=0.7)["exit_mask"].tolist() == [False, True, True]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_row_that_holds_nan_never_exits(decide: Decide, heatmaps: Any, bad: float) -> None:
    heatmaps[1, 3, 2, 1] = bad
    heatmaps[1, 4, 0, 0] = -bad
    found = decide(Keypoints(), heatmaps, threshold=-np.inf)
    assert found["exit_mask"].tolist() == [True, False, True, True, True]


def test_more_joints_than_there_are_is_refused(decide: Decide) -> None:
    with pytest.raises(UsageError, match="m=9 and exit_1 has 4 joints; m is 1 to 4"):
        decide(Keypoints(), np.zeros((1, 4, 2, 2), np.float32))


def test_a_classification_is_refused(decide: Decide) -> None:
    with pytest.raises(UsageError, match=r"reads a prediction \[B, J, H, W\]; exit_1 is \[B, 10\]"):
        decide(Keypoints(), np.zeros((1, 10), np.float32))
