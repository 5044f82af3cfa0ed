"""A trace is what Chrome's format asks for, its times nest, and its rows are those that ran."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.two_blocks import make_inputs

from etbac.runtime.chain import Chain
from etbac.runtime.rebatching import Costs, Rebatcher
from etbac.runtime.results import Result
from etbac.runtime.trace import Tracer

COSTS = Costs(np.tile(1e-4 + 1e-5 * np.arange(1, 9), (3, 1)))
SLACK = 1e-3
"""Microseconds, for what floating-point numbers lose."""
Event = dict[str, Any]


def written(tracer: Tracer, path: Path) -> list[Event]:
    tracer.write(path)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    content = json.loads(path.read_text())
    events: list[Event] = content["traceEvents"]
    return events


def check_format(events: list[Event]) -> None:
    for event in events:
        assert {"ph", "name", "pid"} <= set(event)
        assert event["ph"] in "XMbeC"
        assert event["name"]
        if event["ph"] == "M":
            continue
        assert event["ts"] >= 0
        assert event["ph"] != "X" or event["dur"] >= 0
    begins, ends = (Counter(event["id"] for event in events if event["ph"] == phase) for phase in "be")
    assert begins == ends
    assert set(begins.values()) <= {1}
    named = {event["tid"] for event in events if event["ph"] == "M"}
    assert {event["tid"] for event in events if event["ph"] == "X"} <= named


def check_nesting(events: list[Event]) -> None:
    """On each track a span lies in another or beside it, engines and host work within a batch."""
    spans = [event for event in events if event["ph"] == "X"]
    for track in {span["tid"] for span in spans}:
        open_until: list[tuple[float, str]] = []
        for span in sorted((s for s in spans if s["tid"] == track), key=lambda s: (s["ts"], -s["dur"])):
            while open_until and open_until[-1][0] <= span["ts"] + SLACK:
                open_until.pop()
            end = span["ts"] + span["dur"]
            assert not open_until or end <= open_until[-1][0] + SLACK
            if span["cat"] == "engine":
                assert open_until[-1][1] == "batch"
            open_until.append((end, span["cat"]))


def engines_in(events: list[Event]) -> list[Event]:
    return [event["args"] for event in events if event.get("cat") == "engine"]


def check_rows(engines: list[Event], result: Result) -> None:
    """Who left where, as the answers have it."""
    for stage in range(3):
        runs = [run for run in engines if run["stage"] == stage]
        assert sum(run["left"] for run in runs) == (result.exit == stage).sum()
        assert all(len(run["who_left"]) == run["left"] for run in runs)


@pytest.mark.parametrize("rows", [1, 5, 8, 19])
def test_a_batchs_trace(chain: Chain, tmp_path: Path, rows: int) -> None:
    tracer = Tracer()
    result = chain.run(make_inputs(rows), 0.6, trace=tracer)
    events = written(tracer, tmp_path / "trace.json")
    check_format(events)
    check_nesting(events)
    engines = engines_in(events)
    check_rows(engines, result)
    who = np.concatenate([run["who_left"] for run in engines]).astype(int)
    assert sorted(who) == list(range(rows))
    (batch,) = (event for event in events if event.get("cat") == "batch")
    assert batch["args"] == {"batch": 1, "rows": rows}
    assert sum(run["rows"] - run["padded"] for run in engines if run["stage"] == 0) == rows
    for before, after in itertools.pairwise(engines):
        if after["stage"]:
            assert after["rows"] - after["padded"] == before["rows"] - before["padded"] - before["left"]


def test_fillers_are_told_apart(chain: Chain) -> None:
    tracer = Tracer()
    tracer.engine(tracer.now(), 1, 7, 8, np.arange(5), np.array([1, 4]))
    (run,) = engines_in(tracer.events())
    assert (run["rows"], run["padded"], run["left"], run["who_left"]) == (8, 3, 2, [1, 4])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_rebatchers_trace(chain: Chain, tmp_path: Path, workers: int) -> None:
    tracer = Tracer()
    sizes = [1, 3, 12, 2, 7, 1, 1, 5]
    with Rebatcher(chain, COSTS, 64, workers, 0.6, tracer) as together:
        futures = [together.submit(make_inputs(size, seed)) for seed, size in enumerate(sizes)]
    results = [future.result(0) for future in futures]
    events = written(tracer, tmp_path / "trace.json")
    check_format(events)
    check_nesting(events)
    engines = engines_in(events)
    left = sorted(tuple(who) for run in engines for who in run["who_left"])
    assert left == [(number, row) for number, size in enumerate(sizes) for row in range(size)]
    for run in engines:
        for number, row in run["who_left"]:
            assert results[number].exit[row] == run["stage"]
    ends = {event["id"]: event["args"]["ended"] for event in events if event["ph"] == "e"}
    assert ends == dict.fromkeys(range(len(sizes)), "answered")
    tracks = {event["args"]["name"] for event in events if event["ph"] == "M"}
    assert tracks - {f"etbac-{worker}" for worker in range(workers)} == {"MainThread"}


def test_without_a_tracer_no_clock_is_read(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> int:
        raise AssertionError("a clock was read")

    monkeypatch.setattr("time.perf_counter_ns", read)
    chain.run(make_inputs(8), 0.6)
