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

WORTH = 1.1
"""A batch is full where a larger one would need no less than 1 ÷ this of its time for a sample."""


class FullError(EtbacError):
    """There is no room for another request now."""


@dataclass(frozen=True)
class Costs:
    """`seconds` [stages, max_batch]: what a stage takes for 1, 2, … samples."""

    seconds: npt.NDArray[np.float64]

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
    def rest(self) -> tuple[float, ...]:
        """Seconds from each stage to the end, with full batches, after waiting for another run to end."""
        of_full = [float(row[size - 1]) for row, size in zip(self.seconds, self.full, strict=True)]
        return tuple(max(of_full) + sum(of_full[stage:]) for stage in range(self.stages))


@dataclass(frozen=True, eq=False)
class Run:
    """What to run: a stage and the slots of its batch, ascending."""

    stage: int
    slots: Slots


class Scheduler:
    """A queue for each stage, in the order in which samples came.

    An idle worker is never kept waiting: it gets the stage whose most pressing sample has to start now if it is to be
    in time; else the deepest stage with a full batch; else the first stage at which anybody waits. Survivors of several
    batches so wait for each other as long as there is other work, and no longer than their time allows.
    `room`: slots, for samples that wait or run.
    """

    def __init__(self, costs: Costs, room: int) -> None:
        self.costs, self.room = costs, room
        self._free: Slots = np.arange(room)
        self._queues: list[Slots] = [np.arange(0) for _ in range(costs.stages)]
        self._came = np.zeros(room, np.int64)
        self._due = np.zeros(room)
        self._dropped: Mask = np.zeros(room, bool)
        self._running: list[Run] = []
        self._count = 0

    @property
    def inside(self) -> int:
        """Samples that wait or run."""
        return self.room - len(self._free)

    @property
    def waiting(self) -> list[int]:
        """How many wait before each stage."""
        return [len(queue) for queue in self._queues]

    def offer(self, count: int, due: float) -> Slots:
        """Take so many samples in, all or none: their slots. FullError where there is no room."""
        if count > self.room:
            raise UsageError(f"a request of {count} samples is larger than the room for {self.room}; allow more")
        if count > len(self._free):
            raise FullError(
                f"{count} more samples were offered, and {self.inside} of the {self.room} that may be in the chain "
                "are; offer them again when answers have come, or allow more"
            )
        slots, self._free = self._free[:count], self._free[count:]
        self._due[slots] = due
        self._came[slots] = self._count
        self._count += 1
        self._queues[0] = np.concatenate([self._queues[0], slots])
        return slots

    def take(self, now: float) -> Run | None:
        """What an idle worker is to run; None where nobody waits."""
        stage = self._choose(now)
        if stage is None:
            return None
        queue, most = self._queues[stage], self.costs.max_batch
        run = Run(stage, np.sort(queue[:most]))
        self._queues[stage] = queue[most:]
        self._running.append(run)
        return run

    def done(self, run: Run, leaving: Mask) -> Mask:
        """The run has ended. Slots of those that leave are free again, and those of the dropped; the others wait before
        the next stage. Which of the run's slots have an answer that somebody waits for."""
        self._running.remove(run)
        dropped = self._dropped[run.slots]
        gone = leaving | dropped
        self._dropped[run.slots] = False
        self._free = np.concatenate([self._free, run.slots[gone]])
        if not gone.all():
            self._wait(run.stage + 1, run.slots[~gone])
        return leaving & ~dropped

    def drop(self, slots: Slots) -> None:
        """Forget these: those that run are forgotten when their run ends."""
        for stage, queue in enumerate(self._queues):
            going = np.isin(queue, slots)
            self._queues[stage] = queue[~going]
            self._free = np.concatenate([self._free, queue[going]])
        for run in self._running:
            self._dropped[run.slots[np.isin(run.slots, slots)]] = True

    def _choose(self, now: float) -> int | None:
        stages = [stage for stage, queue in enumerate(self._queues) if len(queue)]
        if not stages:
            return None
        starts = {stage: self._due[self._queues[stage]].min() - self.costs.rest[stage] for stage in stages}
        pressing = [stage for stage in stages if starts[stage] <= now]
        if pressing:
            return min(pressing, key=starts.__getitem__)
        full = [stage for stage in stages if len(self._queues[stage]) >= self.costs.full[stage]]
        return full[-1] if full else stages[0]

    def _wait(self, stage: int, slots: Slots) -> None:
        """Runs of one stage may end in another order than they began: who came first stands first."""
        queue = np.concatenate([self._queues[stage], slots])
        self._queues[stage] = queue[np.argsort(self._came[queue], kind="stable")]
