"""The gate `pixels`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from etbac.passes.gates.base import ExitPredictions, Gate, GateTape, require_rank


@dataclass(frozen=True)
class Pixels(Gate):
    """The share of pixels whose largest class probability is above `t`.

    before:  prediction [B, C, H, W]
    after:   prediction [B, C, H, W] ─ Div(temperature) ─ Softmax(C) ─ ReduceMax(C) ─ Greater(t) ─ Cast
                 ─ ReduceMean(H, W) ─> confidence [B]

    A pixel whose logits hold NaN is not sure.
    Source: Li et al., Not All Pixels Are Equal: Difficulty-Aware Semantic Segmentation via Deep Layer Cascade, CVPR
    2017 (pixels above a probability are done).
    """

    name = "pixels"

    field: str | None = None
    t: float = 0.9
    temperature: float = 1.0

    def confidence(self, exits: ExitPredictions, gate: GateTape) -> ir.Value:
        logits = exits.field(self.field)
        require_rank(self, logits, "B, C, H, W")
        probabilities = gate.probabilities(logits, self.temperature)
        largest = gate.op("ReduceMax", probabilities, gate.constant("class_axis", [1], np.int64), keepdims=0)
        sure = gate.op("Greater", largest, gate.constant("t", self.t, np.float32))
        share = gate.op("Cast", sure, to=ir.DataType.FLOAT.value)
        return gate.op("ReduceMean", share, gate.constant("space_axes", [1, 2], np.int64), keepdims=0)
