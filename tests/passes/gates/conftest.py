from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from support.onnx_text import ir_model, run

from etbac.passes.exit_model import ExitModel
from etbac.passes.gates import Gate, add_gates

Floats = npt.NDArray[np.float32]
Decide = Callable[..., dict[str, npt.NDArray[Any]]]


@pytest.fixture
def decide() -> Decide:
    """`decide(gate, *predictions, threshold=…)`: confidence and exit mask of the last exit, whose gate it is.

    The predictions are those of exits 1, 2, …, given as the graph's inputs.
    """

    def decide_with(gate: Gate, *predictions: Floats, threshold: float = 0.5) -> dict[str, npt.NDArray[Any]]:
        exit_model = predictions_as_exits([("B", *prediction.shape[1:]) for prediction in predictions])
        add_gates(exit_model, dict.fromkeys(exit_model.exits, gate))
        inputs = {f"x_{place}": prediction for place, prediction in enumerate(predictions, start=1)}
        thresholds = {f"gate_{exit_id}.threshold": np.float32(threshold) for exit_id in exit_model.exits}
        found = run(exit_model.model, inputs | thresholds)
        last = len(predictions)
        return {name: found[f"gate_{last}.{name}"] for name in ("confidence", "exit_mask")}

    return decide_with


def predictions_as_exits(shapes: list[tuple[Any, ...]]) -> ExitModel:
    places = range(1, len(shapes) + 1)
    dims = [", ".join(map(str, shape)) for shape in shapes]
    inputs = ", ".join(f"float[{dim}] x_{place}" for place, dim in zip(places, dims, strict=True))
    outputs = ", ".join(f"float[{dim}] exit_{place}" for place, dim in zip(places, dims, strict=True))
    nodes = " ".join(f"exit_{place} = Identity(x_{place})" for place in places)
    model: ir.Model = ir_model(f"({inputs}) => ({outputs}, float[{dims[-1]}] y) {{ {nodes} y = Identity(x_1) }}")
    exits = {place: {"prediction": f"exit_{place}"} for place in places}
    return ExitModel(model, exits, {"prediction": "y"}, {f"x_{place}": 0 for place in places})
