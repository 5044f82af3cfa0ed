import numpy as np
import pytest

from etbac.profiles import timer
from etbac.profiles.timer import LEAST_ROUNDS, WARM_UPS, Timing, measure, relative_error


def test_a_timing_is_its_quantiles_and_relative_spread():
    timing = Timing.of(np.arange(1.0, 102.0))
    assert (timing.median_ms, timing.p95_ms, timing.p99_ms, timing.count) == (51, 96, 100, 101)
    assert timing.spread == pytest.approx(50 / 51)


def test_the_medians_interval_holds_it_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        samples = rng.exponential(size=101)
        held += abs(np.median(samples) - np.log(2)) <= relative_error(samples) * np.median(samples) * 1.3
    assert held / 400 > 0.93


def test_too_few_samples_bound_nothing():
    assert relative_error(np.ones(5)) == np.inf
    assert relative_error(np.ones(20)) == 0


def test_every_call_is_measured_in_every_round_until_the_budget_is_spent():
    called = []
    calls = {name: lambda name=name: called.append(name) for name in "abc"}
    taken = measure(calls, budget_s=1e-9, target_error=0.0)
    assert {key: len(samples) for key, samples in taken.items()} == dict.fromkeys("abc", LEAST_ROUNDS)
    rounds = [called[start : start + 3] for start in range(3 * WARM_UPS, len(called), 3)]
    assert all(sorted(names) == ["a", "b", "c"] for names in rounds)
    assert len({tuple(names) for names in rounds}) > 1


class Clock:
    """A clock that only its own waits advance."""

    def __init__(self) -> None:
        self.ns = 0

    def wait(self, ns: int) -> None:
        self.ns += ns

    def perf_counter_ns(self) -> int:
        return self.ns

    def perf_counter(self) -> float:
        return self.ns / 1e9


def test_a_call_that_is_known_well_enough_is_left_alone(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timer, "time", clock)
    waits = np.random.default_rng(0).integers(10_000, 2_000_000, 10_000)
    place = iter(range(len(waits)))
    calls = {"steady": lambda: clock.wait(1_000_000), "shaky": lambda: clock.wait(int(waits[next(place)]))}
    taken = measure(calls, budget_s=0.5, target_error=0.01)
    assert len(taken["steady"]) < 20
    assert len(taken["shaky"]) > 200
    np.testing.assert_allclose(taken["steady"], 1.0)


def test_progress_ends_within_one():
    seen: list[float] = []
    measure({"a": lambda: None}, budget_s=0.01, target_error=0.0, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
