from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import softmax

from etbac.passes.gates.pixels import Pixels

Decide = Callable[..., dict[str, Any]]


def test_confidence_is_the_share_of_sure_pixels(decide: Decide) -> None:
    logits = 3 * np.random.default_rng(0).standard_normal((6, 4, 8, 5)).astype(np.float32)
    expected = (softmax(logits / 1.5, axis=1).max(axis=1) > 0.8).mean(axis=(1, 2))
    assert 0 < expected.min() < expected.max() < 1
    np.testing.assert_allclose(decide(Pixels(t=0.8, temperature=1.5), logits)["confidence"], expected, atol=1e-6)


def test_a_pixel_with_nan_is_not_sure(decide: Decide) -> None:
    logits = np.zeros((2, 3, 1, 2), np.float32)
    logits[:, 0] = 30
    logits[1, 1, 0, 0] = np.nan
    np.testing.assert_array_equal(decide(Pixels(), logits)["confidence"], np.array([1, 0.5], np.float32))
