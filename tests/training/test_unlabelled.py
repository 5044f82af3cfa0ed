"""Exits of a trained model, trained on its own answers to pictures that have no labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import etbac
from etbac.errors import UsageError
from etbac.models import checkpoint as checkpoints
from etbac.models.resnet import cifar_resnet
from etbac.planner.samples import load_recorded
from etbac.training import ExitOptions, train

SIDE = 12
ASKED: dict[str, Any] = {
    "loader": "pictures",
    "preprocessing": {"height": SIDE, "width": SIDE},
    "exits": [1],
    "heads": ExitOptions(epochs=20, batch_size=50),
}
NETWORK: dict[str, Any] = {"model": "resnet8", "model_options": {"width": 4, "num_classes": 3}}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of one bright colour each, with noise."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for number in range(300):
        colour = 200 * np.eye(3)[number % 3]
        noise = random.integers(0, 55, (SIDE, SIDE, 3))
        Image.fromarray((colour + noise).astype(np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "w.pth"
    torch.save(cifar_resnet(8, 3, 3, width=4).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def trained(pictures: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> checkpoints.Checkpoint:
    out = tmp_path_factory.mktemp("trained") / "model.pt"
    return train(out=out, data=pictures, start=weights, **NETWORK, **ASKED)


def test_exits_are_judged_by_the_full_models_answers(trained: checkpoints.Checkpoint) -> None:
    assert trained.metric == "agreement"
    assert trained.record["test"]["prediction"] == 1
    assert trained.record["test"]["exit_1"] > 0.9
    assert checkpoints.load_set(trained, "test").labels is None


def test_a_chain_is_made_and_planned_without_labels(trained: checkpoints.Checkpoint, tmp_path: Path) -> None:
    made = etbac.optimize(trained.path, tmp_path / "engines", 0.9, uncertified=True, budget_s=0.5, batches=25)
    with etbac.load(tmp_path / "engines") as chain:
        assert chain.manifest.metric == "agreement"
        (test,) = load_recorded(chain.engine_dir, None, ("test",))
        assert test.labels is None
    assert made.plan.search["precision"] >= 0.9
    assert etbac.verify(tmp_path / "engines").passed


@pytest.mark.parametrize(
    ("options", "message"),
    [({}, "have no labels, and the model is not trained"), ({"joint": True}, "and --joint trains the model too")],
)
def test_what_would_need_labels_is_refused(
    options: dict[str, Any], message: str, pictures: Path, weights: Path, tmp_path: Path
) -> None:
    start = {"start": weights} if options else {}
    with pytest.raises(UsageError, match=message):
        train(out=tmp_path / "model.pt", data=pictures, **start, **options, **NETWORK, **ASKED)
    assert list(tmp_path.iterdir()) == []
