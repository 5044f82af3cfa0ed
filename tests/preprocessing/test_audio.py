from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etbac.errors import InputError
from etbac.preprocessing import AudioPreprocessing


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.integers(1, 50))
def test_sounds_are_cut_or_filled_with_zeros(lengths: list[int], length: int) -> None:
    sounds = [np.random.default_rng(size).uniform(0.1, 1, size).astype(np.float32) for size in lengths]
    found = AudioPreprocessing("wave", 8_000, length).apply(sounds)["wave"]
    assert (found.shape, found.dtype) == ((len(sounds), length), np.float32)
    for row, sound in zip(found, sounds, strict=True):
        np.testing.assert_array_equal(row[: len(sound)], sound[:length])
        assert (row[len(sound) :] == 0).all()


@given(st.integers(2, 50), st.floats(-5, 5), st.floats(0.1, 5))
def test_a_normal_sound_has_no_mean_and_one_variance_whatever_follows(size: int, offset: float, gain: float) -> None:
    sound = np.random.default_rng(size).normal(offset, gain, size).astype(np.float32)
    found = AudioPreprocessing("wave", 8_000, 60, normalize=True).apply([sound])["wave"][0]
    assert found[:size].mean() == pytest.approx(0, abs=1e-4)
    assert found[:size].std() == pytest.approx(1, rel=1e-3)
    assert (found[size:] == 0).all()


def test_silence_stays_silence() -> None:
    found = AudioPreprocessing("wave", 8_000, 10, normalize=True).apply([np.zeros(5, np.float32)])["wave"]
    assert (found == 0).all()


@pytest.mark.parametrize("shape", [(0,), (5, 2)])
def test_what_is_no_sound_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="one channel with a sample or more"):
        AudioPreprocessing("wave", 8_000, 10).apply([np.zeros(shape, np.float32)])
