"""A load generator: samples offered when they are due, whether or not earlier ones have been answered."""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.load.servers import Server
from etbac.backends.interface import Array
from etbac.runtime.rebatching import FullError

Floats = npt.NDArray[np.float64]
_SET_TIMER_SLACK = 29
_LATE_S = 30.0


@dataclass(frozen=True)
class Played:
    """`answered` [n]: the second of each sample's answer after the beginning, inf where it was refused; `refused`: how
    many were; `begun`: the beginning, in seconds of time.perf_counter."""

    arrivals: Floats
    answered: Floats
    refused: int
    begun: float

    @property
    def latency_s(self) -> Floats:
        """From when each was due to be offered, so that a generator that is late counts against the server."""
        return self.answered - self.arrivals

    @property
    def lost(self) -> int:
        """Samples that were taken in and have no answer."""
        return int(np.isinf(self.answered).sum()) - self.refused

    def goodput(self, within_s: float) -> float:
        """Samples a second that are answered within so many."""
        last = np.max(self.answered[np.isfinite(self.answered)], initial=self.arrivals[-1])
        return float((self.latency_s <= within_s).sum() / (last - self.arrivals[0]))


def play(
    server: Server, arrivals: Floats, samples: Mapping[str, Array], rows: npt.NDArray[np.int64], due_s: float
) -> Played:
    """Offer `rows` of the samples at these seconds from now."""
    answered = np.full(len(arrivals), np.inf)
    inputs = [{name: array[row : row + 1] for name, array in samples.items()} for row in rows.tolist()]
    seconds, tell, refused = arrivals.tolist(), answered.__setitem__, 0
    _wake_on_time()
    with server:
        begun = time.perf_counter() + 0.05
        for place, (second, sample) in enumerate(zip(seconds, inputs, strict=True)):
            wait = begun + second - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            try:
                server.submit(sample, due_s, partial(tell, place))
            except FullError:
                refused += 1
    return Played(arrivals, answered - begun, refused, begun)


def ask_again(server: Server, samples: Mapping[str, Array], rows: npt.NDArray[np.int64], due_s: float) -> Floats:
    """A client that offers `rows[n]` at once and, as soon as all of them are answered, `rows[n + 1]`: seconds
    [n, size] from when it began to offer them."""
    latency, answered = np.zeros(rows.shape), threading.Semaphore(0)

    def tell(turn: int, place: int, begun: float, second: float) -> None:
        latency[turn, place] = second - begun
        answered.release()

    _wake_on_time()
    with server:
        for turn, together in enumerate(rows.tolist()):
            inputs = [{name: array[row : row + 1] for name, array in samples.items()} for row in together]
            begun = time.perf_counter()
            for place, sample in enumerate(inputs):
                server.submit(sample, due_s, partial(tell, turn, place, begun))
            if not all(answered.acquire(timeout=_LATE_S) for _ in together):
                raise TimeoutError(f"a sample was not answered within {_LATE_S:g} s")
    return latency


def record(server: Server, samples: Mapping[str, Array], clients: int, each: int, think_s: float, seed: int) -> Floats:
    """Arrivals of clients that ask, wait for the answer, think and ask again: seconds, ascending, from 0."""
    seconds: list[float] = []
    rng = np.random.default_rng(seed)
    count = len(next(iter(samples.values())))
    plans = [(rng.integers(count, size=each), rng.exponential(think_s, each)) for _ in range(clients)]

    def ask(rows: npt.NDArray[np.int64], thinks: Floats) -> None:
        for row, think in zip(rows.tolist(), thinks.tolist(), strict=True):
            time.sleep(think)
            answered = threading.Event()
            seconds.append(time.perf_counter())
            try:
                server.submit({name: array[row : row + 1] for name, array in samples.items()}, 1.0, _setting(answered))
            except FullError:
                continue
            answered.wait(_LATE_S)

    with server:
        threads = [threading.Thread(target=ask, args=plan) for plan in plans]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    arrivals: Floats = np.sort(seconds) - min(seconds)
    return arrivals


def write(arrivals: Floats, path: Path) -> None:
    """As `etbac simulate --trace` reads it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{second:.6f}\n" for second in arrivals))


def _setting(event: threading.Event) -> Callable[[float], None]:
    return lambda second: event.set()


def _wake_on_time() -> None:
    """Sleeps of this thread end within a microsecond rather than 50; threads give the interpreter up sooner."""
    sys.setswitchinterval(1e-4)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_TIMER_SLACK, 1_000, 0, 0, 0)
