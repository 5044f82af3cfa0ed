from dataclasses import replace

import numpy as np
import pytest

from etbac.planner.evidence import Parts
from etbac.planner.statistics import ExitStatistics

CONFIDENCE = np.array([[0.9, 0.2, np.nan, 0.5], [0.1, 0.8, 0.9, 0.5]], np.float32)
RIGHT = np.array([[False, True, True, True], [True, True, True, False], [True, True, False, True]])
SAMPLE = ExitStatistics((3, 7), CONFIDENCE, RIGHT, np.array([True, True, True, False]))


def test_samples_leave_at_the_first_exit_that_is_sure():
    assert SAMPLE.leaves_at({3: 0.5, 7: 0.8}).tolist() == [0, 1, 1, 0]
    assert SAMPLE.leaves_at({7: 0.8}).tolist() == [2, 1, 1, 2]


def test_samples_leave_with_the_confidence_of_the_exit_where_they_leave():
    stage, confidence = SAMPLE.leaves_with({3: 0.5})
    assert stage.tolist() == [0, 2, 2, 0]
    np.testing.assert_array_equal(confidence, np.array([0.9, np.nan, np.nan, 0.5], np.float32))


def test_nan_never_leaves_and_no_threshold_or_infinity_holds_everybody():
    assert SAMPLE.leaves_at({3: -1.0}).tolist() == [0, 0, 2, 0]
    assert SAMPLE.leaves_at({3: np.inf}).tolist() == SAMPLE.leaves_at({}).tolist() == [2, 2, 2, 2]


def test_an_infinite_confidence_does_not_leave_where_nobody_may():
    sure = ExitStatistics((1,), np.array([[np.inf]], np.float32), np.ones((2, 1), bool), np.ones(1, bool))
    assert sure.leaves_at({}).tolist() == [1]
    assert sure.leaves_at({1: 0.5}).tolist() == [0]


def test_replay_counts_harms_among_what_the_full_model_gets_right():
    replay = SAMPLE.replay({3: 0.5})
    assert (replay.pairs.harms, replay.pairs.repairs, replay.pairs.n_right) == (2, 1, 3)
    assert replay.precision == pytest.approx(2 / 3)
    assert replay.leaving.tolist() == [2, 0, 2]
    assert replay.survivors.tolist() == [4, 2, 2]
    assert replay.shares.tolist() == [0.5, 0, 0.5]


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError):
        ExitStatistics((3,), CONFIDENCE, RIGHT, RIGHT[-1])


def test_scores_may_be_fractions():
    graded = replace(SAMPLE, scores=RIGHT * 0.5, full_scores=SAMPLE.full_scores * 0.8)
    assert not graded.is_right_or_wrong
    replay = graded.replay({3: 0.5})
    assert (replay.pairs.harms, replay.pairs.repairs) == pytest.approx((0.8 + 0.3 + 0.8, 0.5))
    assert replay.precision == pytest.approx(1.0 / 2.4)
    np.testing.assert_allclose(graded.repaired - graded.harmful, graded.scores - graded.full_scores)
    assert 0.3 <= graded.grain < 0.8
    assert SAMPLE.grain == 1


def test_parts_make_the_metric_of_any_samples_and_stages():
    """Of two classes, the label being 1 in all: the metric is how often it is 1, of those that are 0 or 1, squared."""
    said = np.where(RIGHT, 1.0, 0.0)[..., None]
    parts = Parts(said, np.array([1.0, 1, 1, 0])[:, None], lambda mean: float(mean[0] ** 2))
    sample = replace(SAMPLE, parts=parts, units=np.array([0, 0, 1, 1]))
    assert sample.at(0).chain_metric == 0.75**2
    assert sample.at(0).ratio == 1
    assert sample.replay({3: 0.5}).precision == pytest.approx((2 / 4) ** 2 / 0.75**2)
    some = sample.take(np.array([3, 1, 1]))
    assert some.at(2).chain_metric == 1
    assert some.at(2).full_metric == pytest.approx((2 / 3) ** 2)
    assert some.units.tolist() == [1, 0, 0]
    assert sample.at(0).take(np.array([True, False, False, True])).chain_metric == 0.25
