"""The gate `margin`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from etbac.passes.gates.base import ExitPredictions, Gate, GateTape, require_rank


@dataclass(frozen=True)
class Margin(Gate):
    """The difference of the two largest class probabilities.

    before:  prediction [B, C]
    after:   prediction [B, C] ─ Div(temperature) ─ Softmax ─ TopK(2) ─ Split ─ Sub ─ Squeeze ─> confidence [B]

    Source: Scheffer, Decomain & Wrobel, Active Hidden Markov Models for Information Extraction, IDA 2001 (the margin
    between the two best classes).
    """

    name = "margin"

    field: str | None = None
    temperature: float = 1.0

    def confidence(self, exits: ExitPredictions, gate: GateTape) -> ir.Value:
        logits = exits.field(self.field)
        require_rank(self, logits, "B, C")
        probabilities = gate.probabilities(logits, self.temperature)
        two, _ = gate.ops("TopK", 2, probabilities, gate.constant("two", [2], np.int64), axis=1)
        first, second = gate.ops("Split", 2, two, axis=1, num_outputs=2)
        return gate.op("Squeeze", gate.op("Sub", first, second), gate.constant("class_axis", [1], np.int64))
