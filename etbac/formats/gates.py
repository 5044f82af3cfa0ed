"""Which values of a chain serve the gates alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import onnx_ir as ir

from etbac.passes.exit_model import Segment
from etbac.passes.split.values import inputs_of


def gate_values(segments: Sequence[Segment]) -> list[set[str]]:
    """For each segment, the names of its values that no prediction of the chain is computed from.

    These are what confidence and exit mask are made of, and what gates hand on to later gates (probabilities summed
    over exits, counts of agreeing exits).
    """
    found: list[set[str]] = []
    wanted: Collection[int] = ()
    for segment in reversed(segments):
        graph, contract = segment.model.graph, segment.contract
        named = {value.name: value for value in graph.outputs}
        roots = [named[spec.name] for spec in contract.predictions.values()]
        roots += [named[contract.boundary[place].name] for place in wanted]
        used = _ancestors(roots)
        wanted = [place for place, spec in enumerate(contract.inputs) if spec.name in used]
        values = [*graph.inputs, *(value for node in graph for value in node.outputs)]
        found.append({value.name or "" for value in values} - used)
    return found[::-1]


def _ancestors(values: Sequence[ir.Value]) -> set[str]:
    """Names of `values` and of all that they are computed from."""
    seen: set[ir.Value] = set()
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        producer = value.producer()
        if value in seen:
            continue
        seen.add(value)
        if producer is not None:
            waiting.extend(inputs_of(producer))
    return {value.name or "" for value in seen}
