import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from etbac.errors import InputError
from etbac.metrics import metric
from etbac.metrics.masks import NOT_COUNTED, picture_iou, pixel_accuracy, resized

MIOU = metric("miou")


def scores(masks: np.ndarray, classes: int = 3) -> np.ndarray:
    """Of a model that answers these masks."""
    return np.moveaxis(np.eye(classes, dtype=np.float32)[masks], -1, 1)


def test_pictures_are_scored_one_by_one_by_the_pixels_that_count():
    masks = np.array([[[0, 1], [2, NOT_COUNTED]], [[1, 1], [1, 1]]])
    answers = np.array([[[0, 1], [1, 0]], [[1, 1], [1, 0]]])
    np.testing.assert_allclose(pixel_accuracy(scores(answers), masks), [2 / 3, 3 / 4])
    np.testing.assert_allclose(picture_iou(scores(answers), masks), [(1 + 1 / 2 + 0) / 3, (3 / 4 + 0) / 2])


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(2, 5))
@settings(max_examples=50)
def test_miou_is_over_all_pictures_the_mean_of_the_classes_that_are_anywhere(seed, n, classes):
    rng = np.random.default_rng(seed)
    masks, answers = rng.integers(0, classes, (2, n, 3, 4))
    masks[rng.random(masks.shape) < 0.2] = NOT_COUNTED
    counted = masks != NOT_COUNTED
    ratios = []
    for each in range(classes):
        said, true = (answers == each) & counted, masks == each
        if (said | true).any():
            ratios.append((said & true).sum() / (said | true).sum())
    found = MIOU.of(MIOU.rows(scores(answers, classes), masks))
    assert found == pytest.approx(np.mean(ratios) if ratios else 0)


@given(st.tuples(*[st.integers(1, 9)] * 4), st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_scores_of_another_size_are_resized_as_torch_does_it(sizes, seed):
    old, new = sizes[:2], sizes[2:]
    given_scores = np.random.default_rng(seed).standard_normal((3, *old)).astype(np.float32)
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(given_scores)[None], new, mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(resized(given_scores, *new), wanted[0].numpy(), atol=1e-5)


def test_a_coarser_answer_is_compared_at_the_masks_size():
    masks = np.repeat(np.repeat([[[0, 1], [2, 0]]], 4, axis=1), 4, axis=2)
    assert pixel_accuracy(scores(np.array([[[0, 1], [2, 0]]])), masks)[0] > 0.85
    assert pixel_accuracy(scores(np.array([[[1, 0], [0, 2]]])), masks)[0] < 0.15


def test_a_picture_without_a_counted_pixel_is_left_out_of_ratios_and_nan_is_wrong():
    masks = np.array([[[NOT_COUNTED] * 2], [[0, 0]]])
    answers = scores(np.zeros_like(masks))
    answers[1, 0, 0, 1] = np.nan
    np.testing.assert_array_equal(pixel_accuracy(answers, masks), [0, 0.5])
    np.testing.assert_array_equal(picture_iou(answers, masks), [0, 0.5])


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"scores \[1, 3\] and masks \[1, 2, 2\]"):
        pixel_accuracy(np.zeros((1, 3)), np.zeros((1, 2, 2), int))
    with pytest.raises(InputError, match="masks hold the class 3, and the model scores 3 classes"):
        pixel_accuracy(np.zeros((1, 3, 2, 2)), np.full((1, 2, 2), 3))
    with pytest.raises(InputError, match="masks hold the class -1"):
        pixel_accuracy(np.zeros((1, 3, 2, 2)), np.full((1, 2, 2), -1))
