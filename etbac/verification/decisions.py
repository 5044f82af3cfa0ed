"""Every decision of the chain against the plain torch early-exit model, sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from etbac.contract import FULL_MODEL_ID, Manifest
from etbac.runtime.chain import Chain

if TYPE_CHECKING:
    from etbac.models.attach import ExitNetwork

Array = npt.NDArray[Any]
NEAR = 1e-3
"""A confidence this close to its threshold may fall on either side: engines and torch round differently."""
TORCH_BATCH = 250


@dataclass(frozen=True)
class Decisions:
    """How often the chain and the plain torch model agree, over `samples` samples.

    `flips`: samples that left elsewhere; `farthest`: the largest |confidence − threshold| in torch at the earlier of
    the two exits, over all flips (0 without any). `predictions`: share of samples with the same answer (arg max).
    `right`: by name ("chain", "full model", "exit 3", …) the share of right answers, where labels are there.
    """

    samples: int
    flips: int
    farthest: float
    predictions: float
    right: Mapping[str, float]

    @property
    def passed(self) -> bool:
        return self.farthest <= NEAR


def comparable(manifest: Manifest) -> str | None:
    """None where torch's decisions can be computed for these gates; otherwise why not."""
    names = {entry.contract.gate.get("name") for entry in manifest.segments if not entry.contract.is_last}
    unknown = sorted(map(str, names - set(CONFIDENCES)))
    return f"decisions of the gate {unknown[0]} have no plain torch form here" if unknown else None


def compare_decisions(
    chain: Chain,
    network: ExitNetwork,
    inputs: Mapping[str, Array],
    labels: Array | None,
    thresholds: Mapping[int, float],
    progress: Callable[[int], None] = lambda done: None,
) -> Decisions:
    """Run both over all rows of `inputs`; `thresholds`: by exit id."""
    ids = (*chain.exits, FULL_MODEL_ID)
    logits = torch_logits(network, inputs, ids, progress)
    gates = {entry.contract.exit_id: entry.contract.gate for entry in chain.manifest.segments}
    confidence = np.stack([confidence_of(gates[exit_id], logits[place]) for place, exit_id in enumerate(chain.exits)])
    limits = np.array([thresholds.get(exit_id, np.inf) for exit_id in chain.exits])[:, None]
    leaves = np.vstack([confidence >= limits, np.ones((1, confidence.shape[1]), np.bool_)])
    expected = leaves.argmax(axis=0)

    result = chain.run(inputs, thresholds=dict(thresholds))
    flipped = np.flatnonzero(result.exit != expected)
    earlier = np.minimum(result.exit, expected)[flipped]
    distances = np.abs(confidence - limits)[earlier, flipped]
    rows = np.arange(len(expected))
    answers = {"chain": np.asarray(result.prediction), "full model": logits[-1]}
    answers |= {f"exit {exit_id}": logits[place] for place, exit_id in enumerate(chain.exits)}
    return Decisions(
        samples=len(rows),
        flips=len(flipped),
        farthest=float(distances.max(initial=0.0)),
        predictions=float((logits[expected, rows].argmax(-1) == answers["chain"].argmax(-1)).mean()),
        right={} if labels is None else {name: float((a.argmax(-1) == labels).mean()) for name, a in answers.items()},
    )


def torch_logits(
    network: ExitNetwork, inputs: Mapping[str, Array], ids: Sequence[int], progress: Callable[[int], None]
) -> Array:
    """float32 [exits, rows, classes] of the network in torch, the full model's (id 0) among them."""
    import torch

    names = ["prediction" if exit_id == FULL_MODEL_ID else f"exit_{exit_id}" for exit_id in ids]
    rows = len(next(iter(inputs.values())))
    parts = []
    with torch.inference_mode():
        for start in range(0, rows, TORCH_BATCH):
            batch = {name: torch.from_numpy(array[start : start + TORCH_BATCH]) for name, array in inputs.items()}
            found = network(**batch)
            parts.append(np.stack([found[name].numpy() for name in names]))
            progress(parts[-1].shape[1])
    return np.concatenate(parts, axis=1)


def confidence_of(gate: Mapping[str, Any], logits: Array) -> Array:
    """float [rows]: the confidence of a gate on logits [rows, classes], in float64."""
    scaled = logits.astype(np.float64) / gate.get("temperature", 1.0)
    scaled -= scaled.max(axis=1, keepdims=True)
    probability = np.exp(scaled)
    probability /= probability.sum(axis=1, keepdims=True)
    return CONFIDENCES[gate["name"]](probability)


def _margin(probability: Array) -> Array:
    ordered = np.sort(probability, axis=1)
    difference: Array = ordered[:, -1] - ordered[:, -2]
    return difference


def _entropy(probability: Array) -> Array:
    entropy = -(probability * np.log(np.maximum(probability, 1e-300))).sum(axis=1)
    certainty: Array = 1 - entropy / np.log(probability.shape[1])
    return certainty


CONFIDENCES: dict[str, Callable[[Array], Array]] = {
    "max-prob": lambda probability: probability.max(axis=1),
    "margin": _margin,
    "entropy": _entropy,
}
