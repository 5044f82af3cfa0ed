"""The gate `patience`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from etbac.errors import UsageError
from etbac.passes.gates.base import ExitPredictions, GateTape, GateWithMemory, require_rank

NO_CLASS = -1


@dataclass(frozen=True)
class Patience(GateWithMemory):
    """How many exits in a row, up to this one, give this exit's class, over `k`.

    before:  exit_1 [B, C]   exit_2 [B, C]   …   exit_n [B, C]
    after:   exit_i ─ ArgMax ─ Equal(ArgMax(exit_n)) ─ Cast ─┐   for every earlier exit, nearest first
             agreeing in a row = e₁ + e₁e₂ + e₁e₂e₃ + …     <┘ ─ Div(k) ─> confidence [B]

    The first exit has nothing to agree with: 0. At threshold 1 a sample leaves after `k` agreements in a row. An exit
    whose prediction holds NaN agrees with none.
    Source: Zhou et al., BERT Loses Patience: Fast and Robust Inference with Early Exit, NeurIPS 2020 (PABEE).
    """

    name = "patience"

    field: str | None = None
    k: int = 2

    def confidence(self, exits: ExitPredictions, gate: GateTape) -> ir.Value:
        if self.k < 1:
            raise UsageError(f"gate patience: k={self.k}; k is 1 or more")
        own = exits.field(self.field)
        require_rank(self, own, "B, C")

        axis = gate.constant("class_axis", [1], np.int64)
        label, total = self._label(own, gate), gate.op("ReduceSum", gate.float32(own), axis, keepdims=0)
        zeros = gate.op("Cast", gate.op("IsNaN", total), to=ir.DataType.FLOAT.value)
        run = count = gate.op("Sub", zeros, zeros)
        for place, earlier in enumerate(reversed(exits.earlier_fields(self.field))):
            earlier_total = gate.op("ReduceSum", gate.float32(earlier), axis, keepdims=0)
            same = gate.op("Equal", label, self._label(earlier, gate))
            valid = gate.op("Not", gate.op("IsNaN", gate.op("Add", total, earlier_total)))
            agrees = gate.op("Cast", gate.op("And", same, valid), to=ir.DataType.FLOAT.value)
            run = agrees if place == 0 else gate.op("Mul", run, agrees)
            count = run if place == 0 else gate.op("Add", count, run)
        return gate.op("Div", count, gate.constant("k", self.k, np.float32))

    def summary(self, prediction: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """The class, NO_CLASS where the prediction holds NaN."""
        values = prediction.astype(np.float32)
        return np.where(np.isnan(values.sum(axis=1)), NO_CLASS, values.argmax(axis=1))

    def recomputed(self, summaries: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        *earlier, own = summaries
        run, count = own != NO_CLASS, np.zeros(own.shape, np.float32)
        for each in reversed(earlier):
            run = run & (each == own)
            count += run
        confidence: npt.NDArray[np.float32] = count / np.float32(self.k)
        return confidence

    def _label(self, prediction: ir.Value, gate: GateTape) -> ir.Value:
        return gate.op("ArgMax", prediction, axis=1, keepdims=0)
