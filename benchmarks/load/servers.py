"""Who answers: the rebatcher, the chain a batch at a time, and the full model with dynamic batching.

Each takes one sample at a time and tells when it has its answer; the full model is a chain of one stage under the same
scheduler.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Protocol

import numpy as np

from etbac.backends.interface import Array
from etbac.runtime import inputs as checking
from etbac.runtime.chain import Chain
from etbac.runtime.rebatching import Costs, FullError, Rebatcher
from etbac.runtime.results import Result

ROOM = 256
Sample = Mapping[str, Array]
Told = Callable[[float], None]
"""Gets the second (of time.perf_counter) of the answer."""


class Server(Protocol):
    """A context manager; leaving it answers all that was taken in."""

    def submit(self, sample: Sample, due_s: float, told: Told) -> None:
        """Answer a sample; FullError where there is no room."""

    def __enter__(self) -> Server: ...

    def __exit__(self, *error: Any) -> None: ...


class Joined:
    """A Rebatcher: of a chain, or of the full model as a chain of one stage."""

    def __init__(self, chain: Chain, costs: Costs) -> None:
        self._together = Rebatcher(chain, costs, ROOM)

    def submit(self, sample: Sample, due_s: float, told: Told) -> None:
        def done(future: Future[Result]) -> None:
            told(time.perf_counter())
            future.result()

        self._together.submit(sample, due_s).add_done_callback(done)

    def __enter__(self) -> Joined:
        return self

    def __exit__(self, *error: Any) -> None:
        self._together.close()


class AtATime:
    """All that wait, up to the largest batch, go through the chain together; then the next. Answers leave as their exit
    fires; `batch_ended` gets, for every sample, when its whole batch was done."""

    def __init__(self, chain: Chain, batch_ended: Told = lambda second: None) -> None:
        self._chain, self._ended = chain, batch_ended
        self._waiting: deque[tuple[Sample, Told]] = deque()
        self._changed, self._closing = threading.Condition(), False
        self._worker = threading.Thread(target=self._work, name="at-a-time", daemon=True)
        self._worker.start()

    def submit(self, sample: Sample, due_s: float, told: Told) -> None:
        arrays = checking.check(self._chain.manifest.inputs, sample).arrays
        with self._changed:
            if len(self._waiting) >= ROOM:
                raise FullError("no room")
            self._waiting.append((arrays, told))
            self._changed.notify()

    def __enter__(self) -> AtATime:
        return self

    def __exit__(self, *error: Any) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._worker.join()

    def _work(self) -> None:
        while batch := self._next():
            inputs = {
                spec.name: batch[0][0][spec.name]
                if spec.batch_axis is None
                else np.concatenate([sample[spec.name] for sample, _ in batch], spec.batch_axis)
                for spec in self._chain.manifest.inputs
            }
            for part in self._chain.stream(inputs):
                now = time.perf_counter()
                for row in part.rows.tolist():
                    batch[row][1](now)
            now = time.perf_counter()
            for _ in batch:
                self._ended(now)

    def _next(self) -> list[tuple[Sample, Told]]:
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            most = min(len(self._waiting), self._chain.manifest.max_batch)
            return [self._waiting.popleft() for _ in range(most)]
