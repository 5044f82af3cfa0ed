"""What a boundary costs where nothing is chosen: every value computed for an exit and read behind it is handed on."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from etbac.contract import SegmentContract
from etbac.frontend.inputs import OTHER_DYNAMIC
from etbac.passes.batch import analyse
from etbac.passes.exit_model import ExitModel
from etbac.passes.split.values import inputs_of, needed


def naive_bytes(model: ExitModel, max_batch: int) -> list[float]:
    """Bytes per sample alive behind each exit, gates and heads left out; `model` has been through the model passes.

    Everything that the exit and those before it need has been computed, nothing else; a tensor without a batch counts
    one `max_batch`-th of its bytes, what depends on no input nothing.
    """
    analysis = analyse(model)
    outputs = {str(value.name): value for value in model.model.graph.outputs}
    answers = [[outputs[name] for name in fields.values()] for fields in (*model.exits.values(), model.full)]
    varying = _varying(model)
    sums = []
    for place in range(1, len(answers)):
        before = needed(value for fields in answers[:place] for value in fields)
        behind = needed(value for fields in answers[place:] for value in fields) - before
        read = {value for node in behind for value in inputs_of(node)}
        read |= {value for fields in answers[place:] for value in fields}
        alive = {v for v in read & varying if v.producer() is None or v.producer() in before}
        sums.append(sum(analysis.bytes_per_sample(value, max_batch) for value in alive))
    return sums


def boundary_bytes(contract: SegmentContract, max_batch: int) -> float:
    """Bytes per sample that a segment hands on."""
    total = 0.0
    for spec in contract.boundary:
        size: float = np.dtype(spec.dtype).itemsize
        for axis, dim in enumerate(spec.shape):
            if axis != spec.batch_axis:
                size *= dim if isinstance(dim, int) else OTHER_DYNAMIC
        total += size / (max_batch if spec.batch_axis is None else 1)
    return total


def _varying(model: ExitModel) -> set[ir.Value]:
    """Values that depend on an input."""
    values: set[ir.Value] = set(model.model.graph.inputs)
    for node in model.model.graph:
        if any(value in values for value in inputs_of(node)):
            values.update(node.outputs)
    return values
