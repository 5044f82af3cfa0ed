from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from etbac.models.cost import AUTO_EXITS, evenly, work_of


def test_work_is_counted_by_module() -> None:
    network = nn.Sequential(nn.Linear(8, 16), nn.Sequential(nn.Linear(16, 4), nn.ReLU()), nn.Linear(4, 2))
    inputs = {"input": torch.zeros(2, 8)}
    assert work_of(network, ["0", "1", "2"], inputs) == [2 * 2 * 8 * 16, 2 * 2 * 16 * 4, 2 * 2 * 4 * 2]


def test_blocks_of_equal_work_are_taken_evenly() -> None:
    assert evenly([5] * 13) == [1, 3, 5, 7, 8, 10, 12] or evenly([5] * 13) == [1, 3, 5, 6, 8, 10, 12]
    assert evenly([1]) == [1]
    assert evenly([3, 3]) == [1]


def test_exits_stand_where_the_work_is() -> None:
    assert evenly([1, 1, 1, 1, 1, 1, 1, 1, 100, 100, 100, 100, 1])[-4:] == [9, 10, 11, 12]


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=60))
def test_the_first_block_has_an_exit_and_the_last_has_none(work: list[int]) -> None:
    chosen = evenly(work)
    assert chosen[0] == 1
    assert chosen == sorted(set(chosen))
    assert len(chosen) <= AUTO_EXITS
    assert len(work) == 1 or chosen[-1] < len(work)
