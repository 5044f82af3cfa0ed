"""The gate `keypoints`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from etbac.errors import UsageError
from etbac.passes.gates.base import ExitPredictions, Gate, GateTape, require_rank


@dataclass(frozen=True)
class Keypoints(Gate):
    """The m-th largest of the joints' heatmap maxima: it reaches the threshold when at least m joints do.

    before:  heatmaps [B, J, H, W]
    after:   heatmaps [B, J, H, W] ─ ReduceMax(H, W) ─ [B, J] ─ TopK(m) ─ Gather(m − 1) ─> confidence [B]
                       └ ReduceSum(J, H, W) ─ IsNaN ─ (NaN in those rows)

    `m` is by default the smallest majority of 16 joints.
    Source: PAME, precision-aware multi-exit networks for pose estimation: a sample leaves when more than half of its
    joints are sure.
    """

    name = "keypoints"

    field: str | None = None
    m: int = 9

    def confidence(self, exits: ExitPredictions, gate: GateTape) -> ir.Value:
        heatmaps = exits.field(self.field)
        _, joints, _, _ = require_rank(self, heatmaps, "B, J, H, W")
        if not isinstance(joints, int):
            raise UsageError(f"gate keypoints needs a fixed number of joints; {heatmaps.name} has {joints}")
        if not 1 <= self.m <= joints:
            raise UsageError(f"gate keypoints: m={self.m} and {heatmaps.name} has {joints} joints; m is 1 to {joints}")

        heatmaps = gate.float32(heatmaps)
        maxima = gate.op("ReduceMax", heatmaps, gate.constant("space_axes", [2, 3], np.int64), keepdims=0)
        best, _ = gate.ops("TopK", 2, maxima, gate.constant("m", [self.m], np.int64), axis=1)
        confidence = gate.op("Gather", best, gate.constant("last", self.m - 1, np.int64), axis=1)
        total = gate.op("ReduceSum", heatmaps, gate.constant("row_axes", [1, 2, 3], np.int64), keepdims=0)
        return gate.nan_where(gate.op("IsNaN", total), confidence)
