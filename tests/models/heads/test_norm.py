"""Batch normalisation over several processes: what one process with all rows gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.two_processes import SHAPES, batch, network, one_of_two, steps
from torch import multiprocessing, nn

from etbac.models.heads.norm import BatchNorm1d, BatchNorm2d


@pytest.mark.parametrize("kind", SHAPES)
def test_two_processes_learn_what_one_learns_from_the_whole_batch(kind: str, tmp_path: Path) -> None:
    multiprocessing.spawn(one_of_two, (str(tmp_path), kind), nprocs=2)
    found = torch.load(tmp_path / "state.pt", weights_only=True)
    alone = network(kind)
    steps(alone, batch(kind))
    for name, tensor in alone.state_dict().items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("ours", "torchs"), [(BatchNorm1d, nn.BatchNorm1d), (BatchNorm2d, nn.BatchNorm2d)])
def test_one_process_has_torchs_own_normalisation_and_its_state(ours: Any, torchs: Any) -> None:
    rows = batch("1d" if ours is BatchNorm1d else "2d")
    first, second = ours(4), torchs(4)
    torch.testing.assert_close(first.train()(rows), second.train()(rows))
    assert list(first.state_dict()) == list(second.state_dict())
    first.load_state_dict(second.state_dict())
    torch.testing.assert_close(first.eval()(rows), second.eval()(rows))
