"""Which stage runs next, and with which samples: one policy for the runtime and for its simulation.

No clock and no thread: whoever calls says what time it is, runs what it gets, and tells when it is done. A sample has
one slot from its arrival to its answer, and is known by it; work is by batch, not by sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from etbac.errors import EtbacError, UsageError

Slots = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

WORTH = 1.1
"""A batch is full where a larger one would need no less than 1 ÷ this of its time for a sample."""
PATIENCE = 4.0
"""How often a request without a deadline may take what `Costs.patience` counts."""


class FullError(EtbacError):
    """There is no room for another request now."""


@dataclass(frozen=True)
class Costs:
    """`seconds` [stages, max_batch]: what a stage takes for 1, 2, … samples. `runs` [stages, max_batch, n], if they are
    known: single runs ÷ that."""

    seconds: Floats
    runs: Floats | None = None

    @property
    def stages(self) -> int:
        return len(self.seconds)

    @property
    def max_batch(self) -> int:
        return int(self.seconds.shape[1])

    @cached_property
    def full(self) -> tuple[int, ...]:
        """The smallest batch of each stage at which a sample costs hardly more than at the cheapest."""
        of_one = self.seconds / np.arange(1, self.max_batch + 1)
        return tuple(int(np.argmax(row <= WORTH * row.min())) + 1 for row in of_one)

    @cached_property
    def of_one(self) -> tuple[float, ...]:
        """Seconds of each stage for a sample alone."""
        return tuple(self.seconds[:, 0].tolist())

    @cached_property
    def rest(self) -> tuple[float, ...]:
        """Seconds from each stage to the end, for a sample alone."""
        return tuple(np.cumsum(self.seconds[::-1, 0])[::-1].tolist())

    @cached_property
    def patience(self) -> float:
        """In how many seconds a sample without a deadline is due: full batches all the way, after waiting for another
        run to end, `PATIENCE` times."""
        of_full = [float(row[size - 1]) for row, size in zip(self.seconds, self.full, strict=True)]
        return PATIENCE * (max(of_full) + sum(of_full))


@dataclass(frozen=True, eq=False)
class Run:
    """What to run: a stage and the slots of its batch, ascending."""

    stage: int
    slots: Slots


class Scheduler:
    """A queue for each stage, in the order in which samples came.

    An idle worker is never kept waiting. It gets the deepest stage at which a sample must start now if it is to reach
    the end in time; else the deepest with a full batch, while survivors wait for each other; else the deepest at which
    anybody waits. A batch is no larger than lets its samples be in time at its end. Who would be late even at the next
    exit goes after all others, since nothing is lost by it any more; but not for ever: once late by the patience that a
    request has without a deadline, it presses again.
    `room`: slots, for samples that wait or run.
    """

    def __init__(self, costs: Costs, room: int) -> None:
        self.costs, self.room = costs, room
        self._stack, self._left = np.arange(room)[::-1].copy(), room
        self._queues: list[Slots] = [np.arange(0) for _ in range(costs.stages)]
        self._came = np.zeros(room, np.int64)
        self._due = np.zeros(room)
        self._dropped: Mask = np.zeros(room, bool)
        self._running: list[Run] = []
        self._count = 0

    @property
    def inside(self) -> int:
        """Samples that have a slot: that wait, run, or are about to enter."""
        return self.room - self._left

    @property
    def waiting(self) -> list[int]:
        """How many wait before each stage."""
        return [len(queue) for queue in self._queues]

    def offer(self, count: int, due: float) -> Slots:
        """Take so many samples in, all or none: their slots. FullError where there is no room."""
        slots = self.reserve(count)
        self.enter(slots, due)
        return slots

    def reserve(self, count: int) -> Slots:
        """Slots for so many samples, which `enter` or `release` later."""
        if count > self.room:
            raise UsageError(f"a request of {count} samples is larger than the room for {self.room}; allow more")
        if count > self._left:
            raise FullError(
                f"{count} more samples were offered, and {self.inside} of the {self.room} that may be in the chain "
                "are; offer them again when answers have come, or allow more"
            )
        self._left -= count
        slots: Slots = self._stack[self._left : self._left + count].copy()
        return slots

    def enter(self, slots: Slots, due: float) -> None:
        """Samples with these slots wait before the first stage."""
        self._due[slots] = due
        self._came[slots] = self._count
        self._count += 1
        self._queues[0] = np.concatenate([self._queues[0], slots])

    def release(self, slots: Slots) -> None:
        """Slots that neither wait nor run are free again."""
        self._stack[self._left : self._left + len(slots)] = slots
        self._left += len(slots)

    def take(self, now: float) -> Run | None:
        """What an idle worker is to run; None where nobody waits."""
        chosen = self._choose(now)
        if chosen is None:
            return None
        stage, going = chosen
        queue = self._queues[stage]
        able = queue if going is None else queue[going]
        count = self._in_time(stage, able[: self.costs.max_batch], now)
        if going is None:
            self._queues[stage] = queue[count:]
        else:
            going[going.nonzero()[0][count:]] = False
            self._queues[stage] = queue[~going]
        return self._begin(stage, np.sort(able[:count]))

    def done(self, run: Run, leaving: Mask) -> Mask:
        """The run has ended. Slots of those that leave are free again, and those of the dropped; the others wait before
        the next stage. Which of the run's slots have an answer that somebody waits for."""
        dropped = self._dropped[run.slots]
        staying = run.slots[~(leaving | dropped)]
        self._end(run, leaving | dropped)
        if len(staying):
            self._wait(run.stage + 1, staying)
        return leaving & ~dropped

    def follow(self, run: Run, leaving: Mask, now: float) -> tuple[Mask, Slots, Run] | None:
        """As `done`, and then `take`, where that takes just those who stay: which slots have an answer, the places in
        the run of those who stay, and their next run. None, and nothing has changed, where nobody stays, others wait
        with them, or somebody else goes first."""
        stage = run.stage + 1
        if leaving.all() or len(self._queues[stage]):
            return None
        dropped = self._dropped[run.slots]
        places = (~(leaving | dropped)).nonzero()[0]
        if not len(places):
            return None
        staying = run.slots[places]
        nobody, self._queues[stage] = self._queues[stage], staying
        chosen = self._choose(now)
        self._queues[stage] = nobody
        if chosen is None or chosen[0] != stage or not (chosen[1] is None or chosen[1].all()):
            return None
        in_order = staying[np.argsort(self._came[staying], kind="stable")]
        if self._in_time(stage, in_order, now) < len(staying):
            return None
        self._end(run, leaving | dropped)
        return leaving & ~dropped, places, self._begin(stage, staying)

    def drop(self, slots: Slots) -> None:
        """Forget these: those that run are forgotten when their run ends."""
        for stage, queue in enumerate(self._queues):
            going = np.isin(queue, slots)
            self._queues[stage] = queue[~going]
            self.release(queue[going])
        for run in self._running:
            self._dropped[run.slots[np.isin(run.slots, slots)]] = True

    def _begin(self, stage: int, slots: Slots) -> Run:
        run = Run(stage, slots)
        self._running.append(run)
        return run

    def _end(self, run: Run, gone: Mask) -> None:
        self._running.remove(run)
        self._dropped[run.slots] = False
        self.release(run.slots[gone])

    def _in_time(self, stage: int, slots: Slots, now: float) -> int:
        """How many of these, from the first on, can run together and still be in time; all where not even one can."""
        due, seconds = self._due[slots], self.costs.seconds[stage, : len(slots)]
        if due.min() - now >= seconds[-1]:
            return len(slots)
        fits = np.flatnonzero(seconds <= np.minimum.accumulate(due) - now)
        return int(fits[-1]) + 1 if len(fits) else len(slots)

    def _choose(self, now: float) -> tuple[int, Mask | None] | None:
        """The stage, and which of its queue may go (None: all)."""
        full = deepest = late = None
        for stage in reversed(range(self.costs.stages)):
            queue = self._queues[stage]
            if not len(queue):
                continue
            due = self._due[queue]
            soonest, count, in_time = due.min(), len(queue), None
            if soonest < now + self.costs.of_one[stage]:
                in_time = (due >= now + self.costs.of_one[stage]) | (due <= now - self.costs.patience)
                soonest, count = due.min(where=in_time, initial=np.inf), int(np.count_nonzero(in_time))
            if count == 0:
                late = late or (stage, None)
                continue
            if soonest <= now + self.costs.rest[stage]:
                return stage, in_time
            if full is None and count >= self.costs.full[stage]:
                full = stage, in_time
            deepest = deepest or (stage, in_time)
        return full or deepest or late

    def _wait(self, stage: int, slots: Slots) -> None:
        """Runs of one stage may end in another order than they began: who came first stands first."""
        queue = np.concatenate([self._queues[stage], slots])
        self._queues[stage] = queue[np.argsort(self._came[queue], kind="stable")]
