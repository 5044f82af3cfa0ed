"""Every order of arrivals, runs, ends and cancellations of a few samples: nothing is lost, doubled or starved."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etbac.runtime.rebatching.scheduler import Costs, FullError, Run, Scheduler

NEVER = float("inf")


def costs(stages: int = 3, max_batch: int = 2) -> Costs:
    """A stage takes 1 s and 0.1 s a sample."""
    return Costs(np.tile(1 + 0.1 * np.arange(1, max_batch + 1), (stages, 1)))


class World:
    """A scheduler, and what became of every sample that it took."""

    def __init__(self, stages: int, room: int, workers: int) -> None:
        self.scheduler = Scheduler(costs(stages), room)
        self.stages, self.workers = stages, workers
        self.holder: dict[int, int] = {}
        """Sample by slot."""
        self.fate: dict[int, str] = {}
        self.runs: list[Run] = []
        self.entering: dict[int, np.ndarray] = {}
        """Slots of samples that have one and do not wait yet."""

    def state(self) -> tuple[object, ...]:
        """What matters of it: slots and samples are called as they came."""
        names = dict(self.holder)
        queues = tuple(tuple(names[slot] for slot in queue) for queue in self.scheduler._queues)
        dropped = tuple(names[slot] for slot in np.flatnonzero(self.scheduler._dropped))
        due = tuple(self.scheduler._due[list(names)].tolist())
        runs = tuple((run.stage, tuple(names[slot] for slot in run.slots)) for run in self.runs)
        entering = tuple(self.entering)
        return queues, dropped, due, runs, entering, tuple(sorted(self.fate.items())), tuple(names.items())

    def check(self) -> None:
        scheduler = self.scheduler
        free = scheduler._stack[: scheduler._left]
        places = [*scheduler._queues, *(run.slots for run in self.runs), *self.entering.values(), free]
        assert sorted(np.concatenate(places).tolist()) == list(range(scheduler.room)), "every slot is in one place"
        waiting = [sample for sample, fate in self.fate.items() if fate == "inside"]
        held = [self.holder[slot] for place in places[:-1] for slot in place.tolist()]
        live = [sample for sample in held if self.fate[sample] == "inside"]
        assert sorted(live) == sorted(waiting), "who waits for an answer is inside, once"

    def moves(self, arrivals: int) -> Iterator[tuple[str, object]]:
        if len(self.fate) < arrivals:
            yield "offer", 0.0
            yield "offer", NEVER
            yield "reserve", None
        for sample in self.entering:
            yield "enter", sample
            yield "release", sample
        if len(self.runs) < self.workers and any(self.scheduler.waiting):
            yield "take", None
        for place, run in enumerate(self.runs):
            is_last = run.stage == self.stages - 1
            for mask in (
                [(True,) * len(run.slots)] if is_last else itertools.product((True, False), repeat=len(run.slots))
            ):
                yield "done", (place, mask)
                if not all(mask):
                    yield "follow", (place, mask)
        for sample, fate in self.fate.items():
            if fate == "inside" and sample not in self.entering:
                yield "drop", sample

    def move(self, what: str, detail: object) -> None:
        match what, detail:
            case "offer", float(due):
                self.offer(due)
            case "reserve", _:
                if (sample := self.reserve()) is not None:
                    self.entering[sample] = self.slots_of(sample)
            case "enter", int(sample):
                self.scheduler.enter(self.entering.pop(sample), NEVER)
            case "release", int(sample):
                self.fate[sample] = "released"
                self.scheduler.release(self.entering.pop(sample))
            case "take", _:
                run = self.scheduler.take(0.0)
                assert run is not None, "an idle worker gets what there is"
                self.runs.append(run)
            case "done", (int(place), tuple(mask)):
                self.done(self.runs.pop(place), np.array(mask))
            case "follow", (int(place), tuple(mask)):
                self.follow(place, np.array(mask))
            case "drop", int(sample):
                self.fate[sample] = "dropped"
                self.scheduler.drop(self.slots_of(sample))
        self.check()

    def slots_of(self, sample: int) -> np.ndarray:
        return np.array([slot for slot, each in self.holder.items() if each == sample])

    def offer(self, due: float) -> None:
        if (sample := self.reserve()) is not None:
            self.scheduler.enter(self.slots_of(sample), due)

    def reserve(self) -> int | None:
        """A sample with a slot; None where there is no room."""
        sample = len(self.fate)
        try:
            (slot,) = self.scheduler.reserve(1).tolist()
        except FullError:
            assert self.scheduler.inside == self.scheduler.room
            self.fate[sample] = "refused"
            return None
        self.holder[slot] = sample
        self.fate[sample] = "inside"
        return sample

    def done(self, run: Run, mask: np.ndarray) -> None:
        self.note_answers(run, mask, self.scheduler.done(run, mask))

    def note_answers(self, run: Run, mask: np.ndarray, answered: np.ndarray) -> None:
        for slot, leaves, has_answer in zip(run.slots.tolist(), mask, answered, strict=True):
            sample = self.holder[slot]
            assert has_answer == (leaves and self.fate[sample] == "inside")
            if has_answer:
                self.fate[sample] = "answered"

    def follow(self, place: int, mask: np.ndarray) -> None:
        """It does what `done` and then `take` do where that takes just those who stay, and nothing otherwise."""
        run, apart, before = self.runs[place], copy.deepcopy(self), self.state()
        apart.done(apart.runs.pop(place), mask)
        staying = run.slots[~(mask | self.scheduler._dropped[run.slots])].tolist()
        following = apart.scheduler.take(0.0)
        found = self.scheduler.follow(run, mask, 0.0)
        if found is None:
            assert self.state() == before
            alike = following is not None and (following.stage, following.slots.tolist()) == (run.stage + 1, staying)
            assert not alike or not staying or self.scheduler.waiting[run.stage + 1], "others wait there too"
            return
        answered, places, ahead = found
        assert following is not None
        assert (ahead.stage, ahead.slots.tolist()) == (following.stage, following.slots.tolist())
        assert run.slots[places].tolist() == staying
        apart.runs.append(following)
        self.runs[place:] = [*self.runs[place + 1 :], ahead]
        self.note_answers(run, mask, answered)
        assert self.state() == apart.state()

    def drain(self) -> None:
        """With no further arrival everybody is answered, in no more runs than there are samples and stages."""
        for sample in list(self.entering):
            self.move("enter", sample)
        for _ in range(2 * len(self.fate) * self.stages):
            if not self.runs and not any(self.scheduler.waiting):
                break
            if any(self.scheduler.waiting) and len(self.runs) < self.workers:
                self.move("take", None)
            else:
                run = self.runs[0]
                self.move("done", (0, (run.stage == self.stages - 1,) * len(run.slots)))
        assert self.scheduler.inside == 0
        assert "inside" not in self.fate.values()


@pytest.mark.parametrize(
    ("stages", "room", "workers", "arrivals"), [(2, 2, 1, 3), (2, 3, 2, 3), (3, 2, 2, 3), (3, 3, 1, 3)]
)
def test_in_every_order_nothing_is_lost_doubled_or_starved(stages: int, room: int, workers: int, arrivals: int) -> None:
    seen, ahead = set(), [World(stages, room, workers)]
    while ahead:
        world = ahead.pop()
        for what, detail in list(world.moves(arrivals)):
            after = copy.deepcopy(world)
            after.move(what, detail)
            if after.state() not in seen:
                seen.add(after.state())
                ahead.append(after)
        world.drain()
    assert len(seen) > 500


def taken(scheduler: Scheduler, now: float = 0.0) -> tuple[int, int]:
    run = scheduler.take(now)
    assert run is not None
    return run.stage, len(run.slots)


def survivors(scheduler: Scheduler, count: int, stage: int = 1, due: float = NEVER) -> None:
    """So many wait before that stage."""
    for place in range(stage):
        if place == 0:
            scheduler.offer(count, due)
        run = scheduler.take(0.0)
        assert run is not None
        assert run.stage == place
        scheduler.done(run, np.zeros(len(run.slots), bool))


def test_without_haste_the_deepest_full_batch_goes_first_and_survivors_wait_for_each_other() -> None:
    scheduler = Scheduler(costs(), 8)
    survivors(scheduler, 1)
    scheduler.offer(2, NEVER)
    assert scheduler.waiting == [2, 1, 0]
    run = scheduler.take(0.0)
    assert run is not None
    assert run.stage == 0, "a full batch goes, and the survivor waits for its survivors"
    scheduler.done(run, np.array([True, False]))
    scheduler.offer(2, NEVER)
    assert taken(scheduler) == (1, 2), "survivors of two batches run together"


@pytest.mark.parametrize("late_is_first", [True, False])
def test_survivors_do_not_go_on_together_where_one_of_them_would_be_late_by_it(late_is_first: bool) -> None:
    """Whichever has the smaller slot: who came first counts."""
    alone = Costs(np.array([[1.0, 1.2], [1.0, 1.2]]))
    scheduler = Scheduler(alone, 4)
    second, first = scheduler.reserve(1), scheduler.reserve(1)
    in_time, late = (second, first) if late_is_first else (first, second)
    scheduler.enter(in_time, NEVER)
    scheduler.enter(late, NEVER)
    run = scheduler.take(0.0)
    assert run is not None
    scheduler._due[late], scheduler._due[in_time] = -1_000.0, 1.1
    assert scheduler.follow(run, np.zeros(2, bool), 0.0) is None
    scheduler.done(run, np.zeros(2, bool))
    assert taken(scheduler) == (1, 1)


def test_where_no_batch_is_full_the_deepest_goes_first() -> None:
    scheduler = Scheduler(costs(), 8)
    survivors(scheduler, 1)
    scheduler.offer(1, NEVER)
    assert taken(scheduler) == (1, 1)


def test_who_must_start_now_to_reach_the_end_in_time_goes_before_full_batches() -> None:
    scheduler = Scheduler(costs(), 8)
    survivors(scheduler, 1, due=10.0)
    scheduler.offer(2, NEVER)
    assert taken(scheduler, 7.7) == (0, 2), "there is time"
    scheduler.offer(2, NEVER)
    assert taken(scheduler, 7.9) == (1, 1), "two stages of 1.1 s are ahead"


def test_who_is_late_goes_last_but_not_for_ever() -> None:
    scheduler = Scheduler(costs(), 8)
    survivors(scheduler, 1, due=10.0)
    scheduler.offer(1, NEVER)
    assert taken(scheduler, 9.0) == (0, 1), "even at the next exit it would be late"
    assert taken(scheduler, 9.0) == (1, 1), "but for it nobody waits"
    scheduler = Scheduler(costs(), 8)
    survivors(scheduler, 1, due=10.0)
    scheduler.offer(2, NEVER)
    assert taken(scheduler, 10.0 + scheduler.costs.patience) == (1, 1)


def test_a_batch_holds_those_in_time_or_those_too_late() -> None:
    scheduler = Scheduler(costs(max_batch=4), 8)
    for due in (1.0, NEVER, 1.0, 50.0):
        scheduler.offer(1, due)
    assert taken(scheduler, 5.0) == (0, 2)
    assert scheduler.waiting == [2, 0, 0]
    assert taken(scheduler, 5.0) == (0, 2)


def test_a_batch_is_no_larger_than_lets_its_samples_be_in_time() -> None:
    for due, rows in ((1.25, 2), (1.4, 4), (1.0, 4)):
        scheduler = Scheduler(costs(max_batch=4), 8)
        scheduler.offer(4, due)
        assert taken(scheduler) == (0, rows), "of 4 that take 1.1, 1.2, 1.3 or 1.4 s; all where each would be late"


def test_a_full_batch_is_the_smallest_that_is_worth_it() -> None:
    seconds = np.array([[4.0, 4.2, 4.4, 4.6], [1.0, 2.0, 3.0, 4.0]])
    assert Costs(seconds).full == (4, 1)
    assert Costs(seconds).rest == (5.0, 1.0)
    assert Costs(seconds).patience == pytest.approx(4 * (4.6 + 4.6 + 1.0))


def test_where_there_is_no_room_all_of_a_request_is_refused() -> None:
    scheduler = Scheduler(costs(), 3)
    scheduler.offer(2, NEVER)
    with pytest.raises(FullError, match="2 more samples were offered, and 2 of the 3"):
        scheduler.offer(2, NEVER)
    assert scheduler.inside == 2


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), share=st.floats(0.0, 1.0), workers=st.integers(1, 2))
def test_under_arrivals_without_end_nobody_waits_long_beyond_its_time(seed: int, share: float, workers: int) -> None:
    """At half of what the chain can do, with twice the time that full batches need, nobody is late by more than one
    turn of every stage beyond what puts the late last."""
    random = np.random.default_rng(seed)
    prices = costs(3, 4)
    whole = sum(row[-1] for row in prices.seconds)
    scheduler, now, ends = Scheduler(prices, 64), 0.0, []
    arrivals = np.cumsum(random.exponential(whole / 4 * 2, 100))
    allowed, late, running = prices.patience / 2, 0.0, 0
    came = list(arrivals)
    due: dict[int, float] = {}
    while came or scheduler.inside:
        events = [*(end for end, _ in ends), *came[:1]]
        now = min(events)
        if came and came[0] == now:
            slot = int(scheduler.offer(1, came.pop(0) + allowed)[0])
            due[slot] = now + allowed
        for entry in [entry for entry in ends if entry[0] == now]:
            ends.remove(entry)
            running -= 1
            run = entry[1]
            leaving = np.full(len(run.slots), True) if run.stage == 2 else random.random(len(run.slots)) < share
            scheduler.done(run, leaving)
            late = max([late, *(now - due[slot] for slot in run.slots[leaving].tolist())])
        while running < workers and (run := scheduler.take(now)) is not None:
            ends.append((now + float(prices.seconds[run.stage, len(run.slots) - 1]), run))
            running += 1
    assert late <= whole + prices.patience
