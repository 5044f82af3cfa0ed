"""Rows come out as they went in, and moving them takes no memory that was not there before."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from etbac.contract import TensorSpec
from etbac.runtime.rebatching.pools import Pool, Scratch

ROOM, WIDTH = 64, 5_000


def moving(spec: TensorSpec, batch: np.ndarray) -> tuple[Pool, Callable[[], list[np.ndarray]]]:
    pool, scratch = Pool([spec], ROOM), Scratch()
    slots, rows = np.array([3, 9, 20, 41]), np.array([0, 2, 5, 7])

    def move() -> list[np.ndarray]:
        assert pool.put(slots, [batch], rows, scratch) is None
        return pool.take(slots, scratch)

    return pool, move


@pytest.mark.parametrize("axis", [0, 1])
def test_rows_come_out_as_they_went_in_and_again_take_no_memory(axis: int) -> None:
    shape = (8, WIDTH) if axis == 0 else (WIDTH, 8)
    batch = np.random.default_rng(0).standard_normal(shape)
    _, move = moving(TensorSpec("h", "float64", shape, axis), batch)
    np.testing.assert_array_equal(move()[0], batch.take([0, 2, 5, 7], axis))
    tracemalloc.start()
    for _ in range(20):
        (found,) = move()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.flags.c_contiguous
    assert peak < batch.nbytes / 20


def test_fewer_and_more_rows_share_a_workers_memory() -> None:
    scratch = Scratch()
    large = scratch.empty("owner", (8, 3), np.float32)
    assert np.shares_memory(large, scratch.empty("owner", (2, 3), np.float32))
    assert not np.shares_memory(large, scratch.empty("other", (2, 3), np.float32))
    assert scratch.empty("owner", (9, 3), np.float32).shape == (9, 3)
    assert scratch.empty("owner", (2, 3), np.float64).dtype == np.float64


def test_what_differs_is_named_and_nothing_is_kept() -> None:
    pool = Pool([TensorSpec("h", "float32", ("rows", "n"), 0), TensorSpec("s", "float32", (2,), None)], 4)
    ones, scale = np.ones((2, 3), np.float32), np.ones(2, np.float32)
    assert pool.put(np.array([0, 1]), [ones, scale]) is None
    assert pool.put(np.array([0, 1]), [np.ones((2, 4), np.float32), scale]) == "h is [rows, 4], and was [rows, 3]"
    assert pool.put(np.array([0, 1]), [0 * ones, 2 * scale]) == "s is [2], and was [2] with other values"
    np.testing.assert_array_equal(pool.take(np.array([0, 1]))[0], ones)
    pool.clear()
    assert pool.put(np.array([0]), [np.ones((1, 4), np.float32), 2 * scale]) is None
