from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from support.small_network import make_images, make_network

import etbac
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
    done = compare_decisions(chain, NETWORK, images, labels, thresholds(chain, images))
    assert done.samples == 200
    assert done.passed
    assert done.flips <= 2
    assert done.right["full model"] == 1.0
    assert 0 < done.right["chain"] <= 1


def test_another_models_decisions_differ_far_from_the_threshold(chain):
    images = make_images(200, seed=1)
    done = compare_decisions(chain, make_network(seed=1), images, None, thresholds(chain, images))
    assert done.flips > 0
    assert not done.passed
    assert not done.right


@pytest.mark.parametrize("gate", sorted(CONFIDENCES))
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
