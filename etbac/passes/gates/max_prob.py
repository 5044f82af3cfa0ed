"""The gate `max-prob`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from etbac.passes.gates.base import ExitPredictions, Gate, GateTape, require_rank


@dataclass(frozen=True)
class MaxProb(Gate):
    """The largest class probability.

    before:  prediction [B, C]
    after:   prediction [B, C] ─ Div(temperature) ─ Softmax ─ ReduceMax ─> confidence [B]

    Source: Hendrycks & Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution Examples, ICLR 2017;
    temperature: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """

    name = "max-prob"

    field: str | None = None
    temperature: float = 1.0

    def confidence(self, exits: ExitPredictions, gate: GateTape) -> ir.Value:
        logits = exits.field(self.field)
        require_rank(self, logits, "B, C")
        probabilities = gate.probabilities(logits, self.temperature)
        return gate.op("ReduceMax", probabilities, gate.constant("class_axis", [1], np.int64), keepdims=0)
