"""What cannot run together is answered by itself, as the plain chain answers it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from support.any_length import any_length_file, make_sequences
from support.counting_rows import make_counting_engine_dir
from support.rebatched import never_straight_on
from support.two_blocks import make_inputs

import etbac
from etbac.runtime.chain import Chain
from etbac.runtime.rebatching import Costs, Rebatcher
from etbac.runtime.results import Result

COSTS = Costs(np.tile(1e-4 + 1e-5 * np.arange(1, 9), (3, 1)))
OF_TWO_STAGES = Costs(COSTS.seconds[:2])


def same(ours: Result, theirs: Result) -> None:
    np.testing.assert_allclose(ours.prediction, theirs.prediction, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(ours.exit_id, theirs.exit_id)
    np.testing.assert_allclose(ours.confidence, theirs.confidence, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def of_any_length(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("any_length")
    etbac.compile(any_length_file(folder / "model.onnx"), folder / "engines", max_batch=8)
    with etbac.load(folder / "engines") as chain:
        yield chain


def alone(together: Rebatcher) -> int:
    return len(together._alone)


@pytest.mark.parametrize("workers", [1, 2])
def test_requests_of_every_length_are_answered(of_any_length: Chain, workers: int) -> None:
    requests = [make_sequences(rows, length) for rows in (1, 3, 10) for length in (4, 4, 9, 4, 1)]
    with Rebatcher(of_any_length, OF_TWO_STAGES, 128, workers, 0.4) as together:
        futures = [together.submit(inputs) for inputs in requests]
        assert together.note is None
    for inputs, future in zip(requests, futures, strict=True):
        same(future.result(0), of_any_length.run(inputs, 0.4))


def test_another_length_is_joined_again_once_nobody_is_inside(of_any_length: Chain) -> None:
    with Rebatcher(of_any_length, OF_TWO_STAGES, 16, 1, "off") as together:
        never_straight_on(together)
        for length in (4, 9, 2):
            inputs = make_sequences(3, length)
            same(together.submit(inputs).result(20), of_any_length.run(inputs, "off"))
            while together._scheduler.inside:
                pass
            assert together._pools[0].tensors[0].shape[1] == length, "its samples went through the pool"


def test_other_values_for_the_whole_batch_are_answered(chain: Chain) -> None:
    requests: list[dict[str, Any]] = [
        {**make_inputs(3, seed), "scale": np.full(6, 1 + seed % 2, np.float32)} for seed in range(12)
    ]
    with Rebatcher(chain, COSTS, 64, 2, 0.6) as together:
        futures = [together.submit(inputs) for inputs in requests]
    for inputs, future in zip(requests, futures, strict=True):
        same(future.result(0), chain.run(inputs, 0.6))


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with etbac.load(make_counting_engine_dir(tmp_path_factory.mktemp("counting") / "engines").path) as chain:
        yield chain


def test_a_chain_whose_boundary_is_never_the_same_says_so_by_name_and_joins_nothing(counting: Chain) -> None:
    requests = [make_inputs(rows, seed) for seed, rows in enumerate((1, 3, 2, 5, 12, 1))]
    with Rebatcher(counting, COSTS, 64, 2, 0.7) as together:
        assert together.note is not None
        assert "scale_out" in together.note
        futures = [together.submit(inputs) for inputs in requests]
        cancelled = together.submit(make_inputs(2))
        cancelled.cancel()
    for inputs, future in zip(requests, futures, strict=True):
        same(future.result(0), counting.run(inputs, 0.7))
    assert together._scheduler.inside == 0


def test_survivors_that_turn_out_to_differ_go_on_by_themselves(counting: Chain) -> None:
    """Even if the first look at the chain had not told."""
    requests = [make_inputs(rows, seed) for seed, rows in enumerate((1, 3, 2, 5, 7, 1))]
    with Rebatcher(counting, COSTS, 64, 1, 0.7) as together:
        together._never_together = False
        for inputs in requests:
            same(together.submit(inputs).result(20), counting.run(inputs, 0.7))


def test_a_request_alone_that_fails_gets_the_error_and_leaves_its_room(
    counting: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Rebatcher(counting, COSTS, 8, 1, 0.7) as together:
        with monkeypatch.context() as broken:
            broken.setattr(counting.stages[1], "run", lambda *arguments: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                together.submit(make_inputs(8)).result(20)
        same(together.submit(make_inputs(8)).result(20), counting.run(make_inputs(8), 0.7))
