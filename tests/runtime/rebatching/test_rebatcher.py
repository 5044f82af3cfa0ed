"""Answers are the plain chain's, whoever ran beside whom; nothing that was taken in is lost."""

from __future__ import annotations

import asyncio
import threading
import tracemalloc
import weakref
from collections.abc import Callable
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rebatched import never_straight_on
from support.two_blocks import make_inputs

import etbac
from etbac.errors import EtbacError, InputError, UsageError
from etbac.runtime.chain import Chain
from etbac.runtime.rebatching import Costs, FullError, Rebatcher
from etbac.runtime.results import Result
from etbac.runtime.trace import Untraced

COSTS = Costs(np.tile(1e-4 + 1e-5 * np.arange(1, 9), (3, 1)))


def same(ours: Result, theirs: Result) -> None:
    np.testing.assert_allclose(ours.prediction, theirs.prediction, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(ours.exit_id, theirs.exit_id)
    np.testing.assert_array_equal(ours.exit, theirs.exit)
    np.testing.assert_allclose(ours.confidence, theirs.confidence, rtol=1e-5, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(st.integers(1, 12), min_size=1, max_size=12),
    thresholds=st.sampled_from([0.5, 0.7, 0.9, "off", {3: 0.6}, {7: 0.6}]),
    workers=st.integers(1, 2),
    straight_on=st.booleans(),
)
def test_requests_that_run_together_get_the_chains_answers(
    chain: Chain, rows: list[int], thresholds: Any, workers: int, straight_on: bool
) -> None:
    requests = [make_inputs(count, seed) for seed, count in enumerate(rows)]
    with Rebatcher(chain, COSTS, 256, workers, thresholds) as together:
        if not straight_on:
            never_straight_on(together)
        futures = [together.submit(inputs) for inputs in requests]
    for inputs, future in zip(requests, futures, strict=True):
        same(future.result(0), chain.run(inputs, thresholds))


def test_many_threads_get_their_own_answers(chain: Chain) -> None:
    found: dict[int, Result] = {}
    with Rebatcher(chain, COSTS, 64, 2, 0.7) as together:

        def ask(seed: int) -> None:
            found[seed] = together.submit(make_inputs(3, seed), timeout=0.0).result(20)

        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for seed, result in found.items():
        same(result, chain.run(make_inputs(3, seed), 0.7))
    assert len(found) == 20


def test_awaited_and_cancelled_tasks(chain: Chain) -> None:
    async def ask(together: Rebatcher) -> list[Any]:
        tasks = [asyncio.create_task(together.answer(make_inputs(2, seed))) for seed in range(8)]
        await asyncio.sleep(0)
        tasks[3].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    with Rebatcher(chain, COSTS, 64, 1, 0.7) as together:
        results = asyncio.run(ask(together))
    assert isinstance(results.pop(3), asyncio.CancelledError)
    for seed, result in zip((0, 1, 2, 4, 5, 6, 7), results, strict=True):
        same(result, chain.run(make_inputs(2, seed), 0.7))


class Held:
    """A chain whose engines wait until they are let go."""

    def __init__(self, path: Path) -> None:
        self.chain = etbac.load(path)
        self.go = threading.Event()
        self.begun = threading.Event()

    def hold(self) -> None:
        for stage in self.chain.stages:
            stage.run = self._held(stage.run)  # type: ignore[method-assign]

    def _held(self, run: Callable[..., Any]) -> Callable[..., Any]:
        def held(*arguments: Any) -> Any:
            self.begun.set()
            assert self.go.wait(20)
            return run(*arguments)

        return held


def test_where_there_is_no_room_a_request_is_refused_and_may_come_again(engines: Path) -> None:
    held = Held(engines)
    with held.chain, Rebatcher(held.chain, COSTS, 4, 1, 0.7) as together:
        held.hold()
        first = together.submit(make_inputs(3, 0))
        with pytest.raises(FullError, match="3 of the 4 that may be in the chain are"):
            together.submit(make_inputs(2, 1))
        with pytest.raises(UsageError, match="a request of 5 samples is larger than the room for 4"):
            together.submit(make_inputs(5, 1))
        held.go.set()
        same(first.result(20), held.chain.run(make_inputs(3, 0), 0.7))
        same(together.submit(make_inputs(2, 1)).result(20), held.chain.run(make_inputs(2, 1), 0.7))


def test_a_request_cancelled_while_it_runs_leaves_room(engines: Path) -> None:
    held = Held(engines)
    with held.chain, Rebatcher(held.chain, COSTS, 4, 1, "off") as together:
        held.hold()
        running = together.submit(make_inputs(2, 0))
        waiting = together.submit(make_inputs(2, 1))
        assert running.cancel()
        assert waiting.cancel()
        held.go.set()
        wait_for_room(together, 4)
        same(together.submit(make_inputs(4, 2)).result(20), held.chain.run(make_inputs(4, 2), "off"))


def test_a_batch_of_cancelled_requests_alone_ends_and_the_next_is_answered(engines: Path) -> None:
    """All would leave, and nobody waits for their answers."""
    held = Held(engines)
    with held.chain, Rebatcher(held.chain, COSTS, 4, 1, 0.0) as together:
        held.hold()
        running = together.submit(make_inputs(2, 0))
        assert held.begun.wait(20)
        assert running.cancel()
        assert not wait([running], 20).not_done, "who waits for it is told"
        held.go.set()
        same(together.submit(make_inputs(2, 1)).result(20), held.chain.run(make_inputs(2, 1), 0.0))


def wait_for_room(together: Rebatcher, rows: int) -> None:
    for _ in range(2_000):
        if together._scheduler.room - together._scheduler.inside >= rows:
            return
        threading.Event().wait(0.005)
    raise AssertionError("its slots were not given back")


def test_an_engine_that_fails_fails_the_requests_in_it_and_no_others(engines: Path) -> None:
    with etbac.load(engines) as chain, Rebatcher(chain, COSTS, 64, 1, 0.7) as together:
        run = chain.stages[0].run
        broken = True

        def failing(*arguments: Any) -> Any:
            if broken:
                raise EtbacError("the engine failed")
            return run(*arguments)

        chain.stages[0].run = failing  # type: ignore[method-assign]
        with pytest.raises(EtbacError, match="the engine failed"):
            together.submit(make_inputs(3, 0)).result(20)
        broken = False
        same(together.submit(make_inputs(3, 0)).result(20), chain.run(make_inputs(3, 0), 0.7))


def test_what_was_taken_in_is_answered_before_it_closes_and_nothing_is_taken_in_after(chain: Chain) -> None:
    together = Rebatcher(chain, COSTS, 64, 2, 0.9)
    futures: list[Future[Result]] = [together.submit(make_inputs(2, seed)) for seed in range(10)]
    together.close()
    assert all(future.done() for future in futures)
    with pytest.raises(EtbacError, match="closed"):
        together.submit(make_inputs(1))


def test_inputs_that_the_model_does_not_take_are_refused_and_take_no_room(chain: Chain) -> None:
    with Rebatcher(chain, COSTS, 8, 1, 0.7) as together:
        with pytest.raises(InputError):
            together.submit({"x": np.zeros((2, 6), np.float32)})
        assert together._scheduler.inside == 0


def test_two_workers_run_engines_of_two_stages_at_the_same_time(engines: Path) -> None:
    """Each of the first runs of the first two stages waits until the other has begun."""
    with etbac.load(engines) as chain, Rebatcher(chain, COSTS, 64, 2, "off") as together:
        met, waited = threading.Barrier(2), set[int]()

        def meeting(place: int, run: Callable[..., Any]) -> Callable[..., Any]:
            def meet(*arguments: Any) -> Any:
                if place not in waited:
                    waited.add(place)
                    met.wait(20)
                return run(*arguments)

            return meet

        first = together.submit(make_inputs(2, 0))
        same(first.result(20), chain.run(make_inputs(2, 0), "off"))
        for place in (0, 1):
            stage = chain.stages[place]
            stage.pass_on = meeting(place, stage.pass_on)  # type: ignore[method-assign]
        waited.add(0)
        survivor = together.submit(make_inputs(2, 1))
        while 1 not in waited:
            pass
        waited.discard(0)
        newcomer = together.submit(make_inputs(3, 2))
        same(survivor.result(20), chain.run(make_inputs(2, 1), "off"))
        same(newcomer.result(20), chain.run(make_inputs(3, 2), "off"))


def test_engines_that_do_not_read_the_pool_get_their_rows_alone(engines: Path) -> None:
    requests = [make_inputs(rows, rows) for rows in (1, 5, 12)]
    with etbac.load(engines) as chain, Rebatcher(chain, COSTS, 64, 1, 0.7) as together:
        together._bound_whole = False
        futures = [together.submit(inputs) for inputs in requests]
        for inputs, future in zip(requests, futures, strict=True):
            same(future.result(20), chain.run(inputs, 0.7))


def test_memory_does_not_grow_with_the_batches_that_were_answered(chain: Chain) -> None:
    requests = [make_inputs(rows, rows) for rows in (1, 5, 12, 3)]
    with Rebatcher(chain, COSTS, 64, 2, 0.7) as together:

        def answer_all(times: int) -> None:
            for _ in range(times):
                for future in [together.submit(inputs) for inputs in requests]:
                    future.result(20)

        answer_all(10)
        tracemalloc.start()
        answer_all(10)
        before, _ = tracemalloc.get_traced_memory()
        answer_all(100)
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert after - before < 20_000, "400 requests later"
    assert not together._requests._known


def test_an_idle_rebatcher_keeps_nothing_of_those_it_has_answered(chain: Chain) -> None:
    with Rebatcher(chain, COSTS, 64, 1, 0.7) as together:
        future = together.submit(make_inputs(3))
        kept = [weakref.ref(future), weakref.ref(future.result(20))]
        del future
        for _ in range(1_000):
            if not any(each() for each in kept):
                return
            threading.Event().wait(0.005)
    raise AssertionError("somebody holds them")


def test_inputs_are_kept_until_the_first_stage_has_run_and_no_longer(engines: Path) -> None:
    with etbac.load(engines) as chain, Rebatcher(chain, COSTS, 64, 1, "off") as together:
        begun, go_on = threading.Event(), threading.Event()
        run = chain.stages[1].pass_on

        def held(*arguments: Any) -> Any:
            begun.set()
            assert go_on.wait(20)
            return run(*arguments)

        chain.stages[1].pass_on = held  # type: ignore[method-assign]
        future = together.submit(make_inputs(3))
        assert begun.wait(20)
        assert not together._requests._inputs
        go_on.set()
        assert len(future.result(20).exit) == 3


def test_answers_that_cannot_be_handed_over_fail_their_requests_and_no_others(engines: Path) -> None:
    with etbac.load(engines) as chain, Rebatcher(chain, COSTS, 64, 1, 0.7) as together:
        deliver = together._requests.deliver

        def failing(*arguments: Any) -> None:
            together._requests.deliver = deliver  # type: ignore[method-assign]
            raise MemoryError("no room for answers")

        seeds = [seed for seed in range(100) if len(set(chain.run(make_inputs(4, seed), 0.7).exit == 0)) == 2]
        for straight_on in (True, False):
            if not straight_on:
                never_straight_on(together)
            together._requests.deliver = failing  # type: ignore[method-assign]
            with pytest.raises(MemoryError, match="no room for answers"):
                together.submit(make_inputs(4, seeds[0])).result(20)
            same(together.submit(make_inputs(3, 0)).result(20), chain.run(make_inputs(3, 0), 0.7))
            wait_for_room(together, 64)


def test_requests_that_are_cancelled_at_any_moment_end_once_and_take_nobody_with_them(chain: Chain) -> None:
    ended: dict[int, list[str]] = {}

    class Ends(Untraced):
        def request(self, number: int, rows: int) -> None:
            ended[number] = []

        def answered(self, number: int, how: str) -> None:
            ended[number].append(how)

    rng = np.random.default_rng(0)
    requests = [make_inputs(int(rows), seed) for seed, rows in enumerate(rng.integers(1, 4, 300))]
    futures: list[Future[Result]] = []
    with Rebatcher(chain, COSTS, 1024, 2, 0.6, Ends()) as together:

        def cancel() -> None:
            for place in range(0, 300, 2):
                while len(futures) <= place:
                    pass
                futures[place].cancel()

        canceller = threading.Thread(target=cancel)
        canceller.start()
        for inputs in requests:
            futures.append(together.submit(inputs))
        canceller.join()
    assert together._scheduler.inside == 0
    for place, (inputs, future) in enumerate(zip(requests, futures, strict=True)):
        assert ended[place] == ["cancelled" if future.cancelled() else "answered"]
        assert place % 2 == 0 or not future.cancelled()
        if not future.cancelled():
            same(future.result(0), chain.run(inputs, 0.6))
