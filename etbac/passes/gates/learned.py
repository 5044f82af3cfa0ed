"""The gate `learned`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from etbac.errors import UsageError
from etbac.passes.gates.base import LEARNED_FIELD, ExitPredictions, Gate, GateTape, shape_of


@dataclass(frozen=True)
class Learned(Gate):
    """What the exit's head itself says of its sureness: its output `exit_<id>.confidence` [B] or [B, 1], as it is.

    before:  exit_<id> [B, …]   exit_<id>.confidence [B, 1]
    after:   exit_<id> [B, …]   exit_<id>.confidence [B, 1] ─ Squeeze ─> confidence [B]

    The output belongs to the exit alone, not to the model's fields: the full model has no such output. Other gates
    leave it unread.
    """

    name = "learned"

    def confidence(self, exits: ExitPredictions, gate: GateTape) -> ir.Value:
        found = exits.fields.get(LEARNED_FIELD)
        if found is None:
            raise UsageError(
                f"gate learned reads the output exit_{exits.exit_id}.{LEARNED_FIELD}, which this model lacks; "
                "train heads that have one or choose another gate with --gate"
            )
        shape = shape_of(found)
        if len(shape) == 1:
            return gate.float32(found)
        if len(shape) == 2 and shape[1] == 1:
            return gate.op("Squeeze", gate.float32(found), gate.constant("last_axis", [1], np.int64))
        raise UsageError(f"gate learned reads one number a sample; {found.name} is [{', '.join(map(str, shape))}]")
