from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etbac.planner.simulate import bursts, poisson, simulate
from etbac.runtime.rebatching import Costs

LINEAR = Costs(np.array([[1.0, 1.5, 2.0, 2.5], [2.0, 2.5, 3.0, 3.5]]))


def test_one_sample_at_a_time_takes_what_its_stages_take() -> None:
    found = simulate(LINEAR, np.array([0.0, 10.0, 20.0]), np.array([0, 1, 0]))
    np.testing.assert_allclose(found.latency_s, [1.0, 3.0, 1.0])
    assert found.rows.tolist() == [1, 1, 1, 1]
    assert found.seconds == 21.0


def test_who_comes_while_an_engine_runs_runs_together_with_others() -> None:
    found = simulate(LINEAR, np.array([0.0, 0.1, 0.2]), np.array([0, 0, 0]))
    np.testing.assert_allclose(found.latency_s, [1.0, 2.4, 2.3])
    assert found.rows.tolist() == [1, 2]


def test_survivors_of_two_batches_run_together() -> None:
    arrivals = np.array([0.0, 0.1, 0.1, 0.1])
    found = simulate(LINEAR, arrivals, np.array([1, 1, 0, 0]), due_s=100.0)
    assert found.rows.tolist() == [1, 3, 2]
    np.testing.assert_allclose(found.latency_s, [5.5, 5.4, 2.9, 2.9])


def test_a_run_takes_what_a_measured_run_took() -> None:
    costs = Costs(LINEAR.seconds, np.full((2, 4, 3), 2.0))
    found = simulate(costs, np.array([0.0, 10.0]), np.array([0, 1]))
    np.testing.assert_allclose(found.latency_s, [2.0, 6.0])


def test_the_way_in_is_added_to_samples_that_come_one_by_one() -> None:
    arrivals, leaves = np.array([0.0, 10.0, 20.0]), np.array([0, 1, 0])
    found = simulate(LINEAR, arrivals, leaves, beyond_s=0.5)
    np.testing.assert_allclose(found.latency_s, [1.5, 3.5, 1.5])
    assert found.seconds == 21.5


def test_samples_that_come_at_once_go_in_one_after_another_while_engines_run() -> None:
    found = simulate(LINEAR, np.zeros(3), np.zeros(3, int), beyond_s=0.25)
    np.testing.assert_allclose(found.latency_s, [1.25, 2.75, 2.75])
    assert found.rows.tolist() == [1, 2]


def test_an_answer_is_due_from_when_its_sample_began_to_come_in() -> None:
    """Of two that wait, the first alone is in time: 1.5 for both would be too long."""
    arrivals = np.array([0.0, 0.0, 0.0])
    found = simulate(LINEAR, arrivals, np.zeros(3, int), beyond_s=0.1, due_s=2.4)
    assert found.rows.tolist() == [1, 1, 1]
    assert simulate(LINEAR, arrivals, np.zeros(3, int), beyond_s=0.1, due_s=2.6).rows.tolist() == [1, 2]


def test_it_does_not_matter_when_the_clock_began() -> None:
    arrivals, leaves = poisson(2.0, 50), np.tile([0, 1], 25)
    there, shifted = (simulate(LINEAR, each, leaves, beyond_s=0.1) for each in (arrivals, arrivals - 1e3))
    np.testing.assert_allclose(shifted.latency_s, there.latency_s)


def test_each_device_has_a_way_in_of_its_own() -> None:
    found = simulate(LINEAR, np.zeros(4), np.zeros(4, int), devices=2, beyond_s=2.0)
    np.testing.assert_allclose(found.latency_s, [3.0, 3.0, 5.0, 5.0])


def test_each_sample_of_a_run_keeps_its_device_for_longer() -> None:
    found = simulate(LINEAR, np.array([0.0, 0.1, 0.2]), np.array([0, 0, 0]), by_sample_s=0.25)
    np.testing.assert_allclose(found.latency_s, [1.25, 3.15, 3.05])


def test_two_devices_take_half_each() -> None:
    found = simulate(LINEAR, np.array([0.0, 0.0]), np.array([1, 1]), devices=2)
    np.testing.assert_allclose(found.latency_s, [3.0, 3.0])


def test_what_finds_no_room_is_not_answered_and_counts() -> None:
    found = simulate(LINEAR, np.zeros(4), np.zeros(4, int), room=2)
    assert np.isinf(found.latency_s).sum() == 2
    assert found.quantile(0.99) == np.inf
    assert found.goodput(10.0) == 2 / found.seconds


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 60),
    rate=st.floats(0.05, 20.0),
    devices=st.integers(1, 3),
    seed=st.integers(0, 1_000),
    in_bursts=st.booleans(),
)
def test_everybody_is_answered_and_nobody_faster_than_an_engine(
    count: int, rate: float, devices: int, seed: int, in_bursts: bool
) -> None:
    arrivals = bursts(rate, count, 4, seed) if in_bursts else poisson(rate, count, seed)
    leaves = np.random.default_rng(seed).integers(0, 2, count)
    found = simulate(LINEAR, arrivals, leaves, devices, room=count)
    least = np.cumsum(LINEAR.seconds[:, 0])[leaves]
    assert np.isfinite(found.latency_s).all()
    assert (found.latency_s >= least - 1e-9).all()
    assert found.rows.sum() == count + leaves.sum()
    assert found.goodput(np.inf) == pytest.approx(count / found.seconds)


def test_arrivals_have_the_rate_that_was_asked_for() -> None:
    for arrivals in (poisson(50.0, 20_000), bursts(50.0, 20_000, 16)):
        assert (np.diff(arrivals) >= 0).all()
        assert len(arrivals) / arrivals[-1] == pytest.approx(50.0, rel=0.1)
