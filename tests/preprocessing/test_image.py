from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from etbac.errors import InputError
from etbac.preprocessing import ImagePreprocessing

SIDES = st.integers(1, 60)


def as_it_is(
    height: int, width: int, channels: int = 3, resize: str = "stretch", crop: float = 1
) -> ImagePreprocessing:
    return ImagePreprocessing("x", height, width, channels, 1.0, (0.0,) * channels, (1.0,) * channels, resize, crop)


def gradient(height: int, width: int) -> np.ndarray:
    """Red grows from left to right, green from top to bottom, both 0 to 255."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0] = (np.arange(width) + 0.5) / width * 255
    picture[..., 1] = ((np.arange(height) + 0.5) / height * 255)[:, None]
    return picture


def test_pixels_are_scaled_and_moved() -> None:
    form = ImagePreprocessing("x", 2, 3, 2, 0.5, (1.0, 2.0), (2.0, 4.0))
    pixels = np.arange(12, dtype=np.uint8).reshape(1, 2, 3, 2)
    expected = ((pixels * 0.5 - np.array([1, 2])) / np.array([2, 4])).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(form.apply(pixels)["x"], expected, rtol=1e-6)
    np.testing.assert_array_equal(form.apply(list(pixels))["x"], form.apply(pixels)["x"])


def test_what_was_recorded_before_there_was_resizing_is_read() -> None:
    recorded = as_it_is(4, 5).to_json()
    assert (recorded.pop("resize"), recorded.pop("crop")) == ("stretch", 1)
    assert ImagePreprocessing.from_json(recorded) == as_it_is(4, 5)


@given(SIDES, SIDES, SIDES, SIDES)
def test_a_stretched_picture_shows_the_whole(height: int, width: int, to_height: int, to_width: int) -> None:
    found = as_it_is(to_height, to_width).apply([gradient(height, width)])["x"][0]
    assert found.shape == (3, to_height, to_width)
    expected = np.asarray(
        Image.fromarray(gradient(height, width)).resize((to_width, to_height), Image.Resampling.BILINEAR)
    )
    np.testing.assert_array_equal(found.transpose(1, 2, 0), expected)


@pytest.mark.parametrize(("height", "width"), [(256, 256), (512, 384), (300, 900)])
def test_imagenets_crop_is_224_of_a_short_side_of_256(height: int, width: int) -> None:
    """The middle of the picture, 0.875 of its short side; coordinates are read back from the gradient."""
    found = as_it_is(224, 224, resize="crop", crop=0.875).apply([gradient(height, width)])["x"][0]
    seen = 0.875 * min(height, width)
    for channel, side in ((0, width), (1, height)):
        first, last = (np.float64(found[channel]).mean(axis=channel)[place] * side / 255 for place in (0, -1))
        step = seen / 224
        assert first == pytest.approx((side - seen) / 2 + step / 2, abs=3)
        assert last == pytest.approx((side + seen) / 2 - step / 2, abs=3)


@given(SIDES, SIDES, SIDES, SIDES, st.floats(0.1, 1))
def test_a_crop_has_the_models_size_whatever_the_pictures(
    height: int, width: int, to_height: int, to_width: int, crop: float
) -> None:
    form = as_it_is(to_height, to_width, 1, "crop", crop)
    picture = np.full((height, width, 1), 7, np.uint8)
    assert (form.apply([picture])["x"] == 7).all()
    assert form.apply([picture])["x"].shape == (1, 1, to_height, to_width)


@given(SIDES, SIDES)
def test_values_that_are_taken_as_they_are_are_not_mixed(to_height: int, to_width: int) -> None:
    mask = np.random.default_rng(0).choice(np.array([0, 9, 255], np.uint8), (20, 30))
    found = as_it_is(to_height, to_width).fit(mask, nearest=True)
    assert found.shape == (to_height, to_width)
    assert set(np.unique(found)) <= {0, 9, 255}


def test_a_grey_picture_fills_three_channels() -> None:
    grey = gradient(7, 9)[..., :1]
    (found,) = as_it_is(4, 5).apply(grey[None])["x"]
    (alone,) = as_it_is(4, 5, 1).apply(grey[None])["x"]
    np.testing.assert_array_equal(found, alone.repeat(3, axis=0))


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(InputError, match=r"shape \(5, 5, 2\) was given; the model takes 3 channels"):
        as_it_is(4, 4).apply([np.zeros((5, 5, 2), np.uint8)])
    with pytest.raises(InputError, match=r"shape \(5, 5, 3\) was given; the model takes 1 channel:"):
        as_it_is(4, 4, 1).apply([np.zeros((5, 5, 3), np.uint8)])
    with pytest.raises(InputError, match=r"1 or 3 channels can be resized"):
        as_it_is(4, 4, 2).apply([np.zeros((5, 5, 2), np.uint8)])
    with pytest.raises(InputError, match=r"stretch or crop.*'squeeze'"):
        as_it_is(4, 4, resize="squeeze")
    with pytest.raises(InputError, match=r"at most 1; found 'crop' and 1\.5"):
        as_it_is(4, 4, resize="crop", crop=1.5)
