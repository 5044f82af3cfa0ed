"""Every decision of the chain against the plain torch early-exit model, sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from etbac.contract import Manifest
from etbac.metrics import Metric
from etbac.runtime.chain import Chain

if TYPE_CHECKING:
    from etbac.models.attach import ExitNetwork

Array = npt.NDArray[Any]
NEAR = 1e-3
"""A confidence this close to its threshold may fall on either side: engines and torch round differently."""
NEAR_PIXELS = 3
"""As many pixels may do so where a confidence is a share of pixels."""
TORCH_BATCH = 64
LEARNED = "learned"
"""The gate that reads what the head itself says of its sureness."""


@dataclass(frozen=True)
class Decisions:
    """How often the chain and the plain torch model agree, over `samples` samples.

    `flips`: samples that left elsewhere; `farthest`: the largest |confidence − threshold| in torch at the earlier of
    the two exits, over all flips (0 without any), and `near` what it may be. `predictions`: share of the same answers,
    at every position where there are several. `figures`: the `metric` by name ("chain", "full model", "exit 3", …),
    where labels are there.
    """

    samples: int
    flips: int
    farthest: float
    near: float
    predictions: float
    metric: str | None
    figures: Mapping[str, float]

    @property
    def passed(self) -> bool:
        return self.farthest <= self.near


def comparable(manifest: Manifest) -> str | None:
    """None where torch's decisions can be computed for these gates; otherwise why not."""
    names = {entry.contract.gate.get("name") for entry in manifest.segments if not entry.contract.is_last}
    unknown = sorted(map(str, names - {*CONFIDENCES, LEARNED}))
    return f"decisions of the gate {unknown[0]} have no plain torch form here" if unknown else None


def compare_decisions(
    chain: Chain,
    network: ExitNetwork,
    inputs: Mapping[str, Array],
    labels: Array | None,
    thresholds: Mapping[int, float],
    metric: Metric | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Decisions:
    """Run both over all rows of `inputs`; `thresholds`: by exit id."""
    samples = len(next(iter(inputs.values())))
    compared = []
    for start in range(0, samples, TORCH_BATCH):
        rows = slice(start, start + TORCH_BATCH)
        batch = {name: array[rows] for name, array in inputs.items()}
        truth = None if labels is None else labels[rows]
        compared.append(_compare(chain, network, batch, truth, thresholds, metric))
        progress(len(compared[-1].same))
    names = compared[0].rows if metric is not None else {}
    distances = np.concatenate([each.distances for each in compared])
    return Decisions(
        samples=samples,
        flips=len(distances),
        farthest=float(distances.max(initial=0.0)),
        near=max(each.near for each in compared),
        predictions=float(np.concatenate([each.same for each in compared]).mean()),
        metric=None if metric is None else metric.name,
        figures={} if metric is None else {name: metric.of(_joined(compared, name)) for name in names},
    )


@dataclass(frozen=True)
class _Compared:
    """Of a batch: distances of the flips, which answers are the same, and the metric's rows by name."""

    distances: Array
    near: float
    same: Array
    rows: Mapping[str, Array]


def _joined(compared: Sequence[_Compared], name: str) -> Array:
    return np.concatenate([each.rows[name] for each in compared])


def _compare(
    chain: Chain,
    network: ExitNetwork,
    inputs: Mapping[str, Array],
    labels: Array | None,
    thresholds: Mapping[int, float],
    metric: Metric | None,
) -> _Compared:
    found = torch_answers(network, inputs)
    logits = np.stack([*(found[f"exit_{exit_id}"] for exit_id in chain.exits), found["prediction"]])
    gates = [entry.contract.gate for entry in chain.manifest.segments if not entry.contract.is_last]
    rows = np.arange(logits.shape[1])
    confidence = np.array(
        [
            found[f"exit_{exit_id}.confidence"].reshape(-1) if gate["name"] == LEARNED else confidence_of(gate, each)
            for exit_id, gate, each in zip(chain.exits, gates, logits, strict=False)
        ]
    )
    limits = np.array([thresholds.get(exit_id, np.inf) for exit_id in chain.exits])[:, None]
    leaves = np.vstack([confidence.reshape(-1, len(rows)) >= limits, np.ones((1, len(rows)), np.bool_)])
    expected = leaves.argmax(axis=0)

    result = chain.run(inputs, thresholds=dict(thresholds))
    flipped = np.flatnonzero(result.exit != expected)
    earlier = np.minimum(result.exit, expected)[flipped]
    answers = {"chain": np.asarray(result.prediction), "full model": logits[-1]}
    answers |= {f"exit {exit_id}": logits[place] for place, exit_id in enumerate(chain.exits)}
    coarse = any(gate["name"] == "pixels" for gate in gates)
    of_joints = any(gate["name"] == "keypoints" for gate in gates)
    truth = logits[-1] if metric is not None and not metric.needs_labels else labels
    return _Compared(
        distances=np.abs(confidence - limits)[earlier, flipped] if len(flipped) else np.zeros(0),
        near=max(NEAR, NEAR_PIXELS / np.prod(logits.shape[3:])) if coarse else NEAR,
        same=_same(logits[expected, rows], answers["chain"], of_joints),
        rows={} if metric is None or truth is None else {n: metric.rows(a, truth) for n, a in answers.items()},
    )


def _same(ours: Array, theirs: Array, of_joints: bool) -> Array:
    """Whether the class is the same, also of each pixel; or each joint's place; or the number."""
    if ours.shape[1:] == (1,):
        return np.isclose(ours, theirs, rtol=NEAR, atol=NEAR)
    if of_joints:
        ours, theirs = (each.reshape(*each.shape[:2], -1).swapaxes(1, 2) for each in (ours, theirs))
    same: Array = ours.argmax(axis=1) == theirs.argmax(axis=1)
    return same


def torch_answers(network: ExitNetwork, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
    """What the network answers in torch, by output."""
    import torch

    with torch.inference_mode():
        found = network(**{name: torch.from_numpy(array) for name, array in inputs.items()})
        return {name: value.numpy() for name, value in found.items()}


def confidence_of(gate: Mapping[str, Any], logits: Array) -> Array:
    """float [rows]: the confidence of a gate on its exit's prediction [rows, …], in float64."""
    return CONFIDENCES[gate["name"]](gate, logits.astype(np.float64))


def _max_prob(gate: Mapping[str, Any], logits: Array) -> Array:
    largest: Array = _probability(gate, logits).max(axis=1)
    return largest


def _margin(gate: Mapping[str, Any], logits: Array) -> Array:
    ordered = np.sort(_probability(gate, logits), axis=1)
    difference: Array = ordered[:, -1] - ordered[:, -2]
    return difference


def _entropy(gate: Mapping[str, Any], logits: Array) -> Array:
    probability = _probability(gate, logits)
    entropy = -(probability * np.log(np.maximum(probability, 1e-300))).sum(axis=1)
    certainty: Array = 1 - entropy / np.log(probability.shape[1])
    return certainty


def _pixels(gate: Mapping[str, Any], logits: Array) -> Array:
    share: Array = (_max_prob(gate, logits) > gate["t"]).mean(axis=(1, 2))
    return share


def _keypoints(gate: Mapping[str, Any], heatmaps: Array) -> Array:
    highest: Array = np.sort(heatmaps.max(axis=(2, 3)), axis=1)[:, -gate["m"]]
    return highest


def _probability(gate: Mapping[str, Any], logits: Array) -> Array:
    scaled = logits / gate.get("temperature", 1.0)
    scaled -= scaled.max(axis=1, keepdims=True)
    probability: Array = np.exp(scaled)
    probability /= probability.sum(axis=1, keepdims=True)
    return probability


CONFIDENCES: dict[str, Callable[[Mapping[str, Any], Array], Array]] = {
    "max-prob": _max_prob,
    "margin": _margin,
    "entropy": _entropy,
    "pixels": _pixels,
    "keypoints": _keypoints,
}
