"""`make soak`: mixed load for 30 minutes (SECONDS=…; QUICK=1: 30 s), every answer compared with the plain chain's.

Clients of six kinds share one Rebatcher, which is closed and opened again now and then with requests inside. It runs
the chain of `make demo` where that has run here, else a small network with random weights.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import etbac
from benchmarks import demo
from benchmarks.load.subject import Subject, made, settled, the_demos
from benchmarks.measures import Measure, at_most, conclude
from etbac.errors import EtbacError
from etbac.runtime.chain import Chain, load
from etbac.runtime.rebatching import FullError, Rebatcher
from etbac.runtime.results import Result
from etbac.runtime.trace import Untraced

QUICK = os.environ.get("QUICK", "") not in ("", "0")
SECONDS = float(os.environ.get("SECONDS") or (30 if QUICK else 1_800))
ROUNDS, ROOM, WORKERS, SAMPLES = 5, 128, 2, 1_024
WARM_UP = 0.5 if QUICK else 0.25
"""Share of the time after which memory must be flat."""
LONGEST_WAIT_S = 120.0
"""Nobody waits so long for an answer on any machine: it is lost."""
FLAT = 0.05

console = Console(width=140, highlight=False)
Rows = np.ndarray[Any, np.dtype[np.int64]]


class Ledger(Untraced):
    """What the Rebatcher itself says that it took in and answered; it keeps no more than what is open."""

    def __init__(self) -> None:
        self._lock, self._open = threading.Lock(), set[int]()
        self.taken, self.ended, self.twice = 0, Counter[str](), 0

    def request(self, number: int, rows: int) -> None:
        with self._lock:
            self.taken += 1
            self._open.add(number)

    def answered(self, number: int, how: str) -> None:
        with self._lock:
            self.twice += number not in self._open
            self._open.discard(number)
            self.ended[how] += 1

    @property
    def open(self) -> int:
        return len(self._open)


@dataclass
class Found:
    """Counts, of requests if nothing else is said."""

    counts: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    errors: list[str] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)

    def count(self, what: str, by: int = 1) -> None:
        with self.lock:
            self.counts[what] += by


class Judge:
    """Compares answers with the plain chain's, in a thread of its own."""

    def __init__(self, expected: Result, found: Found) -> None:
        self._expected, self._found = expected, found
        self._asked: queue.Queue[tuple[Rows, Future[Result]] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="judge", daemon=True)
        self._thread.start()

    def watch(self, rows: Rows, future: Future[Result]) -> None:
        self._asked.put((rows, future))

    def close(self) -> None:
        self._asked.put(None)
        self._thread.join()

    def check(self, rows: Rows, result: Result) -> None:
        self._found.count("answered")
        self._found.count("samples answered", len(rows))
        if not self._same(rows, result):
            others = any(self._same(np.roll(rows, by), result) for by in range(1, len(rows)))
            self._found.count("reordered" if others else "wrong")

    def _same(self, rows: Rows, result: Result) -> bool:
        ours, theirs = np.asarray(result.prediction), np.asarray(self._expected.prediction)[rows]
        return bool(
            np.array_equal(result.exit_id, self._expected.exit_id[rows])
            and np.allclose(ours, theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max())
            and np.allclose(result.confidence, self._expected.confidence[rows], atol=1e-4, equal_nan=True)
        )

    def _work(self) -> None:
        while (asked := self._asked.get()) is not None:
            rows, future = asked
            try:
                self.check(rows, future.result(LONGEST_WAIT_S))
            except CancelledError:
                self._found.count("cancelled")
            except futures.TimeoutError:  # not the builtin one before Python 3.11
                self._found.count("lost")
            except Exception as error:
                self._found.count("failed")
                self._found.errors.append(str(error))


@dataclass(frozen=True)
class Client:
    """A kind of load. `rows`: (fewest, most) samples a request; `burst`: requests at a time; `pause_s`: the mean
    between them, at random; `due_s`: (shortest, longest) time that they have, None for the Rebatcher's own; `cancels`:
    share of requests that are taken back, at once or a little later."""

    name: str
    rows: tuple[int, int]
    burst: int
    pause_s: float
    due_s: tuple[float, float] | None = None
    cancels: float = 0.0


CLIENTS = (
    Client("single samples", (1, 1), 1, 0.002),
    Client("bursts", (1, 2), 40, 0.15),
    Client("large requests", (24, 80), 1, 0.08),
    Client("small requests", (2, 8), 1, 0.01),
    Client("deadlines", (1, 6), 2, 0.01, due_s=(0.0, 0.05)),
    Client("cancelling", (1, 12), 3, 0.02, cancels=0.5),
)


class Load:
    """All clients, each in a thread, and one that awaits, against one Rebatcher."""

    def __init__(
        self, together: Rebatcher, inputs: dict[str, Any], judge: Judge, found: Found, seconds: float, seed: int
    ) -> None:
        self._together, self._inputs, self._judge, self._found = together, inputs, judge, found
        self._until, self._samples = time.monotonic() + seconds, len(next(iter(inputs.values())))
        work: list[Callable[[np.random.Generator], None]] = [
            *(lambda rng, client=client: self._ask(client, rng) for client in CLIENTS),
            lambda rng: asyncio.run(self._await_all(rng)),
        ]
        self._threads = [
            threading.Thread(target=each, args=(np.random.default_rng([seed, number]),), name=f"client-{number}")
            for number, each in enumerate(work)
        ]

    def run(self) -> None:
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join()

    def _ask(self, client: Client, rng: np.random.Generator) -> None:
        while time.monotonic() < self._until:
            for _ in range(client.burst):
                due = None if client.due_s is None else float(rng.uniform(*client.due_s))
                rows = self._draw(client.rows, rng)
                future = self._submit(rows, due, rng)
                self._judge.watch(rows, future)
                if rng.random() < client.cancels:
                    if rng.random() < 0.5:
                        time.sleep(rng.exponential(0.002))
                    future.cancel()
            time.sleep(rng.exponential(client.pause_s))

    def _submit(self, rows: Rows, due: float | None, rng: np.random.Generator) -> Future[Result]:
        batch = {name: array[rows] for name, array in self._inputs.items()}
        while True:
            try:
                future = self._together.submit(batch, due)
            except FullError:
                self._found.count("refused, and offered again")
                time.sleep(rng.exponential(0.005))
            else:
                self._found.count("taken in")
                return future

    async def _await_all(self, rng: np.random.Generator) -> None:
        while time.monotonic() < self._until:
            asked = [self._draw((1, 4), rng) for _ in range(6)]
            tasks = [asyncio.create_task(self._answer(rows)) for rows in asked]
            await asyncio.sleep(float(rng.exponential(0.002)))
            tasks[int(rng.integers(6))].cancel()
            for rows, answer in zip(asked, await asyncio.gather(*tasks, return_exceptions=True), strict=True):
                if isinstance(answer, Result):
                    self._judge.check(rows, answer)
                elif isinstance(answer, asyncio.CancelledError):
                    self._found.count("cancelled")
                else:
                    self._found.count("failed")
                    self._found.errors.append(str(answer))
            await asyncio.sleep(float(rng.exponential(0.01)))

    async def _answer(self, rows: Rows) -> Result:
        batch = {name: array[rows] for name, array in self._inputs.items()}
        self._found.count("taken in")
        while True:
            try:
                return await self._together.answer(batch)
            except FullError:
                self._found.count("refused, and offered again")
                await asyncio.sleep(0.005)

    def _draw(self, rows: tuple[int, int], rng: np.random.Generator) -> Rows:
        return rng.choice(self._samples, int(rng.integers(rows[0], rows[1] + 1)), replace=False)


def main() -> int:
    subject = the_demos() if demo.DEMO.engines.exists() and demo.DEMO.checkpoint.exists() else made()
    found, ledger, begun = Found(), Ledger(), time.monotonic()
    threading.excepthook = lambda failed: found.errors.append(f"{failed.thread}: {failed.exc_value!r}")
    with load(subject.path) as chain:
        inputs = settled(chain, subject, SAMPLES)
        judge = Judge(chain.run(inputs, subject.thresholds), found)
        measuring = threading.Event()
        memory = threading.Thread(target=_measure_memory, args=(found, begun, measuring), name="memory", daemon=True)
        memory.start()
        console.print(f"{subject.path}, {len(judge._expected.exit)} samples, {SECONDS:,.0f} s in {ROUNDS} rounds")
        for number in range(ROUNDS):
            _round(number, chain, subject, inputs, judge, found, ledger)
        judge.close()
        measuring.set()
        memory.join()
    return _report(found, ledger)


def _round(
    number: int, chain: Chain, subject: Subject, inputs: dict[str, Any], judge: Judge, found: Found, ledger: Ledger
) -> None:
    """Load, then a shutdown with requests inside."""
    together = etbac.rebatch(chain, ROOM, WORKERS, subject.thresholds, ledger)
    Load(together, inputs, judge, found, SECONDS / ROUNDS, number).run()
    rows = np.arange(ROOM // 4)
    last = []
    for _ in range(3):
        try:
            last.append(together.submit({name: array[rows] for name, array in inputs.items()}))
        except FullError:
            break
    found.count("taken in", len(last))
    together.close()
    clean = all(future.done() for future in last) and ledger.open == 0
    clean &= not any(thread.name.startswith("etbac-") for thread in threading.enumerate())
    for future in last:
        judge.watch(rows, future)
    try:
        together.submit({name: array[rows] for name, array in inputs.items()})
    except FullError:
        clean = False
    except EtbacError:
        pass
    else:
        clean = False
    found.count("clean shutdowns", int(clean))
    done, resident = found.counts["answered"], found.memory[-1][1] if found.memory else 0.0
    console.print(
        f"round {number + 1} of {ROUNDS}: {done:,} requests answered so far, {resident / 1e6:,.1f} MB resident"
    )


def _measure_memory(found: Found, begun: float, ending: threading.Event) -> None:
    page = os.sysconf("SC_PAGE_SIZE")
    while not ending.wait(min(1.0, SECONDS / 100)):
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * page
        found.memory.append((time.monotonic() - begun, resident))


def growth(memory: list[tuple[float, float]]) -> float:
    """How much more is resident in the last fifth of what comes after the warm-up than in its first, medians."""
    resident = np.array([size for when, size in memory if when > WARM_UP * SECONDS])
    fifth = max(1, len(resident) // 5)
    return float(np.median(resident[-fifth:]) / np.median(resident[:fifth]) - 1)


def _report(found: Found, ledger: Ledger) -> int:
    counts = found.counts
    open_ends = counts["taken in"] - counts["answered"] - counts["cancelled"] - counts["failed"]
    table = Table("", "requests", title=f"{SECONDS:,.0f} s of mixed load, {WORKERS} workers, room for {ROOM} samples")
    for name in ("taken in", "answered", "cancelled", "refused, and offered again"):
        table.add_row(name, f"{counts[name]:,}")
    table.add_row("samples answered", f"{counts['samples answered']:,}")
    console.print(table)
    sizes = [size / 1e6 for when, size in found.memory if when > WARM_UP * SECONDS]
    console.print(f"resident after the warm-up: {min(sizes):,.1f} to {max(sizes):,.1f} MB, {len(sizes)} times measured")
    for error in found.errors[:10]:
        console.print(f"error: {error}")
    gates = [
        none("lost", counts["lost"] + max(open_ends, 0) + ledger.open),
        none("doubled", ledger.twice + max(-open_ends, 0)),
        none("reordered", counts["reordered"]),
        none("not the plain chain's answer", counts["wrong"]),
        none("failed", counts["failed"] + len(found.errors)),
        Measure("clean shutdowns", str(ROUNDS), str(counts["clean shutdowns"]), counts["clean shutdowns"] == ROUNDS),
        at_most("growth of resident memory", growth(found.memory), FLAT),
    ]
    return conclude(f"{'QUICK ' if QUICK else ''}make soak", gates, [])


def none(name: str, count: int) -> Measure:
    return Measure(name, "0", f"{count:,}", count == 0)


if __name__ == "__main__":
    sys.exit(main())
