from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etbac.errors import UsageError
from etbac.passes.gates.patience import Patience

Decide = Callable[..., dict[str, Any]]


def _one_hot(labels: list[int]) -> Any:
    return np.eye(4, dtype=np.float32)[labels]


def _agreeing(labels: list[int]) -> int:
    """Exits just before the last that gave its class."""
    count = 0
    for label in reversed(labels[:-1]):
        if label != labels[-1]:
            break
        count += 1
    return count


def test_confidence_counts_the_exits_in_a_row_that_agree(decide: Decide) -> None:
    @settings(max_examples=15)
    @given(st.lists(st.lists(st.integers(0, 1), min_size=4, max_size=4), min_size=1, max_size=5), st.integers(1, 4))
    def check(by_exit: list[list[int]], k: int) -> None:
        found = decide(Patience(k=k), *map(_one_hot, by_exit), threshold=1.0)
        counts = np.array([_agreeing(list(labels)) for labels in zip(*by_exit, strict=True)])
        np.testing.assert_allclose(found["confidence"], counts / k, rtol=1e-6)
        np.testing.assert_array_equal(found["exit_mask"], counts >= k)

    check()


@pytest.mark.parametrize("where", [0, 1, 2])
def test_an_exit_with_nan_agrees_with_none(decide: Decide, where: int) -> None:
    predictions = [_one_hot([0, 0]) for _ in range(3)]
    predictions[where][0] = np.nan
    found = decide(Patience(k=2), *predictions, threshold=1.0)
    assert found["exit_mask"].tolist() == [False, True]


def test_what_fewer_exits_would_say_is_told_from_summaries(decide: Decide) -> None:
    @settings(max_examples=15)
    @given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 4))
    def check(seed: int, exits: int, k: int) -> None:
        rng = np.random.default_rng(seed)
        predictions = [rng.integers(0, 2, (6, 3)).astype(np.float32) for _ in range(exits)]
        for each in predictions:
            each[rng.random(6) < 0.2, 1] = np.nan
        gate = Patience(k=k)
        summaries = np.stack([gate.summary(each) for each in predictions])
        found = decide(gate, *predictions)
        np.testing.assert_allclose(gate.recomputed(summaries), found["confidence"], rtol=1e-6)

    check()


def test_a_patience_below_one_is_refused(decide: Decide) -> None:
    with pytest.raises(UsageError, match="k=0; k is 1 or more"):
        decide(Patience(k=0), _one_hot([0]))
