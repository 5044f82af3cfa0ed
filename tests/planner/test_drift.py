from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etbac.planner.drift import BINS, LEVEL, Audit, Monitor, hardness, reference_counts

STAGES = 4


def stream(rows: int, seed: int, harder: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Places and confidences of samples; `harder` moves how hard they are."""
    difficulty = np.random.default_rng(seed).normal(harder, 1, rows)
    place = np.digitize(difficulty, [0.3, 0.9, 1.5])
    sure = 1 / (1 + np.exp(difficulty - 1 - place))
    return place, np.where(place == STAGES - 1, np.nan, sure)


REFERENCE = reference_counts(*stream(10_000, 0), STAGES)


def test_later_and_less_sure_is_harder_and_the_full_model_is_hardest():
    found = hardness([0, 0, 1, 3], [0.99, 0.6, 0.99, np.nan])
    assert list(found) == sorted(found)
    assert len(set(found.tolist())) == 4
    assert len(REFERENCE) == STAGES * BINS
    assert sum(REFERENCE) == 10_000


def test_streams_like_the_certify_set_raise_few_alarms():
    alarms = sum(Monitor(REFERENCE, seed=seed).update(*stream(3_000, 100 + seed)) for seed in range(100))
    assert alarms <= 3  # at level 0.005 four or more of a hundred come once in 600 times


@pytest.mark.parametrize("harder", [0.5, -0.5])
def test_a_change_is_found_soon_even_after_a_long_time_without(harder: float):
    monitor = Monitor(REFERENCE)
    assert not monitor.update(*stream(6_000, 1))
    assert monitor.update(*stream(1_000, 2, harder))
    assert monitor.evidence >= 1 / LEVEL


def test_an_alarm_stays():
    monitor = Monitor(REFERENCE)
    monitor.update(*stream(1_000, 3, 2.0))
    assert monitor.alarm
    monitor.update(*stream(3_000, 4))
    assert monitor.alarm
    assert monitor.seen == 4_000


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(0, 5))
def test_how_a_stream_comes_in_parts_changes_nothing(parts: list[int], seed: int):
    place, confidence = stream(sum(parts), seed)
    whole, split = Monitor(REFERENCE), Monitor(REFERENCE)
    whole.update(place, confidence)
    for start, rows in zip(np.cumsum([0, *parts]), parts, strict=False):
        split.update(place[start : start + rows], confidence[start : start + rows])
    assert (whole.evidence, whole.seen) == (split.evidence, split.seen)


def test_the_bet_is_fair():
    """Under uniform ranks what it is worth has the mean 1 at a fixed time: it is a martingale."""
    worth = []
    for seed in range(400):
        bets = Monitor(REFERENCE, seed=seed)
        worth.append(np.exp([bets._bets.take(rank) for rank in np.random.default_rng(seed).random(60)][-1]))
    assert abs(np.mean(worth) - 1) < 4 * np.std(worth) / np.sqrt(len(worth))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 1.0])
def test_the_audits_bound_holds_at_all_times(share: float):
    missed = 0
    for seed in range(60):
        audit, rng = Audit(), np.random.default_rng(seed)
        bounds = []
        for _ in range(40):
            audit.update(rng.random(25) >= share)
            bounds.append(audit.bound(0.05))
        missed += min(bounds) < share
    assert missed <= 8  # 5% of 60, and three standard deviations


def test_the_audits_bound_closes_in():
    audit = Audit()
    assert audit.bound() == 1.0
    audit.update(np.ones(100, bool))
    first = audit.bound()
    audit.update(np.ones(9_900, bool))
    assert 0 < audit.bound() < 0.002 < first < 0.2
