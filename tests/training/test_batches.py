from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etbac.errors import InputError
from etbac.models.data.parts import Subset
from etbac.training.batches import Place, epoch_batches, read, shares


class Squares:
    """Sample i is i, its target i²; reading is counted."""

    units = None

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def read(self, rows: Any) -> tuple[dict[str, Any], Any]:
        return {"x": rows.astype(np.float32)}, rows**2


@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 4), st.integers(0, 5))
def test_processes_together_train_on_what_one_with_the_larger_batch_does(n: int, batch: int, world: int, epoch: int):
    if n < world:
        return
    each = min(batch, n // world)
    parts = [epoch_batches(n, batch, Place(rank, world), 7, epoch) for rank in range(world)]
    together = [np.concatenate(rows) for rows in zip(*parts, strict=True)]
    alone = epoch_batches(n, each * world, Place(), 7, epoch)
    assert [rows.tolist() for rows in together] == [rows.tolist() for rows in alone]
    assert len(np.unique(np.concatenate(alone))) == len(alone) * each * world > n - each * world


def test_another_epoch_has_another_order() -> None:
    first, second = (np.concatenate(epoch_batches(100, 10, Place(), 0, epoch)) for epoch in (0, 1))
    assert first.tolist() != second.tolist()
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(100))


def test_a_set_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="too few to be split"):
        shares(0, 8, Place())


def test_fewer_samples_than_processes_are_refused() -> None:
    with pytest.raises(InputError, match="2 samples to train on are fewer than the 3 processes"):
        epoch_batches(2, 1, Place(0, 3), 0, 0)


@given(st.integers(1, 50), st.integers(1, 9), st.integers(1, 4))
def test_shares_are_all_rows_once(n: int, batch: int, world: int) -> None:
    if n < world:
        return
    dealt = [rows for rank in range(world) for rows in shares(n, batch, Place(rank, world))]
    assert sorted(np.concatenate([*dealt, np.arange(0)]).tolist()) == list(range(n))
    assert all(0 < len(rows) <= batch for rows in dealt)
    assert all(shares(n, batch, Place(rank, world)) for rank in range(world))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_read_in_their_order(workers: int) -> None:
    part = Subset(Squares(20), np.array([3, 5, 7, 9]))
    found = list(read(part, [np.array([1, 0]), np.array([3])], workers))
    assert [inputs["x"].tolist() for inputs, _ in found] == [[5, 3], [9]]
    assert [targets.tolist() for _, targets in found] == [[25, 9], [81]]
