"""Requests that are inside: whose sample is in which slot, and their answers as they come."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from etbac.backends.interface import Array
from etbac.runtime.answers import Answers, Leaving
from etbac.runtime.rebatching.scheduler import Mask, Slots
from etbac.runtime.results import Result
from etbac.runtime.trace import Untraced


@dataclass(frozen=True, eq=False)
class Request:
    number: int
    future: Future[Result]
    answers: Answers
    slots: Slots


@dataclass
class _Inputs:
    """A request's own arrays, one for each input of the first stage, and how many of its rows that has still to run."""

    arrays: list[Array]
    rows: int


@dataclass(frozen=True)
class Owners:
    """Of every row of a batch the number of its request, and which of that request's rows it is."""

    numbers: Slots
    rows: Slots

    def starts(self) -> Slots:
        """Where, of rows of one request that stand together, the first ones are."""
        first = np.ones(len(self.numbers), bool)
        first[1:] = self.numbers[1:] != self.numbers[:-1]
        return first.nonzero()[0]

    def at(self, places: Slots) -> Owners:
        return Owners(self.numbers[places], self.rows[places])


@dataclass(frozen=True)
class Left:
    """Who of a batch left at a stage: their rows, and where in the tensors their answers are."""

    place: int
    rows: Slots
    at: Slots
    predictions: Sequence[Array]
    confidence: Array


class Requests:
    """`room`: slots; `ids` and `fields` of the chain. `add` and `forget` are called by one thread at a time."""

    def __init__(self, room: int, ids: Sequence[int], fields: tuple[str, ...], trace: Untraced) -> None:
        self._ids, self._fields, self._trace = np.asarray(ids), fields, trace
        self._known: dict[int, Request] = {}
        self._inputs: dict[int, _Inputs] = {}
        self._of_slot = np.zeros(room, np.int64)
        self._row_of_slot = np.zeros(room, np.int64)
        self._count = 0
        self._delivering = threading.Lock()

    def add(self, slots: Slots, inputs: list[Array]) -> Request:
        """The inputs are the request's own, and kept until the first stage takes the last row of them."""
        rows, number = len(slots), self._count
        self._count += 1
        self._of_slot[slots], self._row_of_slot[slots] = number, np.arange(rows)
        request = self._known[number] = Request(number, Future(), Answers(rows, self._ids), slots)
        self._inputs[number] = _Inputs(inputs, rows)
        self._trace.request(number, rows)
        return request

    def forget(self, number: int) -> Request | None:
        """None where it is not known any more. Whoever gets it ends it, and nobody else."""
        self._inputs.pop(number, None)
        return self._known.pop(number, None)

    def owners(self, slots: Slots) -> Owners:
        return Owners(self._of_slot[slots], self._row_of_slot[slots])

    def inside(self, request: Request) -> Slots:
        """Its slots that have not become others'."""
        slots: Slots = request.slots[self._of_slot[request.slots] == request.number]
        return slots

    def take(self, slots: Slots) -> list[tuple[list[Array], Slots]]:
        """What the first stage is to run for these slots: requests' inputs, as they stand, with rows of them. All must
        be known."""
        owners = self.owners(slots)
        starts = owners.starts()
        bounds = pairwise([*starts.tolist(), len(slots)])
        taken = []
        for number, (start, end) in zip(owners.numbers[starts].tolist(), bounds, strict=True):
            inputs = self._inputs[number]
            taken.append((inputs.arrays, owners.rows[start:end]))
            inputs.rows -= end - start
            if inputs.rows == 0:
                del self._inputs[number]
        return taken

    def deliver(self, left: Left, owners: Owners, wanted: Mask) -> None:
        """Put answers where they belong; `owners` of the whole batch; `wanted`: rows whose answer somebody wants."""
        mine, at = left.rows, left.at
        if not wanted[mine].all():
            mine, at = mine[wanted[mine]], at[wanted[mine]]
        owners = owners.at(mine)
        if len(mine) > 1:
            order = np.lexsort((owners.rows, owners.numbers))
            owners, at = owners.at(order), at[order]
        starts = owners.starts()
        predictions, confidence = [tensor[at] for tensor in left.predictions], left.confidence[at]
        bounds = pairwise([*starts.tolist(), len(mine)])
        for number, (start, end) in zip(owners.numbers[starts].tolist(), bounds, strict=True):
            own = predictions if len(starts) == 1 else [tensor[start:end].copy() for tensor in predictions]
            self.answer(number, Leaving(left.place, owners.rows[start:end], own, confidence[start:end]))

    def answer(self, number: int, left: Leaving) -> None:
        """Some of a request's answers; with the last of them it has its result."""
        with self._delivering:
            request = self._known.get(number)
            if request is None:  # cancelled
                return
            request.answers.put(left)
            if not request.answers.complete:
                return
        if self.forget(number) is not None:  # not cancelled just now
            self.end(request, request.answers.result(self._fields))

    def end(self, request: Request, result: Result | Exception | None = None) -> None:
        """Of one that was cancelled only those who wait for it are told."""
        wanted, failed = request.future.set_running_or_notify_cancel(), isinstance(result, Exception)
        self._trace.answered(request.number, "cancelled" if not wanted else "failed" if failed else "answered")
        if not wanted:
            return
        if isinstance(result, Exception):
            request.future.set_exception(result)
        elif result is not None:
            request.future.set_result(result)
