"""What a chain did and when, in Chrome's trace event format, which ui.perfetto.dev and chrome://tracing open."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from etbac.backends.interface import Array
from etbac.contract import FULL_MODEL_ID
from etbac.runtime.results import StageRun

Rows = npt.NDArray[np.int64]
Event = dict[str, Any]
ENGINE, HOST, BATCH, REQUEST, WAITING = "engine", "host", "batch", "request", "waiting"


class _Span(NamedTuple):
    kind: str
    name: str
    thread: int
    began: int
    ended: int
    details: dict[str, Any]


class Untraced:
    """Stands in where nobody asked for a trace: it is told of batches and runs of engines, never of samples, and does
    nothing."""

    on = False

    def now(self) -> int:
        return 0

    def host(self, what: str, began: int) -> None:
        pass

    def batch(self, began: int, rows: int) -> None:
        pass

    def engine(self, began: int, stage: int, exit_id: int, run: int, rows: Array, leaving: Rows) -> None:
        pass

    def request(self, number: int, rows: int) -> None:
        pass

    def answered(self, number: int, how: str) -> None:
        pass

    def waiting(self, counts: Sequence[int], ids: Sequence[int]) -> None:
        pass


UNTRACED = Untraced()


class Tracer(Untraced):
    """Collects spans from a chain or a Rebatcher that it is given to, in memory, until they are written; thread-safe.

    One track a thread. A run of an engine ends when the host has what it must read of it (on a GPU it is then done);
    the gather of its rows is its first operation. What the host does itself stands apart.
    """

    on = True

    def __init__(self) -> None:
        self._began = self.now()
        self._spans: list[_Span] = []  # appending is atomic
        self._points: list[tuple[int, Event]] = []
        self._threads: dict[int, str] = {}
        self._batches = 0

    def now(self) -> int:
        return time.perf_counter_ns()

    def host(self, what: str, began: int) -> None:
        """Work of the host that began then and ends now."""
        self._add(HOST, what, began, {})

    def batch(self, began: int, rows: int) -> None:
        """A batch that began then and is done now; its engines and host work lie inside."""
        self._batches += 1
        self._add(BATCH, f"batch of {rows}", began, {"batch": self._batches, "rows": rows})

    def engine(self, began: int, stage: int, exit_id: int, run: int, rows: Array, leaving: Rows) -> None:
        """A run of the engine of that place for `run` rows. `rows`: whose they are, `[n]` or `[n, …]`; the rows beyond
        n are fillers. `leaving`: which of the n leave."""
        details = {"stage": stage, "exit_id": exit_id, "rows": run, "padded": run - len(rows)}
        self._add(ENGINE, _name(exit_id), began, {**details, "left": len(leaving), "who_left": rows[leaving]})

    def request(self, number: int, rows: int) -> None:
        """A request was taken in."""
        event = {"ph": "b", "cat": REQUEST, "name": f"request of {rows}", "id": number, "args": {"rows": rows}}
        self._points.append((self.now(), event))

    def answered(self, number: int, how: str) -> None:
        """It has its answer, or was cancelled, or failed."""
        event = {"ph": "e", "cat": REQUEST, "name": "", "id": number, "args": {"ended": how}}
        self._points.append((self.now(), event))

    def waiting(self, counts: Sequence[int], ids: Sequence[int]) -> None:
        """How many samples wait before each stage now."""
        args = {f"before {_name(exit_id)}": count for exit_id, count in zip(ids, counts, strict=True)}
        self._points.append((self.now(), {"ph": "C", "cat": WAITING, "name": WAITING, "args": args}))

    @property
    def runs(self) -> list[StageRun]:
        """Every run of an engine, in the order in which they ended."""
        return [StageRun(s.details["stage"], s.details["rows"]) for s in list(self._spans) if s.kind == ENGINE]

    def events(self) -> list[Event]:
        """As Chrome has them, times in microseconds since the tracer was made."""
        process = os.getpid()
        names = [
            {"ph": "M", "name": "thread_name", "pid": process, "tid": thread, "args": {"name": name}}
            for thread, name in self._threads.items()
        ]
        points, begun = [], {}
        for when, event in list(self._points):
            if event["ph"] == "b":
                begun[event["id"]] = event["name"]
            name = event["name"] or begun[event["id"]]
            points.append({**event, "name": name, "ts": self._since(when), "pid": process, "tid": 0})
        return [*names, *(self._complete(span, process) for span in list(self._spans)), *points]

    def write(self, path: Path | str) -> None:
        """All that was collected, as a JSON file that is there whole or not at all."""
        path = Path(path)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            temporary.write_text(json.dumps({"traceEvents": self.events(), "displayTimeUnit": "ms"}))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def _add(self, kind: str, name: str, began: int, details: dict[str, Any]) -> None:
        thread, ended = threading.get_native_id(), self.now()
        if thread not in self._threads:
            self._threads[thread] = threading.current_thread().name
        self._spans.append(_Span(kind, name, thread, began, ended, details))

    def _complete(self, span: _Span, process: int) -> Event:
        args = {
            name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in span.details.items()
        }
        times = {"ts": self._since(span.began), "dur": (span.ended - span.began) / 1e3}
        return {
            "ph": "X",
            "cat": span.kind,
            "name": span.name,
            "pid": process,
            "tid": span.thread,
            **times,
            "args": args,
        }

    def _since(self, when: int) -> float:
        return (when - self._began) / 1e3


def _name(exit_id: int) -> str:
    return "full model" if exit_id == FULL_MODEL_ID else f"exit {exit_id}"
