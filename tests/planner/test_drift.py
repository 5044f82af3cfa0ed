from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etbac.planner.drift import BINS, CUTS, EVERY, LEVEL, MOST, ODDS, PRIOR, Audit, Monitor, hardness, reference_counts

STAGES = 4


def stream(rows: int, seed: int, harder: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Places and confidences of samples; `harder` moves how hard they are."""
    difficulty = np.random.default_rng(seed).normal(harder, 1, rows)
    place = np.digitize(difficulty, [0.3, 0.9, 1.5])
    sure = 1 / (1 + np.exp(difficulty - 1 - place))
    return place, np.where(place == STAGES - 1, np.nan, sure)


REFERENCE = reference_counts(*stream(10_000, 0), STAGES)


def test_later_and_less_sure_is_harder_and_the_full_model_is_hardest():
    found = hardness([0, 0, 0, 0, 1, 3], [1.0, 0.999, 0.99, 0.6, 0.99, np.nan])
    assert list(found) == sorted(found)
    assert len(set(found.tolist())) == 6
    assert hardness([0, 0, 1], [-2.0, 0.0, 7.0]).tolist() == [BINS - 1, BINS - 1, BINS]
    assert len(REFERENCE) == STAGES * BINS
    assert sum(REFERENCE) == 10_000


def test_streams_like_the_certify_set_raise_few_alarms():
    alarms = sum(Monitor(REFERENCE, seed=seed).update(*stream(3_000, 100 + seed)) for seed in range(100))
    assert alarms <= 3  # at level 0.005 four or more of a hundred come once in 600 times


@pytest.mark.parametrize("harder", [0.5, -0.5])
def test_a_change_is_found_soon_even_after_a_long_time_without(harder: float):
    monitor = Monitor(REFERENCE)
    assert not monitor.update(*stream(40_000, 1))
    assert monitor.update(*stream(1_000, 2, harder))
    assert monitor.evidence >= 1 / LEVEL


def test_an_alarm_stays():
    monitor = Monitor(REFERENCE)
    monitor.update(*stream(1_000, 3, 2.0))
    assert monitor.alarm
    monitor.update(*stream(3_000, 4))
    assert monitor.alarm
    assert monitor.seen == 4_000


def test_a_change_among_the_surest_is_found():
    """Where nearly all leave at once and are sure: only how sure is another."""
    sure = 1 / (1 + np.exp(-np.random.default_rng(0).normal([[7], [7], [6.3]], 1, (3, 2_000))))
    monitor = Monitor(reference_counts(np.zeros(2_000, int), sure[0], STAGES))
    assert not monitor.update(np.zeros(2_000, int), sure[1])
    assert monitor.update(np.zeros(500, int), sure[2, :500])


@given(st.lists(st.integers(0, 400), min_size=1, max_size=6), st.integers(0, 5), st.sampled_from([0.0, 0.5]))
def test_a_stream_in_any_parts_is_as_in_one_and_as_sample_by_sample(parts: list[int], seed: int, harder: float):
    place, confidence = stream(sum(parts), seed, harder)
    whole, split = Monitor(REFERENCE, seed=seed), Monitor(REFERENCE, seed=seed)
    whole.update(place, confidence)
    for start, rows in zip(np.cumsum([0, *parts]), parts, strict=False):
        split.update(place[start : start + rows], confidence[start : start + rows])
    assert_same_state(whole, split)
    assert whole.log_most == pytest.approx(log_most_of_a_plain_loop(hardness(place, confidence), seed), abs=1e-9)


def assert_same_state(one: Monitor, other: Monitor) -> None:
    ours, theirs = one.to_json(), other.to_json()
    assert ours["counts"] == theirs["counts"]
    assert ours["bets"]["hits"] == theirs["bets"]["hits"]
    np.testing.assert_allclose(ours["bets"]["log_worth"], theirs["bets"]["log_worth"], atol=1e-9)
    assert one.log_most == pytest.approx(other.log_most, abs=1e-9)
    assert one.seen == other.seen


def log_most_of_a_plain_loop(samples: np.ndarray, seed: int) -> float:
    """What the module says in words, sample by sample."""
    counts, rng, bets, most = list(REFERENCE), np.random.default_rng(seed), [], 0.0
    for taken, each in enumerate(samples.tolist()):
        counts[each] += 1
        rank = (sum(counts[each + 1 :]) + rng.random() * counts[each]) / sum(counts)
        interval = int(rank * ODDS)
        if taken % EVERY == 0:
            number = len(bets) + 1
            stake = 1 / (number * (number + 1)) / (len(CUTS) + 1)
            bets.append(([stake] * (len(CUTS) + 1), [PRIOR] * ODDS))
        for worth, hits in bets:
            for way, cut in enumerate([*CUTS, None]):
                alike = [interval] if cut is None else [*range(cut)] if interval < cut else [*range(cut, ODDS)]
                worth[way] *= sum(hits[each] for each in alike) / sum(hits) * ODDS / len(alike)
            hits[interval] += 1
        most = max(most, math.log(sum(sum(worth) for worth, _ in bets) + 1 / (len(bets) + 1)))
    return most


def test_a_monitor_goes_on_from_its_state():
    first = Monitor(REFERENCE)
    first.update(*stream(700, 1, 0.3))
    second = Monitor.from_json(json.loads(json.dumps(first.to_json())))
    assert_same_state(first, second)
    assert second.update(*stream(1_000, 2, 1.0))


@pytest.mark.parametrize("taken", [EVERY * 3, EVERY * 3 + 7, EVERY * (MOST + 2)])
def test_the_bet_is_fair(taken: int):
    """Whatever came before, over equally likely intervals of the next rank it keeps its worth: it is a martingale.

    Also when a bet begins, and when one is closed for it.
    """
    monitor = Monitor(REFERENCE)
    monitor.update(*stream(taken, 3, 0.02))
    bets = monitor._bets.to_json()
    before = np.exp(bets["log_cash"]) + np.exp(bets["log_worth"]).sum()
    after = []
    for interval in range(ODDS):
        at = Monitor.from_json(monitor.to_json())._bets
        after.append(np.exp(at.take(np.array([(interval + 0.5) / ODDS])))[0])
    assert len(bets["hits"]) <= MOST
    assert np.ptp(after) > 0
    assert np.mean(after) == pytest.approx(before, rel=1e-9)


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
