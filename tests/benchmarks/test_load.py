"""What `make bench-load` and `make soak` make of what they measure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.two_blocks import make_engine_dir, make_inputs

import etbac
from benchmarks import soak
from benchmarks.load import generator
from benchmarks.load.added import Added, fit, mean_of
from benchmarks.load.at_a_time import simulate_at_a_time
from benchmarks.load.ladder import P99, Rung, climb, goodput
from benchmarks.load.servers import AtATime, Joined
from etbac.planner.simulate import poisson, simulate
from etbac.runtime.chain import Chain
from etbac.runtime.rebatching import Costs
from etbac.runtime.results import Result

LINEAR = Costs(np.array([[1.0, 1.5, 2.0, 2.5], [2.0, 2.5, 3.0, 3.5]]))
SMALL = Costs(np.tile(1e-4 + 1e-5 * np.arange(1, 9), (3, 1)))


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    path = make_engine_dir(tmp_path_factory.mktemp("load") / "engines").path
    with etbac.load(path) as chain:
        yield chain


def rungs(row: str, *p99: float) -> list[Rung]:
    return [Rung(row, 100.0 * 2**step, 0, each) for step, each in enumerate(p99)]


def test_goodput_is_the_rate_at_which_the_bound_is_reached() -> None:
    measured = rungs("ours", 3.0, 1.0, 4.0, 5.0) + rungs("theirs", 9.0, 9.0)
    assert goodput(measured, "ours", 2.0) == pytest.approx(200 * 2**0.5), "half way, by logarithms"
    assert goodput(measured, "ours", 1.0) == 200
    assert goodput(measured, "ours", 5.0) == 800, "no rate was too high"
    assert goodput(measured, "theirs", 2.0) == 0


def test_goodput_takes_the_median_of_the_rounds() -> None:
    measured = [Rung("a", rate, n, each) for rate in (1.0, 2.0) for n, each in enumerate((1.0, 1.0, np.inf))]
    assert goodput(measured, "a", 1.0) == 2.0


def test_a_contender_climbs_until_its_bound_is_out_of_reach() -> None:
    asked: Counter[str] = Counter()

    def contender(name: str, slope: float) -> P99:
        def measure(rate: float, seed: int) -> Mapping[str, float]:
            asked[name] += 1
            return {name: slope * rate}

        return measure

    found = climb([(contender("fast", 1.0), 4.0), (contender("slow", 3.5), 4.0)], [1.0, 2.0, 3.0, 4.0], 0)
    assert asked == {"fast": 4, "slow": 3}, "over 6 twice"
    assert [rung.rate for rung in found if rung.row == "slow"] == [1.0, 2.0, 3.0]


def test_a_batch_at_a_time_by_hand() -> None:
    streamed, at_once = simulate_at_a_time(LINEAR, np.array([0.0, 0.5, 0.6]), np.array([0, 1, 0]))
    np.testing.assert_allclose(streamed, [1.0, 1.5 + 2.0 + 0.5, 1.5 + 0.4])
    np.testing.assert_allclose(at_once, [1.0, 4.0, 3.9])


def test_a_batch_at_a_time_with_a_way_in_and_time_for_each_sample() -> None:
    streamed, at_once = simulate_at_a_time(LINEAR, np.zeros(3), np.array([0, 1, 0]), 0.25, 0.5)
    np.testing.assert_allclose(streamed, [0.25 + 1.5, 1.75 + 2.5 + 2.5, 1.75 + 2.5])
    np.testing.assert_allclose(at_once, [1.75, 6.75, 6.75])


def test_what_python_adds_is_found_from_samples_alone_and_in_bursts() -> None:
    def latency(size: int, added: Added) -> float:
        arrivals = np.repeat(1e3 * np.arange(1, 4), size)
        costs = Costs(LINEAR.seconds / 1e3)
        found = simulate(
            costs, arrivals, np.zeros(len(arrivals), int), beyond_s=added.beyond_s, by_sample_s=added.by_sample_s
        )
        return mean_of(found.latency_s.reshape(-1, size))

    truth = Added(3e-4, 4e-5)
    found = fit(lambda size: latency(size, truth), latency, 8)
    np.testing.assert_allclose([found.beyond_s, found.by_sample_s], [truth.beyond_s, truth.by_sample_s], atol=1e-9)


@pytest.mark.parametrize("joined", [True, False])
def test_a_client_asks_again_when_all_is_answered(chain: Chain, joined: bool) -> None:
    server = _WithScale(Joined(chain, SMALL) if joined else AtATime(chain))
    inputs = {"x": make_inputs(50)["x"], "unread": np.arange(50)}
    latency = generator.ask_again(server, inputs, np.arange(50).reshape(10, 5), 1.0)
    assert latency.shape == (10, 5)
    assert (latency > 0).all()


@pytest.mark.parametrize("joined", [True, False])
def test_everybody_who_is_offered_is_answered_or_refused(chain: Chain, joined: bool) -> None:
    ended: list[float] = []
    server = Joined(chain, SMALL) if joined else AtATime(chain, ended.append)
    samples = make_inputs(50)
    samples.pop("unread")
    inputs = {"x": samples["x"], "unread": np.arange(50)}
    with_scale = _WithScale(server)
    played = generator.play(with_scale, poisson(5_000.0, 300), inputs, np.arange(300) % 50, 0.01)
    assert played.lost == 0
    assert np.isfinite(played.answered).sum() + played.refused == 300
    assert (played.latency_s > 0).all()
    assert joined or len(ended) == 300 - played.refused


class _WithScale:
    """`play` cuts a row out of every input; the model's scale has none."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def submit(self, sample: Mapping[str, Any], due_s: float, told: Any) -> None:
        self._server.submit({**sample, "scale": make_inputs(1)["scale"]}, due_s, told)

    def __enter__(self) -> _WithScale:
        self._server.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._server.__exit__(*error)


def test_a_trace_is_written_as_simulate_reads_it(tmp_path: Path) -> None:
    from etbac.cli.simulate import _read

    generator.write(np.array([0.0, 0.25, 1.5]), tmp_path / "new" / "trace.txt")
    np.testing.assert_array_equal(_read(tmp_path / "new" / "trace.txt"), [0.0, 0.25, 1.5])


def expected(rows: int = 8) -> Result:
    places = np.arange(rows) % 3
    return Result(np.eye(rows, dtype=np.float32), places + 1, places, np.linspace(0, 1, rows, dtype=np.float32))


def of(rows: list[int], result: Result) -> Result:
    return Result(np.asarray(result.prediction)[rows], result.exit_id[rows], result.exit[rows], result.confidence[rows])


def test_the_soak_tells_wrong_and_reordered_answers_from_right_ones() -> None:
    found = soak.Found()
    judge = soak.Judge(expected(), found)
    judge.check(np.array([1, 4, 6]), of([1, 4, 6], expected()))
    judge.check(np.array([1, 4, 6]), of([4, 6, 1], expected()))
    judge.check(np.array([1, 4, 6]), of([1, 4, 5], expected()))
    judge.close()
    assert (found.counts["answered"], found.counts["reordered"], found.counts["wrong"]) == (3, 1, 1)


def test_the_soaks_ledger_counts_what_is_open_and_what_was_answered_twice() -> None:
    ledger = soak.Ledger()
    ledger.request(0, 1)
    ledger.request(1, 1)
    ledger.answered(0, "answered")
    ledger.answered(0, "answered")
    assert (ledger.taken, ledger.open, ledger.twice) == (2, 1, 1)


def test_growth_is_of_what_comes_after_the_warm_up() -> None:
    times = np.linspace(0, soak.SECONDS, 100)
    flat = [(when, 50.0 if when < soak.WARM_UP * soak.SECONDS else 100.0) for when in times]
    assert soak.growth(flat) == 0
    assert soak.growth([(when, 100 + size) for size, when in enumerate(times)]) > soak.FLAT
