"""A checkpoint that was saved by training, read as a model to compile."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from support.onnx_text import run

from etbac.frontend import load_model
from etbac.models import checkpoint
from etbac.models.attach import attach_exits
from etbac.models.registry import factory


def test_a_checkpoint_answers_what_its_network_answers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    kwargs = {"in_channels": 1, "width": 4}
    trunk = factory("resnet8")(**kwargs).eval()
    image = torch.randn(2, 1, 28, 28)
    network = attach_exits(trunk, at="auto", example_inputs={"image": image}).eval()
    path = tmp_path / "resnet.pt"
    saved = checkpoint.Checkpoint(network, "resnet8", kwargs, "accuracy")
    checkpoint.save(saved, path)

    found = load_model(path)
    assert (found.task, found.metric) == ("classification", "accuracy")
    assert found.source["kind"] == "checkpoint"
    assert found.source["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [(spec.name, spec.shape, spec.batch_axis) for spec in found.input_specs()] == [
        ("image", ("batch", 1, 28, 28), 0)
    ]
    for batch in (1, 3):
        images = np.random.default_rng(batch).standard_normal((batch, 1, 28, 28)).astype(np.float32)
        answers = run(found.model, {"image": images})
        with torch.no_grad():
            expected = network(image=torch.as_tensor(images))
        assert set(answers) == set(expected)
        for name, tensor in expected.items():
            np.testing.assert_allclose(answers[name], tensor.numpy(), rtol=1e-4, atol=1e-5)
