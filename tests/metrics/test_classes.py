import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from etbac import metrics
from etbac.errors import InputError
from etbac.metrics.classes import confusion

scores = hnp.arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(2, 5)), elements=st.floats(-9, 9, width=32))


def test_accuracy_is_per_sample():
    prediction = np.array([[0.1, 0.9], [0.8, 0.2], [0.4, 0.6]], np.float32)
    np.testing.assert_array_equal(metrics.accuracy(prediction, [1, 1, 1]), [True, False, True])


def test_a_row_with_nan_is_wrong():
    prediction = np.array([[np.nan, 0.0], [1.0, 0.0]], np.float32)
    np.testing.assert_array_equal(metrics.accuracy(prediction, [0, 0]), [False, True])


@given(scores)
def test_a_prediction_agrees_with_itself_and_with_its_own_labels(prediction):
    assert metrics.agreement(prediction, prediction).all()
    assert metrics.accuracy(prediction, prediction.argmax(axis=1)).all()


def test_agreement_is_of_decisions_at_every_position_and_in_every_field():
    mask = np.zeros((2, 3, 4), np.float32)
    mask[:, 1] = 1
    other = mask.copy()
    other[1, 2, 3] = 2
    np.testing.assert_array_equal(metrics.agreement(mask, other), [True, False])
    fields = {"mask": mask, "count": np.array([3, 4])}
    np.testing.assert_array_equal(metrics.agreement(fields, {**fields, "count": np.array([5, 4])}), [False, True])


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"\[2, 3\].*\[1\]"):
        metrics.accuracy(np.zeros((2, 3), np.float32), [0])
    with pytest.raises(InputError, match="same fields"):
        metrics.agreement({"a": np.zeros(2)}, {"b": np.zeros(2)})


binary = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


def of(name: str, pairs: list[tuple[bool, bool]]) -> float:
    """The metric of samples with these (answer, label), through scores."""
    said, labels = np.array(pairs).T.astype(int)
    metric = metrics.metric(name)
    return metric.of(metric.rows(np.eye(2, dtype=np.float32)[said], labels))


@given(binary)
def test_f1_is_the_harmonic_mean_of_precision_and_recall(pairs):
    hits = sum(said and label for said, label in pairs)
    said, there = (sum(column) for column in zip(*pairs, strict=True))
    if hits == 0:
        assert of("f1", pairs) == 0
    else:
        assert of("f1", pairs) == pytest.approx(2 / (said / hits + there / hits))


@given(binary)
def test_mcc_is_the_correlation_of_answers_and_labels(pairs):
    said, labels = np.array(pairs).T.astype(float)
    constant = said.std() == 0 or labels.std() == 0
    assert of("mcc", pairs) == pytest.approx(0 if constant else np.corrcoef(said, labels)[0, 1])


def test_a_row_with_nan_is_neither_hit_nor_rest():
    prediction = np.full((2, 2), np.nan, np.float32)
    np.testing.assert_array_equal(confusion(prediction, [1, 0]), [[0, 0, 1, 0], [0, 1, 0, 0]])


@pytest.mark.parametrize(("classes", "labels"), [(3, [0, 1]), (2, [1, 2])])
def test_f1_is_of_two_classes(classes, labels):
    with pytest.raises(InputError, match="of two classes"):
        confusion(np.zeros((2, classes), np.float32), labels)
