from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from support.small_network import make_images, make_network

import etbac
from etbac.metrics import METRICS
from etbac.metrics.joints import positions
from etbac.passes.gates.keypoints import Keypoints
from etbac.passes.gates.pixels import Pixels
from etbac.runtime.chain import load
from etbac.verification.decisions import CONFIDENCES, comparable, compare_decisions, confidence_of

NETWORK = make_network()


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    path = tmp_path_factory.mktemp("decisions") / "engines"
    etbac.compile(NETWORK, path, example_inputs=make_images(2))
    with load(path) as chain:
        yield chain


def thresholds(chain, images):
    """At each exit the median confidence, so that about half of those who come there leave."""
    return dict(zip(chain.exits, np.median(chain.run_all(images).confidence, axis=1).tolist(), strict=False))


def test_the_chain_decides_as_the_plain_torch_model(chain):
    images = make_images(200, seed=1)
    labels = chain.full(images).argmax(1)
    done = compare_decisions(chain, NETWORK, images, labels, thresholds(chain, images), METRICS["accuracy"])
    assert done.samples == 200
    assert done.passed
    assert done.flips <= 2
    assert done.figures["full model"] == 1.0
    assert 0 < done.figures["chain"] <= 1


def test_another_models_decisions_differ_far_from_the_threshold(chain):
    images = make_images(200, seed=1)
    done = compare_decisions(chain, make_network(seed=1), images, None, thresholds(chain, images))
    assert done.flips > 0
    assert not done.passed
    assert not done.figures


@pytest.mark.parametrize("gate", ["max-prob", "margin", "entropy"])
def test_confidences_are_between_nobody_knows_and_certain(gate):
    logits = np.array([[0, 0, 0, 0], [50, 0, 0, 0]], np.float32)
    unsure, sure = confidence_of({"name": gate}, logits)
    assert unsure == pytest.approx({"max-prob": 0.25}.get(gate, 0.0), abs=1e-9)
    assert sure == pytest.approx(1.0)


def test_the_entropy_gate_is_one_minus_the_normalised_entropy():
    logits = np.random.default_rng(0).standard_normal((5, 6))
    expected = 1 - stats.entropy(np.exp(logits), axis=1) / np.log(6)
    np.testing.assert_allclose(confidence_of({"name": "entropy"}, logits), expected)


def test_a_gate_without_a_plain_form_is_said(chain, monkeypatch):
    assert comparable(chain.manifest) is None
    monkeypatch.delitem(CONFIDENCES, "max-prob")
    assert comparable(chain.manifest) == "decisions of the gate max-prob have no plain torch form here"


@pytest.mark.parametrize(
    ("task", "gate", "metric"),
    [
        ("segmentation", Pixels(t=0.6, temperature=0.05), "miou"),
        ("segmentation", Pixels(t=0.6, temperature=0.05), "agreement"),
        ("pose", Keypoints(m=2), "pckh"),
    ],
)
def test_masks_and_joints_are_compared_and_scored_too(tmp_path, task, gate, metric):
    torch.manual_seed(0)
    first, second = torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.Conv2d(8, 8, 3, 2, 1)
    trunk = torch.nn.Sequential(first, torch.nn.ReLU(), second, torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3, 1, 1)).eval()
    images = {"input": np.random.default_rng(0).standard_normal((150, 3, 32, 32)).astype(np.float32)}
    some = {"input": images["input"][:2]}
    example = {"input": torch.from_numpy(some["input"])}
    network = etbac.attach_exits(trunk, task=task, at=["1"], example_inputs=example).eval()
    etbac.compile(network, tmp_path / "engines", example_inputs=some, gates={1: gate})
    with load(tmp_path / "engines") as chain:
        full = chain.full(images)
        if task == "segmentation":
            labels = full.argmax(axis=1).repeat(4, axis=1).repeat(4, axis=2)
        else:
            labels = np.concatenate([4 * positions(full), np.ones((150, 4, 2))], axis=2).astype(np.float32)
        done = compare_decisions(chain, network, images, labels, thresholds(chain, images), METRICS[metric])
        left = chain.run(images, thresholds=thresholds(chain, images)).exit
    assert done.passed
    assert 0 < left.mean() < 1
    assert done.predictions > 0.99
    assert done.metric == metric
    rows = METRICS[metric].rows(full, full if metric == "agreement" else labels)
    assert done.figures["full model"] == pytest.approx(METRICS[metric].of(rows), abs=1e-3)
    assert done.figures["exit 1"] < done.figures["chain"] < done.figures["full model"]


def test_numbers_leave_by_what_their_heads_say(tmp_path):
    torch.manual_seed(0)
    trunk = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)).eval()
    rows = {"input": np.random.default_rng(0).standard_normal((100, 6)).astype(np.float32)}
    example = {"input": torch.from_numpy(rows["input"][:2])}
    network = etbac.attach_exits(trunk, task="text", at=["1"], example_inputs=example).eval()
    etbac.compile(network, tmp_path / "engines", example_inputs={"input": rows["input"][:2]})
    with load(tmp_path / "engines") as chain:
        assert comparable(chain.manifest) is None
        labels = chain.full(rows)[:, 0]
        done = compare_decisions(chain, network, rows, labels, thresholds(chain, rows), METRICS["pearson"])
        left = chain.run(rows, thresholds=thresholds(chain, rows)).exit
    assert done.passed
    assert 0 < left.mean() < 1
    assert done.predictions == 1
    assert done.figures["full model"] == pytest.approx(1)
    assert done.figures["exit 1"] < done.figures["chain"] < 1
