"""max-prob, margin and entropy: against NumPy, and on rows that must never exit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.strategies import SearchStrategy
from scipy.special import log_softmax, softmax

from etbac.errors import UsageError
from etbac.passes.gates import Gate
from etbac.passes.gates.entropy import Entropy
from etbac.passes.gates.margin import Margin
from etbac.passes.gates.max_prob import MaxProb

Decide = Callable[..., dict[str, Any]]


def _entropy(logits: Any) -> Any:
    p, log_p = softmax(logits, axis=1), log_softmax(logits, axis=1)
    return 1 + np.sum(np.where(p > 0, p * log_p, 0), axis=1) / np.log(logits.shape[1])


def _margin(logits: Any) -> Any:
    first, second = np.sort(softmax(logits, axis=1), axis=1)[:, :-3:-1].T
    return first - second


EXPECTED: dict[type[Gate], Callable[[Any], Any]] = {
    MaxProb: lambda logits: softmax(logits, axis=1).max(axis=1),
    Margin: _margin,
    Entropy: _entropy,
}
GATES = pytest.mark.parametrize("kind", list(EXPECTED))


def logits_of(rows: int = 5, classes: int = 4) -> SearchStrategy[Any]:
    return hnp.arrays(np.float32, (rows, classes), elements=st.floats(-60, 60, width=32))


@GATES
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_confidence_is_numpys(decide: Decide, kind: Callable[..., Gate], temperature: float) -> None:
    @settings(max_examples=25)
    @given(logits_of())
    def check(logits: Any) -> None:
        found = decide(kind(temperature=temperature), logits)["confidence"]
        expected = EXPECTED[kind](logits.astype(np.float64) / temperature)  # type: ignore[index]
        np.testing.assert_allclose(found, expected, atol=2e-6)
        assert found.dtype == np.float32

    check()


@GATES
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("classes", [2, 3, 8, 10, 33])
def test_rows_without_a_finite_answer_never_exit(
    decide: Decide, kind: Callable[[], Gate], bad: float, classes: int
) -> None:
    rows = classes + 2
    logits = np.zeros((rows, classes), np.float32)
    logits[:, 0] = 30
    logits[np.arange(classes), np.arange(classes)] = bad
    found = decide(kind(), logits, threshold=-np.inf)
    assert np.isnan(found["confidence"][:classes]).all()
    assert found["exit_mask"].tolist() == [False] * classes + [True, True]


@GATES
def test_a_masked_class_is_no_obstacle(decide: Decide, kind: Callable[[], Gate]) -> None:
    logits = np.array([[50, 0, -np.inf], [0, 0, -np.inf]], np.float32)
    sure, unsure = decide(kind(), logits)["confidence"]
    assert np.isfinite([sure, unsure]).all()
    assert sure > 0.99 > unsure


@GATES
def test_nobody_exits_at_an_infinite_threshold(decide: Decide, kind: Callable[[], Gate]) -> None:
    logits = np.array([[1000, 0, 0]], np.float32)
    assert not decide(kind(), logits, threshold=np.inf)["exit_mask"].any()
    assert decide(kind(), logits, threshold=1.0)["exit_mask"].all()


@GATES
def test_a_row_does_not_see_the_others(decide: Decide, kind: Callable[[], Gate]) -> None:
    logits = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)
    together = decide(kind(), logits)["confidence"]
    alone = np.concatenate([decide(kind(), logits[row : row + 1])["confidence"] for row in range(7)])
    np.testing.assert_allclose(together, alone, atol=1e-6)


@GATES
def test_other_ranks_are_refused_in_one_sentence(decide: Decide, kind: Callable[[], Gate]) -> None:
    with pytest.raises(UsageError, match=r"reads a prediction \[B, C\]; exit_1 is \[B, 2, 3\]"):
        decide(kind(), np.zeros((1, 2, 3), np.float32))


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan])
def test_a_temperature_that_is_not_positive_is_refused(decide: Decide, temperature: float) -> None:
    with pytest.raises(UsageError, match="temperature"):
        decide(MaxProb(temperature=temperature), np.zeros((1, 3), np.float32))
