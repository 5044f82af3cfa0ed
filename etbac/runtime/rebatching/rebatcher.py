"""Requests that arrive at any time, run together: survivors of several batches are joined into full ones."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import numpy as np

from etbac.backends.interface import Array, Tensor
from etbac.errors import EtbacError
from etbac.runtime import inputs as checking
from etbac.runtime.chain import Chain, walk
from etbac.runtime.exits import ALWAYS, NEVER, Thresholds, resolve
from etbac.runtime.inputs import Batch
from etbac.runtime.rebatching.alone import unpoolable
from etbac.runtime.rebatching.pools import Pool, Scratch, differing, join, like
from etbac.runtime.rebatching.requests import Left, Owners, Request, Requests
from etbac.runtime.rebatching.scheduler import Costs, Mask, Run, Scheduler, Slots
from etbac.runtime.results import Result
from etbac.runtime.trace import UNTRACED, Untraced


@dataclass(frozen=True, eq=False)
class _Alone:
    """A request whose samples cannot run together with those that are inside."""

    number: int
    batch: Batch
    slots: Slots


@dataclass(frozen=True)
class _Chosen:
    """What a worker is to run; before the first stage with the requests' inputs, and which rows of them."""

    run: Run
    inputs: list[tuple[list[Array], Slots]]


@dataclass(frozen=True)
class _Ended:
    """A run that has ended: whose its rows are, who leaves, with which answers, and the boundary of the others."""

    run: Run
    owners: Owners
    leaving: Mask
    boundary: Sequence[Tensor]
    left: list[Left]


class Rebatcher:
    """Runs a chain for many requests at once. A context manager; its methods may be called from several threads.

    `costs`: of every stage by batch size, from a profile. `room`: samples that may wait or run at once; a request for
    which there is none is refused with a FullError, and may be offered again. `workers`: engines that run at the same
    time. `thresholds`: as of `Chain.run`. `trace` is told of every request, batch and run of an engine.

    A request whose tensors have another size than those of the samples inside, or other values for the whole batch, is
    answered by itself, taking turns with the others; so is every request where the chain hands on a tensor without a
    batch that is not always the same: `note` then says which.

    Survivors that nobody else would join go straight on to the next engine; others wait in a pool. Python works by
    batch and by request, not by sample. A request's inputs are copied once when it comes, and joined in memory that a
    worker uses again; pools are made once. New in every batch are what the engines give, indices, and the answers,
    which belong to whoever asked. While an engine runs, and while rows are copied, no lock is held.
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
        first, *others = (entry.contract.inputs for entry in chain.manifest.segments)
        self._inputs, self._pools = first, [Pool(specs, room) for specs in others]
        self._like: Sequence[Array] = ()
        """Inputs beside which all that are inside can stand."""
        self._thresholds = (*resolve(thresholds, chain.exits, chain.plan), ALWAYS)
        self._bound_whole = chain.device == "cpu"
        """Engines read the pool where it is; others get the rows that they are to run, and no more."""
        self._scheduler = Scheduler(costs, room)
        self._alone: deque[_Alone] = deque()
        self._alone_is_next = False
        self._requests = Requests(room, chain.ids, chain.fields, self._trace)
        self._closing = False
        self._changed = threading.Condition()
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
        due = time.monotonic() + (self._costs.patience if timeout is None else timeout)
        request = self._take_in(batch, due)
        future, number = request.future, request.number
        future.add_done_callback(lambda done: self._cancelled(number) if done.cancelled() else None)
        self._trace.host("take in", began)
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

    def _take_in(self, batch: Batch, due: float) -> Request:
        """Room is found before anything is copied."""
        with self._changed:
            if self._closing:
                raise EtbacError("the rebatcher is closed; no request is taken in any more")
            slots = self._scheduler.reserve(batch.rows)
        try:
            own = {name: array.copy() for name, array in batch.arrays.items()}
            inputs = [own[spec.name] for spec in self._inputs]
            with self._changed:
                apart = self._never_together or not self._fits_in(inputs, batch.rows)
                request = self._requests.add(slots, inputs)
                if apart:
                    self._alone.append(_Alone(request.number, Batch(own, batch.rows), slots))
                else:
                    self._scheduler.enter(slots, due)
                self._changed.notify()
        except BaseException:
            with self._changed:
                self._scheduler.release(slots)
                self._changed.notify_all()
            raise
        return request

    def _fits_in(self, inputs: Sequence[Array], rows: int) -> bool:
        """Beside those that are inside. Where nobody else is everything fits, and the pools are made anew for another
        size."""
        if self._like and differing(self._inputs, self._like, inputs) is None:
            return True
        if self._like and self._scheduler.inside > rows:
            return False
        self._like = like(self._inputs, inputs, 0)
        for pool in self._pools:
            pool.clear()
        return True

    def _work(self) -> None:
        scratch = Scratch()
        while (chosen := self._next()) is not None:
            if isinstance(chosen, _Alone):
                self._run_alone(chosen)
            else:
                self._run(chosen, scratch)
            del chosen  # what a request brought does not wait for the next one

    def _next(self) -> _Chosen | _Alone | None:
        with self._changed:
            while True:
                chosen = self._choose()
                if chosen is not None:
                    self._trace.waiting(self._scheduler.waiting, self._chain.ids)
                    return chosen
                if self._closing and self._scheduler.inside == 0:
                    self._changed.notify_all()
                    return None
                self._changed.wait()

    def _choose(self) -> _Chosen | _Alone | None:
        """Under the lock: those that run alone and those that run together take turns."""
        run = None if self._alone and self._alone_is_next else self._scheduler.take(time.monotonic())
        self._alone_is_next = run is not None
        if run is None:
            return self._alone.popleft() if self._alone else None
        return _Chosen(run, self._requests.take(run.slots) if run.stage == 0 else [])

    def _run(self, chosen: _Chosen, scratch: Scratch) -> None:
        """Run engine after engine, until those who stay have to wait for others."""
        run, began = chosen.run, self._trace.now()
        try:
            ended = self._run_stage(run, *self._gathered(chosen, scratch))
            while (ahead := self._straight_on(ended)) is not None:
                self._trace.batch(began, len(run.slots))
                began, (run, keep) = self._trace.now(), ahead
                ended = self._run_stage(run, ended.boundary, self._chain.stages[run.stage].padded(keep))
            ended = self._kept(ended, scratch)
        except Exception as error:
            self._failed(run, error)
        else:
            self._done(ended)
        self._trace.batch(began, len(run.slots))

    def _gathered(self, chosen: _Chosen, scratch: Scratch) -> tuple[Sequence[Tensor], Slots]:
        """What the engine reads, and which rows of it are to run."""
        began, place, slots = self._trace.now(), chosen.run.stage, chosen.run.slots
        stage = self._chain.stages[place]
        if place > 0 and self._bound_whole:
            return self._pools[place - 1].tensors, stage.padded(slots)
        carried: Sequence[Tensor]
        if place > 0:
            carried = self._pools[place - 1].take(slots, scratch)
        else:
            carried = join(self._inputs, chosen.inputs, scratch)
        self._trace.host("gather", began)
        return carried, stage.padded(np.arange(len(slots)))

    def _run_stage(self, run: Run, carried: Sequence[Tensor], keep: Slots) -> _Ended:
        """Run one engine."""
        began, place, size = self._trace.now(), run.stage, len(run.slots)
        stage, threshold = self._chain.stages[place], self._thresholds[place]
        owners = self._requests.owners(run.slots)  # before the slots are others'
        left = []
        if threshold == NEVER:
            boundary, mask = stage.pass_on(carried, keep), np.zeros(size, bool)
        else:
            answers = stage.run(carried, keep, threshold)
            answers = answers if len(keep) == size else answers.first(size)
            boundary, mask = answers.boundary, answers.exit_mask()
        leaving = mask.nonzero()[0]
        if self._trace.on:
            who = np.stack([owners.numbers, owners.rows], axis=1)
            self._trace.engine(began, place, self._chain.ids[place], len(keep), who, leaving)
        if len(leaving):
            left = [Left(place, leaving, leaving, answers.predictions(), answers.confidence())]
        return _Ended(run, owners, mask, boundary, left)

    def _straight_on(self, ended: _Ended) -> tuple[Run, Slots] | None:
        """The run of those who stay, and their rows of the boundary, where nobody would join them or go before them."""
        with self._changed:
            follow = None if self._alone else self._scheduler.follow
            ahead = follow and follow(ended.run, ended.leaving, time.monotonic())
        if ahead is None:
            return None
        answered, staying, run = ahead
        self._deliver(ended, answered)
        return run, staying

    def _kept(self, ended: _Ended, scratch: Scratch) -> _Ended:
        """Put the boundary of those who stay into the pool. Where they cannot stand beside those that wait there, they
        go on to the end by themselves."""
        staying, began, place = (~ended.leaving).nonzero()[0], self._trace.now(), ended.run.stage
        if not len(staying):
            return ended
        differs = self._pools[place].put(ended.run.slots[staying], ended.boundary, staying, scratch)
        self._trace.host("keep", began)
        if differs is None:
            return ended
        left = [*ended.left, *self._to_the_end(place + 1, ended.boundary, staying)]
        return replace(ended, leaving=np.ones(len(ended.run.slots), bool), left=left)

    def _done(self, ended: _Ended) -> None:
        with self._changed:
            answered = self._scheduler.done(ended.run, ended.leaving)
            self._changed.notify_all()
        self._deliver(ended, answered)

    def _deliver(self, ended: _Ended, answered: Mask) -> None:
        began = self._trace.now()
        try:
            for left in ended.left:
                self._requests.deliver(left, ended.owners, answered)
        except Exception as error:
            self._fail(np.unique(ended.owners.numbers).tolist(), error)
        self._trace.host("answers", began)

    def _to_the_end(self, place: int, boundary: Sequence[Tensor], staying: Slots) -> Iterator[Left]:
        chain = self._chain
        ahead = walk(chain.stages, place, staying, boundary, staying, self._thresholds, None, chain.ids, self._trace)
        return (Left(one.place, one.rows, np.arange(len(one.rows)), one.predictions, one.confidence) for one in ahead)

    def _run_alone(self, alone: _Alone) -> None:
        began = self._trace.now()
        try:
            for left in self._chain.leaving(alone.batch, self._thresholds, trace=self._trace):
                self._requests.answer(alone.number, left)
        except Exception as error:
            self._fail([alone.number], error)
        with self._changed:
            self._scheduler.release(alone.slots)
            self._changed.notify_all()
        self._trace.batch(began, alone.batch.rows)

    def _failed(self, run: Run, error: Exception) -> None:
        """Every request that has a sample in the run gets the error; its other samples are forgotten."""
        numbers = np.unique(self._requests.owners(run.slots).numbers).tolist()
        with self._changed:
            self._scheduler.done(run, np.ones(len(run.slots), bool))
            self._changed.notify_all()
        self._fail(numbers, error)

    def _cancelled(self, number: int) -> None:
        request = self._forget(number)
        if request is not None:
            self._requests.end(request)

    def _fail(self, numbers: Sequence[int], error: Exception) -> None:
        for number in numbers:
            request = self._forget(number)
            if request is not None:
                self._requests.end(request, error)

    def _forget(self, number: int) -> Request | None:
        """Take a request's samples out, those still inside; None where it is not known any more."""
        with self._changed:
            request = self._requests.forget(number)
            if request is None:
                return None
            waiting = next((each for each in self._alone if each.number == number), None)
            if waiting is not None:
                self._alone.remove(waiting)
                self._scheduler.release(waiting.slots)
            self._scheduler.drop(self._requests.inside(request))
            self._changed.notify_all()
            return request
