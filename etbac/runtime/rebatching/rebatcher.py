"""Requests that arrive at any time, run together: survivors of several batches are joined into full ones."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from etbac.backends.interface import Array, Tensor
from etbac.errors import EtbacError
from etbac.runtime import inputs as checking
from etbac.runtime.answers import Answers, Leaving
from etbac.runtime.chain import NOBODY, Chain, walk
from etbac.runtime.exits import ALWAYS, NEVER, Thresholds, resolve
from etbac.runtime.inputs import Batch
from etbac.runtime.rebatching.alone import unpoolable
from etbac.runtime.rebatching.pools import Pool, Scratch
from etbac.runtime.rebatching.scheduler import Costs, Run, Scheduler, Slots
from etbac.runtime.results import Result
from etbac.runtime.trace import UNTRACED, Untraced


@dataclass(frozen=True)
class _Request:
    future: Future[Result]
    answers: Answers
    slots: Slots


@dataclass(frozen=True)
class _Left:
    """Who of a batch left at a stage: their rows, and where in the tensors their answers are."""

    place: int
    rows: Slots
    at: Slots
    predictions: Sequence[Array]
    confidence: Array


@dataclass(frozen=True, eq=False)
class _Alone:
    """A request whose samples cannot run together with those that are inside."""

    number: int
    batch: Batch
    slots: Slots


class Rebatcher:
    """Runs a chain for many requests at once. A context manager; its methods may be called from several threads.

    `costs`: of every stage by batch size, from a profile. `room`: samples that may wait or run at once; a request for
    which there is none is refused with a FullError, and may be offered again. `workers`: engines that run at the same
    time. `thresholds`: as of `Chain.run`. `trace` is told of every request, batch and run of an engine.

    A request whose tensors have another size than those of the samples inside, or other values for the whole batch, is
    answered by itself, taking turns with the others; so is every request where the chain hands on a tensor without a
    batch that is not always the same: `note` then says which.

    Python works by batch and by request, not by sample. Samples are copied into pools made once, and out of them into
    memory that a worker uses again; new in every batch are what the engines give, indices, and the answers, which
    belong to whoever asked. While an engine runs, and while rows are copied, no lock is held.
    """

    def __init__(
        self,
        chain: Chain,
        costs: Costs,
        room: int = 256,
        workers: int = 1,
        thresholds: Thresholds = None,
        trace: Untraced | None = None,
    ) -> None:
        self._chain, self._costs, self._trace = chain, costs, trace or UNTRACED
        self._pools = [Pool(entry.contract.inputs, room) for entry in chain.manifest.segments]
        self._thresholds = (*resolve(thresholds, chain.exits, chain.plan), ALWAYS)
        self._bound_whole = chain.device == "cpu"
        """Engines read the pool where it is; others get the rows that they are to run, and no more."""
        self._scheduler = Scheduler(costs, room)
        self._alone: deque[_Alone] = deque()
        self._alone_is_next = False
        self._requests: dict[int, _Request] = {}
        self._of_slot = np.zeros(room, np.int64)
        self._row_of_slot = np.zeros(room, np.int64)
        self._count = 0
        self._closing = False
        self._changed = threading.Condition()
        self._delivering = threading.Lock()
        name = unpoolable(chain)
        self._never_together = name is not None
        self.note: str | None = None
        if self._never_together:
            self.note = (
                f"{name} has no batch and is not the same for every batch: each request runs by itself, and survivors "
                "of several are not joined"
            )
        self._workers = [threading.Thread(target=self._work, name=f"etbac-{n}", daemon=True) for n in range(workers)]
        for worker in self._workers:
            worker.start()

    def submit(self, inputs: Mapping[str, Any], timeout: float | None = None) -> Future[Result]:
        """Answer these rows; `timeout`: in how many seconds the answer is due, which says who goes first.

        The future's `cancel` works until the answer is there. Raises InputError as `Chain.run`, FullError where there
        is no room now, and EtbacError once it is closed.
        """
        began = self._trace.now()
        batch = checking.check(self._chain.manifest.inputs, inputs)
        arrays = [batch.arrays[name] for name in self._chain.stages[0].inputs]
        due = time.monotonic() + (self._costs.patience if timeout is None else timeout)
        request, number = self._take_in(batch.rows, arrays)
        try:
            apart = self._never_together or self._pools[0].put(request.slots, arrays) is not None
            own = {name: array.copy() for name, array in batch.arrays.items()} if apart else {}
        except BaseException:
            with self._changed:
                del self._requests[number]
                self._scheduler.release(request.slots)
            raise
        self._trace.request(number, batch.rows)
        with self._changed:
            if apart:
                self._alone.append(_Alone(number, Batch(own, batch.rows), request.slots))
            else:
                self._scheduler.enter(request.slots, due)
            self._changed.notify()
        request.future.add_done_callback(lambda done: self._cancelled(number) if done.cancelled() else None)
        self._trace.host("take in", began)
        return request.future

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

    def _take_in(self, rows: int, arrays: Sequence[Any]) -> tuple[_Request, int]:
        with self._changed:
            if self._closing:
                raise EtbacError("the rebatcher is closed; no request is taken in any more")
            slots = self._scheduler.reserve(rows)
            if self._scheduler.inside == rows and self._pools[0].differing(arrays) is not None:
                for pool in self._pools:
                    pool.clear()
            number, self._count = self._count, self._count + 1
            self._of_slot[slots], self._row_of_slot[slots] = number, np.arange(rows)
            request = _Request(Future(), Answers(rows, self._chain.ids), slots)
            self._requests[number] = request
        return request, number

    def _work(self) -> None:
        scratch = Scratch()
        while (run := self._next()) is not None:
            began = self._trace.now()
            if isinstance(run, _Alone):
                self._run_alone(run)
                self._trace.batch(began, run.batch.rows)
                continue
            try:
                left = self._run(run, scratch)
            except Exception as error:
                self._failed(run, error)
            else:
                self._done(run, left)
            self._trace.batch(began, len(run.slots))

    def _next(self) -> Run | _Alone | None:
        with self._changed:
            while True:
                run = self._choose()
                if run is not None:
                    self._trace.waiting(self._scheduler.waiting, self._chain.ids)
                    return run
                if self._closing and self._scheduler.inside == 0:
                    self._changed.notify_all()
                    return None
                self._changed.wait()

    def _choose(self) -> Run | _Alone | None:
        """Under the lock: those that run alone and those that run together take turns."""
        run = None if self._alone and self._alone_is_next else self._scheduler.take(time.monotonic())
        self._alone_is_next = run is not None
        return run if run is not None or not self._alone else self._alone.popleft()

    def _run(self, run: Run, scratch: Scratch) -> list[_Left]:
        """Run an engine, and keep the survivors' boundary: who of the batch leaves, and with which answers.

        Survivors that cannot stand beside those before the next stage go on to the end by themselves.
        """
        trace, place, size = self._trace, run.stage, len(run.slots)
        stage, pool, threshold = self._chain.stages[place], self._pools[place], self._thresholds[place]
        began, everybody, compact = trace.now(), np.arange(size), place == 0 or not self._bound_whole
        carried = pool.take(run.slots, scratch) if compact else pool.tensors
        keep = stage.padded(everybody if compact else run.slots)
        if compact:
            trace.host("gather", began)
        began = trace.now()
        if threshold == NEVER:
            boundary, leaving, staying = stage.pass_on(carried, keep), NOBODY, everybody
            left: list[_Left] = []
            self._tell(began, run, len(keep), leaving)
        else:
            answers = stage.run(carried, keep, threshold).first(size)
            mask = answers.exit_mask()
            boundary, leaving, staying = answers.boundary, np.flatnonzero(mask), np.flatnonzero(~mask)
            self._tell(began, run, len(keep), leaving)
            left = [_Left(place, leaving, leaving, answers.predictions(), answers.confidence())] if len(leaving) else []
        if len(staying):
            began = trace.now()
            rows = None if len(staying) == size == len(keep) else staying
            differing = self._pools[place + 1].put(run.slots[staying], boundary, rows, scratch)
            trace.host("keep", began)
            if differing is not None:
                left += self._to_the_end(place + 1, boundary, staying)
        return left

    def _to_the_end(self, place: int, boundary: Sequence[Tensor], staying: Slots) -> Iterator[_Left]:
        chain = self._chain
        ahead = walk(chain.stages, place, staying, boundary, staying, self._thresholds, None, chain.ids, self._trace)
        return (_Left(one.place, one.rows, np.arange(len(one.rows)), one.predictions, one.confidence) for one in ahead)

    def _tell(self, began: int, run: Run, rows: int, leaving: Slots) -> None:
        if self._trace.on:
            who = np.stack([self._of_slot[run.slots], self._row_of_slot[run.slots]], axis=1)
            self._trace.engine(began, run.stage, self._chain.ids[run.stage], rows, who, leaving)

    def _done(self, run: Run, left: Sequence[_Left]) -> None:
        began = self._trace.now()
        leaving = np.zeros(len(run.slots), bool)
        for some in left:
            leaving[some.rows] = True
        numbers, rows = self._of_slot[run.slots], self._row_of_slot[run.slots]  # before the slots are others'
        with self._changed:
            answered = self._scheduler.done(run, leaving)
            self._changed.notify_all()
        for some in left:
            self._deliver(some, some.rows[answered[some.rows]], some.at[answered[some.rows]], numbers, rows)
        self._trace.host("answers", began)

    def _deliver(self, left: _Left, mine: Slots, at: Slots, numbers: Slots, rows: Slots) -> None:
        """Put answers where they belong. `mine`: rows of the batch that somebody waits for, `at` their answers; whose
        the batch's rows are, and which of theirs."""
        if not len(mine):
            return
        order = np.lexsort((rows[mine], numbers[mine]))
        mine, at = mine[order], at[order]
        owners = numbers[mine]
        starts = np.flatnonzero(np.diff(owners, prepend=-1)).tolist()
        for start, end in zip(starts, [*starts[1:], len(mine)], strict=True):
            own = at[start:end]
            predictions = [tensor[own] for tensor in left.predictions]
            self._answer(
                int(owners[start]), Leaving(left.place, rows[mine[start:end]], predictions, left.confidence[own])
            )

    def _answer(self, number: int, left: Leaving) -> None:
        """Some of a request's answers; with the last of them it has its result."""
        with self._delivering:
            request = self._requests.get(number)
            if request is None:  # cancelled
                return
            request.answers.put(left)
            if not request.answers.complete:
                return
        if self._requests.pop(number, None) is None:  # cancelled just now
            return
        self._end(number, request, request.answers.result(self._chain.fields))

    def _end(self, number: int, request: _Request, result: Result | Exception | None = None) -> None:
        """Whoever takes a request out of `_requests` ends it, and nobody else. Of one that was cancelled only those who
        wait for it are told."""
        wanted, failed = request.future.set_running_or_notify_cancel(), isinstance(result, Exception)
        self._trace.answered(number, "cancelled" if not wanted else "failed" if failed else "answered")
        if not wanted:
            return
        if isinstance(result, Exception):
            request.future.set_exception(result)
        elif result is not None:
            request.future.set_result(result)

    def _run_alone(self, alone: _Alone) -> None:
        try:
            for left in self._chain.leaving(alone.batch, self._thresholds, trace=self._trace):
                self._answer(alone.number, left)
        except Exception as error:
            self._fail([alone.number], error)
        with self._changed:
            self._scheduler.release(alone.slots)
            self._changed.notify_all()

    def _failed(self, run: Run, error: Exception) -> None:
        """Every request that has a sample in the run gets the error; its other samples are forgotten."""
        numbers = np.unique(self._of_slot[run.slots]).tolist()
        with self._changed:
            self._scheduler.done(run, np.ones(len(run.slots), bool))
            self._changed.notify_all()
        self._fail(numbers, error)

    def _cancelled(self, number: int) -> None:
        request = self._forget(number)
        if request is not None:
            self._end(number, request)

    def _fail(self, numbers: Sequence[int], error: Exception) -> None:
        for number in numbers:
            request = self._forget(number)
            if request is not None:
                self._end(number, request, error)

    def _forget(self, number: int) -> _Request | None:
        """Take a request's samples out, those still inside; None where it is not known any more."""
        with self._changed:
            request = self._requests.pop(number, None)
            if request is None:
                return None
            waiting = next((each for each in self._alone if each.number == number), None)
            if waiting is not None:
                self._alone.remove(waiting)
                self._scheduler.release(waiting.slots)
            self._scheduler.drop(request.slots[self._of_slot[request.slots] == number])
            self._changed.notify_all()
            return request
