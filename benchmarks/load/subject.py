"""The chains that are put under load, with many samples and where each of them leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import etbac
from benchmarks import data, demo
from etbac.backends.interface import Array
from etbac.models import checkpoint as checkpoints
from etbac.profiles.profiler import BUDGET_S
from etbac.profiles.stored import read
from etbac.runtime.chain import Chain, load

FOLDER = Path("results/load")
MADE, CLASSES = FOLDER / "engines", 10


@dataclass(frozen=True)
class Subject:
    """An engine directory with a profile, inputs by name with their batch on axis 0, and thresholds by exit id (None:
    the plan's)."""

    path: Path
    inputs: Mapping[str, Array]
    thresholds: Mapping[int, float] | None


def the_demos() -> Subject:
    """Of `make demo`: trained, compiled, profiled and planned where it has not run here; its test pictures."""
    if not demo.DEMO.engines.exists():
        demo.train(demo.DEMO.checkpoint, demo.DEMO.train, data.fashion_mnist())
        demo.make_chain(demo.DEMO, demo.DEMO.engines)
    _profile(demo.DEMO.engines)
    test = checkpoints.load_set(checkpoints.load(demo.DEMO.checkpoint), "test")
    return Subject(demo.DEMO.engines, test.inputs, None)


def made(samples: int = 2_000) -> Subject:
    """A small network with random weights; at each exit half of those that reach it leave."""
    rng = np.random.default_rng(0)
    bright, strong = rng.uniform(-2, 2, (samples, 1, 1, 1)), rng.uniform(0.2, 4, (samples, 1, 1, 1))
    pictures = (bright + strong * rng.standard_normal((samples, 1, 16, 16))).astype(np.float32)
    if not MADE.exists():
        torch.manual_seed(0)
        inputs = {"image": torch.from_numpy(pictures[:8])}
        network = etbac.attach_exits(_Small().eval(), at=["blocks.0", "blocks.1"], example_inputs=inputs)
        etbac.compile(network.eval(), MADE, example_inputs=inputs)
    _profile(MADE, budget_s=3.0)
    with load(MADE) as chain:
        confidence = chain.run_all({"image": pictures}).confidence
    thresholds, staying = {}, np.ones(samples, bool)
    for exit_id, row in zip(chain.exits, confidence, strict=False):
        thresholds[exit_id] = float(np.median(row[staying]))
        staying &= row < thresholds[exit_id]
    return Subject(MADE, {"image": pictures}, thresholds)


def _profile(path: Path, budget_s: float = BUDGET_S) -> None:
    with load(path) as chain:
        found = read(chain)
    if found is None:
        etbac.profile(path, budget_s=budget_s)


def settled(chain: Chain, subject: Subject, count: int, margin: float = 0.01) -> dict[str, Array]:
    """Up to so many of its samples, none of which is so near a threshold that the last bits of a float decide.

    `margin`: of the spread of an exit's confidences.
    """
    some = {name: array[: 4 * count] for name, array in subject.inputs.items()}
    thresholds = subject.thresholds or (chain.plan.thresholds if chain.plan else {})
    confidence = chain.run_all(some).confidence[:-1]
    at = np.array([thresholds.get(exit_id, np.inf) for exit_id in chain.exits])[:, None]
    clear = np.flatnonzero((np.abs(confidence - at) > margin * confidence.std(axis=1, keepdims=True)).all(axis=0))[
        :count
    ]
    return {name: array[clear] for name, array in some.items()}


class _Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.blocks = nn.Sequential(*(nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()) for _ in range(3)))
        self.last = nn.Linear(16, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        answer: Tensor = self.last(self.blocks(self.stem(image)).mean((2, 3)))
        return answer
