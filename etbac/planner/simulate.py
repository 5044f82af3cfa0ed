"""What a chain would do under load, by its profile: a simulation of events with the scheduler that really runs it."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from etbac.runtime.rebatching import Costs, FullError
from etbac.runtime.rebatching.scheduler import Run, Scheduler

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Simulation:
    """`latency_s` [n]: from each sample's arrival to its answer, inf where there was no room; `seconds`: from the first
    arrival to the last answer; `rows`: of every run of an engine."""

    latency_s: Floats
    seconds: float
    rows: Places

    def goodput(self, within_s: float) -> float:
        """Samples a second that are answered within so many."""
        return float((self.latency_s <= within_s).sum() / self.seconds)

    def quantile(self, q: float) -> float:
        """Of the latency of all samples, those that were refused among them, in seconds."""
        return float(np.quantile(self.latency_s, q, method="higher"))


def poisson(rate: float, count: int, seed: int = 0) -> Floats:
    """Arrivals, in seconds, of `count` samples at `rate` a second, each whenever it likes."""
    arrivals: Floats = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, count))
    return arrivals


def bursts(rate: float, count: int, size: int = 16, seed: int = 0) -> Floats:
    """The same rate on the whole, `size` samples at a time."""
    return np.repeat(poisson(rate / size, -(-count // size), seed), size)[:count]


def simulate(
    costs: Costs,
    arrivals: Floats,
    leaves: Places,
    devices: int = 1,
    room: int = 256,
    due_s: float | None = None,
    seed: int = 0,
    beyond_s: float = 0.0,
    by_sample_s: float = 0.0,
) -> Simulation:
    """Samples that arrive at these seconds (ascending) and leave at these stages.

    `devices`: each with the whole chain; a sample goes where the fewest are. `room`: of each device. `due_s`: after
    which an answer is due, by default as `Rebatcher` has it. A run takes what the profile says; where single runs are
    known, one is drawn (by `seed`). `beyond_s`: what a sample's way in takes beyond that, one sample after another on
    each device, while its engines run, whether or not there is room for it then; `by_sample_s`: for how much longer
    each sample of a run keeps its device. Nothing else takes time.
    """
    due_s = costs.patience if due_s is None else due_s
    schedulers = [Scheduler(costs, room) for _ in range(devices)]
    world = _World(schedulers, arrivals, leaves, seed, due_s, beyond_s, by_sample_s)
    for sample, now in enumerate(arrivals.tolist()):
        world.until(now)
        world.arrive(sample, now)
    world.until(np.inf)
    return Simulation(world.latency, world.last - float(arrivals[0]), np.array(world.rows))


class _World:
    """Devices, who is on the way to them, what runs on them, and when each of these ends."""

    def __init__(
        self,
        devices: list[Scheduler],
        arrivals: Floats,
        leaves: Places,
        seed: int,
        due_s: float,
        beyond_s: float,
        by_sample_s: float,
    ) -> None:
        self.devices, self.arrivals, self.leaves = devices, arrivals, leaves
        self.due_s, self.beyond_s, self.by_sample_s = due_s, beyond_s, by_sample_s
        self.latency = np.full(len(arrivals), np.inf)
        self.rows: list[int] = []
        self.last = float(arrivals[-1])
        self._sample = [np.zeros(device.room, np.int64) for device in devices]
        self._ends: list[tuple[float, int, int, int | Run]] = []
        """Seconds, order, device, and the sample that has come in or the run that has ended."""
        self._order = itertools.count()
        self._way_in_free = [-np.inf] * len(devices)
        self._on_the_way = [0] * len(devices)
        self._busy = [False] * len(devices)
        self._rng = np.random.default_rng([seed, 2])

    def arrive(self, sample: int, now: float) -> None:
        """A sample goes where the fewest are, and is there once those before it on the way are."""
        device = min(range(len(self.devices)), key=lambda each: self.devices[each].inside + self._on_the_way[each])
        self._on_the_way[device] += 1
        self._way_in_free[device] = max(now, self._way_in_free[device]) + self.beyond_s
        self._ends_at(self._way_in_free[device], device, sample)

    def until(self, now: float) -> None:
        """All that ends until then, and what is begun in its place."""
        while self._ends and self._ends[0][0] <= now:
            end, _, device, what = heapq.heappop(self._ends)
            if isinstance(what, Run):
                self._end(what, device, end)
            else:
                self._offer(what, device, end)
            self._start(device, end)

    def _ends_at(self, second: float, device: int, what: int | Run) -> None:
        heapq.heappush(self._ends, (second, next(self._order), device, what))

    def _offer(self, sample: int, device: int, now: float) -> None:
        """A sample has come in; its answer is due from when it began to."""
        self._on_the_way[device] -= 1
        try:
            slots = self.devices[device].offer(1, now - self.beyond_s + self.due_s)
        except FullError:
            return
        self._sample[device][slots] = sample

    def _end(self, run: Run, device: int, now: float) -> None:
        samples = self._sample[device][run.slots]
        leaving = self.leaves[samples] <= run.stage
        self.latency[samples[leaving]] = now - self.arrivals[samples[leaving]]
        self.last = max(self.last, now)
        self.devices[device].done(run, leaving)
        self._busy[device] = False

    def _start(self, device: int, now: float) -> None:
        scheduler = self.devices[device]
        run = None if self._busy[device] else scheduler.take(now)
        if run is None:
            return
        self._busy[device] = True
        self.rows.append(len(run.slots))
        costs, what = scheduler.costs, (run.stage, len(run.slots) - 1)
        seconds = float(costs.seconds[what])
        if costs.runs is not None:
            seconds *= float(costs.runs[what][self._rng.integers(costs.runs.shape[-1])])
        seconds += self.by_sample_s * len(run.slots)
        self._ends_at(now + seconds, device, run)
