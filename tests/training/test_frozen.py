from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from etbac.models.attach import attach_exits
from etbac.models.resnet import cifar_resnet
from etbac.training.batches import Place
from etbac.training.begin import Data, DataAsked
from etbac.training.frozen import FrozenTrunk, KeptFeatures
from etbac.training.losses import Seen


@pytest.fixture(scope="module")
def data(data_folder: Path) -> Data:
    return DataAsked("fashion-mnist", data_folder).draw()


@pytest.fixture(scope="module")
def trunk() -> FrozenTrunk:
    torch.manual_seed(0)
    network = attach_exits(cifar_resnet(8, 1, 10, 4), at=[1, 2], example_inputs={"image": torch.randn(2, 1, 28, 28)})
    return FrozenTrunk(network, torch.device("cpu"), nullcontext)


def same(first: Seen, second: Seen) -> None:
    torch.testing.assert_close(first.prediction, second.prediction, rtol=1e-4, atol=1e-5)
    assert first.targets.tolist() == second.targets.tolist()
    for exit_id, value in first.pooled.items():
        torch.testing.assert_close(value, second.pooled[exit_id], rtol=1e-4, atol=1e-5)


def test_what_is_kept_is_what_the_trunk_gives_at_any_rows(data: Data, trunk: FrozenTrunk, tmp_path: Path) -> None:
    part = data.of("train")
    kept = KeptFeatures(tmp_path / "kept", len(part))
    kept.fill(trunk, part, Place(), lambda: None, lambda count: None)
    rows = [np.array([5, 0, 17]), np.array([3])]
    for found, expected in zip(kept.batches(rows), trunk.run(part, rows), strict=True):
        same(found, expected)
    files = {path.name for path in (tmp_path / "kept").iterdir()}
    assert files == {"1", "2", "prediction", "targets", "shapes.json", "done"}


def test_what_is_done_is_not_done_again_and_what_is_not_is_done_anew(
    data: Data, trunk: FrozenTrunk, tmp_path: Path
) -> None:
    part = data.of("fit")
    kept = KeptFeatures(tmp_path / "kept", len(part))
    counts: list[int] = []
    kept.fill(trunk, part, Place(), lambda: None, counts.append)
    kept.fill(trunk, part, Place(), lambda: None, counts.append)
    assert sum(counts) == len(part)
    (tmp_path / "kept" / "done").unlink()
    kept.fill(trunk, part, Place(), lambda: None, counts.append)
    assert sum(counts) == 2 * len(part)


def test_the_bytes_that_files_take_are_told_before(data: Data, trunk: FrozenTrunk, tmp_path: Path) -> None:
    part = data.of("fit")
    kept = KeptFeatures(tmp_path / "kept", len(part))
    kept.fill(trunk, part, Place(), lambda: None, lambda count: None)
    example = next(trunk.run(part, [np.arange(1)]))
    sizes = [path.stat().st_size for path in (tmp_path / "kept").iterdir() if path.name not in ("done", "shapes.json")]
    assert KeptFeatures.bytes_for(example, len(part)) == sum(sizes)
