"""Requests that arrive at any time, run together: survivors of several batches are joined into full ones."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from etbac.errors import EtbacError
from etbac.runtime import inputs as checking
from etbac.runtime.answers import Answers, Leaving
from etbac.runtime.chain import Chain
from etbac.runtime.exits import ALWAYS, NEVER, Thresholds, resolve
from etbac.runtime.rebatching.pools import Pool
from etbac.runtime.rebatching.scheduler import Costs, Mask, Run, Scheduler, Slots
from etbac.runtime.results import Result
from etbac.runtime.stage import Outputs

PATIENCE = 4.0
"""A request without a deadline is due in this many times what a sample needs to the end of the chain."""


@dataclass(frozen=True)
class _Request:
    future: Future[Result]
    answers: Answers
    slots: Slots


class Rebatcher:
    """Runs a chain for many requests at once. A context manager; its methods may be called from several threads.

    `costs`: of every stage by batch size, from a profile. `room`: samples that may wait or run at once; a request for
    which there is none is refused with a FullError, and may be offered again. `workers`: engines that run at the same
    time. `thresholds`: as of `Chain.run`.
    """

    def __init__(
        self, chain: Chain, costs: Costs, room: int = 256, workers: int = 1, thresholds: Thresholds = None
    ) -> None:
        self._chain, self._costs = chain, costs
        self._pools = [Pool(entry.contract.inputs, room) for entry in chain.manifest.segments]
        self._thresholds = (*resolve(thresholds, chain.exits, chain.plan), ALWAYS)
        self._scheduler = Scheduler(costs, room)
        self._requests: dict[int, _Request] = {}
        self._of_slot = np.zeros(room, np.int64)
        self._row_of_slot = np.zeros(room, np.int64)
        self._count = 0
        self._closing = False
        self._changed = threading.Condition()
        self._workers = [threading.Thread(target=self._work, name=f"etbac-{n}", daemon=True) for n in range(workers)]
        for worker in self._workers:
            worker.start()

    def submit(self, inputs: Mapping[str, Any], timeout: float | None = None) -> Future[Result]:
        """Answer these rows; `timeout`: in how many seconds the answer is due, which says who goes first.

        The future's `cancel` works until the answer is there. Raises InputError as `Chain.run`, and UsageError for
        samples that cannot run together with those before.
        """
        batch = checking.check(self._chain.manifest.inputs, inputs)
        first = self._chain.stages[0]
        now = time.monotonic()
        due = now + (PATIENCE * self._costs.rest[0] if timeout is None else timeout)
        future: Future[Result] = Future()
        with self._changed:
            if self._closing:
                raise EtbacError("the rebatcher is closed; no request is taken in any more")
            slots = self._scheduler.offer(batch.rows, due)
            number, self._count = self._count, self._count + 1
            self._of_slot[slots], self._row_of_slot[slots] = number, np.arange(batch.rows)
            try:
                self._pools[0].put(slots, [batch.arrays[name] for name in first.inputs])
            except EtbacError:
                self._scheduler.drop(slots)
                raise
            self._requests[number] = _Request(future, Answers(batch.rows, self._chain.ids), slots)
            self._changed.notify()
        future.add_done_callback(lambda done: self._forget(number) if done.cancelled() else None)
        return future

    async def answer(self, inputs: Mapping[str, Any], timeout: float | None = None) -> Result:
        """As `submit`, for asyncio: a task that is cancelled takes its samples out of the chain."""
        return await asyncio.wrap_future(self.submit(inputs, timeout))

    def close(self) -> None:
        """Answer all that was taken in, then end."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.join()

    def __enter__(self) -> Rebatcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _work(self) -> None:
        while (run := self._next()) is not None:
            try:
                leaving, answers = self._run(run)
            except Exception as error:
                self._failed(run, error)
            else:
                self._done(run, leaving, answers)

    def _next(self) -> Run | None:
        with self._changed:
            while True:
                run = self._scheduler.take(time.monotonic())
                if run is not None:
                    return run
                if self._closing and self._scheduler.inside == 0:
                    self._changed.notify_all()
                    return None
                self._changed.wait()

    def _run(self, run: Run) -> tuple[Mask, Outputs | None]:
        """Run an engine, and keep the survivors' boundary: who leaves, and with which answers (None: nobody)."""
        stage, pool, threshold = self._chain.stages[run.stage], self._pools[run.stage], self._thresholds[run.stage]
        first = run.stage == 0
        keep = stage.padded(np.arange(len(run.slots)) if first else run.slots)
        carried = pool.take(run.slots) if first else pool.tensors
        if threshold == NEVER:
            self._pools[run.stage + 1].put(run.slots, stage.pass_on(carried, keep), np.arange(len(run.slots)))
            return np.zeros(len(run.slots), bool), None
        answers = stage.run(carried, keep, threshold).first(len(run.slots))
        leaving = answers.exit_mask()
        staying = np.flatnonzero(~leaving)
        if len(staying):
            self._pools[run.stage + 1].put(run.slots[staying], answers.boundary, staying)
        return leaving, answers

    def _done(self, run: Run, leaving: Mask, answers: Outputs | None) -> None:
        finished: list[_Request] = []
        with self._changed:
            answered = np.flatnonzero(self._scheduler.done(run, leaving))
            if len(answered) and answers is not None:
                finished = self._deliver(run, answered, answers)
            self._changed.notify_all()
        for request in finished:
            if request.future.set_running_or_notify_cancel():
                request.future.set_result(request.answers.result(self._chain.fields))

    def _deliver(self, run: Run, answered: Slots, answers: Outputs) -> list[_Request]:
        """Put the answers where they belong; the requests that have all of theirs."""
        predictions, confidence = answers.predictions(), answers.confidence()
        numbers = self._of_slot[run.slots[answered]]
        finished = []
        for number in np.unique(numbers).tolist():
            places = answered[numbers == number]
            places = places[np.argsort(self._row_of_slot[run.slots[places]])]
            rows = self._row_of_slot[run.slots[places]]
            request = self._requests[number]
            request.answers.put(
                Leaving(run.stage, rows, [tensor[places] for tensor in predictions], confidence[places])
            )
            if request.answers.complete:
                finished.append(self._requests.pop(number))
        return finished

    def _failed(self, run: Run, error: Exception) -> None:
        """Every request that has a sample in the run gets the error; its other samples are forgotten."""
        with self._changed:
            answered = self._scheduler.done(run, np.ones(len(run.slots), bool))
            numbers = set(self._of_slot[run.slots[answered]].tolist())
            requests = [self._requests[number] for number in numbers]
            for number in numbers:
                self._drop(number)
            self._changed.notify_all()
        for request in requests:
            if request.future.set_running_or_notify_cancel():
                request.future.set_exception(error)

    def _forget(self, number: int) -> None:
        with self._changed:
            self._drop(number)
            self._changed.notify_all()

    def _drop(self, number: int) -> None:
        """Under the lock: take a request's samples out, those that are still inside."""
        request = self._requests.pop(number, None)
        if request is not None:
            self._scheduler.drop(request.slots[self._of_slot[request.slots] == number])
