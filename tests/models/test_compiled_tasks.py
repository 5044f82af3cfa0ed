"""A network of every task, with exits, compiled by the task's default gate: the chain answers as the network does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import tiny_transformers as tiny
from torch import Tensor

import etbac
from etbac.models import registry
from etbac.models.attach import ExitNetwork, attach_exits
from etbac.runtime.chain import load

PICTURES = torch.Generator().manual_seed(5)


def checked(network: ExitNetwork, inputs: dict[str, Tensor], folder: Path) -> dict[str, Any]:
    """Compile; compare every exit's and the full model's answers; the gate of the first exit."""
    arrays = {name: value.numpy() for name, value in inputs.items()}
    directory = etbac.compile(network, folder / "engines", example_inputs={n: v[:2] for n, v in arrays.items()})
    with torch.no_grad():
        expected = network(**inputs)
    with load(directory.path) as chain:
        every = chain.run_all(arrays)
        full = chain.full(arrays)
    for place, exit_id in enumerate(every.exit_ids):
        name = f"exit_{exit_id}" if exit_id else "prediction"
        np.testing.assert_allclose(every.prediction[place], expected[name], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(full, expected["prediction"], rtol=1e-3, atol=1e-4)
    for place, spec in enumerate(network.exits):
        if f"exit_{spec.id}.confidence" in expected:
            found = expected[f"exit_{spec.id}.confidence"][:, 0]
            np.testing.assert_allclose(every.confidence[place], found, rtol=1e-3, atol=1e-4)
    gate: dict[str, Any] = dict(directory.manifest.segments[0].contract.gate)
    return gate


def with_exits(architecture: str, at: Any = (1,), **options: Any) -> ExitNetwork:
    network = tiny.make(architecture, **options)
    return attach_exits(network, tiny.task(architecture), at, example_inputs=tiny.inputs(architecture)).eval()


def test_pose(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trunk = registry.factory("pose-resnet18")(joints=5, width=4, deconv_width=8).eval()
    image = {"image": torch.randn(5, 3, 64, 32, generator=PICTURES)}
    network = attach_exits(trunk, "pose", [1, 3, 7], example_inputs=image).eval()
    assert [spec.options["ups"] for spec in network.exits] == [0, 1, 3]
    assert checked(network, image, tmp_path) == {"name": "keypoints", "field": None, "m": 3}


def test_segmentation(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trunk = registry.factory("deeplab-resnet18")(num_classes=4, width=4, head_width=8).eval()
    image = {"image": torch.randn(5, 3, 64, 32, generator=PICTURES)}
    network = attach_exits(trunk, "segmentation", [2, 5], example_inputs=image).eval()
    assert checked(network, image, tmp_path)["name"] == "pixels"


@pytest.mark.parametrize(("labels", "gate"), [(3, "max-prob"), (1, "learned")])
def test_text(labels: int, gate: str, tmp_path: Path) -> None:
    name = "BertForSequenceClassification"
    network = with_exits(name, num_labels=labels)
    assert checked(network, tiny.inputs(name, rows=5, seed=1), tmp_path)["name"] == gate


def test_speech(tmp_path: Path) -> None:
    name = "Wav2Vec2ForSequenceClassification"
    assert checked(with_exits(name), tiny.inputs(name, rows=5, seed=1), tmp_path)["name"] == "max-prob"


@pytest.mark.long
@pytest.mark.parametrize(
    "name", sorted(set(tiny.CONFIGS) - {"BertForSequenceClassification", "Wav2Vec2ForSequenceClassification"})
)
def test_the_other_networks_of_transformers(name: str, tmp_path: Path) -> None:
    checked(with_exits(name, at="all"), tiny.inputs(name, rows=5, seed=1), tmp_path)
