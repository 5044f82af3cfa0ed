"""The gate `entropy`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from etbac.errors import UsageError
from etbac.passes.gates.base import ExitPredictions, Gate, GateTape, require_rank

SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Entropy(Gate):
    """One minus the entropy of the class probabilities over its largest possible value: 1 − H ÷ log C.

    before:  prediction [B, C]
    after:   prediction [B, C] ─ Div(temperature) ─ Softmax ─ p ─ Max(tiny) ─ Log ─ Mul(p) ─ ReduceSum
                 ─ Mul(1 ÷ log C) ─ Add(1) ─> confidence [B]

    A probability of 0 adds nothing to H. The classes' number C must be fixed in the model.
    Source: Teerapittayanon, McDanel & Kung, BranchyNet, ICPR 2016 (entropy as the exit criterion).
    """

    name = "entropy"

    field: str | None = None
    temperature: float = 1.0

    def confidence(self, exits: ExitPredictions, gate: GateTape) -> ir.Value:
        logits = exits.field(self.field)
        _, classes = require_rank(self, logits, "B, C")
        if not isinstance(classes, int) or classes < 2:
            raise UsageError(f"gate entropy needs a fixed number of two or more classes; {logits.name} has {classes}")

        p = gate.probabilities(logits, self.temperature)
        log_p = gate.op("Log", gate.op("Max", p, gate.constant("tiny", SMALLEST_NORMAL, np.float32)))
        axis = gate.constant("class_axis", [1], np.int64)
        negative_entropy = gate.op("ReduceSum", gate.op("Mul", p, log_p), axis, keepdims=0)
        share = gate.op("Mul", negative_entropy, gate.constant("scale", 1 / np.log(classes), np.float32))
        return gate.op("Add", share, gate.constant("one", 1, np.float32))
