"""Gates: the rule at each exit, appended to the model before it is split."""

from etbac.passes.gates.add import add_gates, default_gate
from etbac.passes.gates.base import LEARNED_FIELD, AddGate, ExitPredictions, Gate, GateTape, GateWithMemory
from etbac.passes.gates.registry import create, get, names, parse

__all__ = [
    "LEARNED_FIELD",
    "AddGate",
    "ExitPredictions",
    "Gate",
    "GateTape",
    "GateWithMemory",
    "add_gates",
    "create",
    "default_gate",
    "get",
    "names",
    "parse",
]
