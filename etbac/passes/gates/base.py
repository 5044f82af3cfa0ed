"""What a gate is, and the pass that appends one to a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir import tape

from etbac.errors import UsageError
from etbac.passes.name_batch import rows_axis

LEARNED_FIELD = "confidence"
"""An exit may have this field besides the model's own: what its head says of its own sureness."""


@dataclass(frozen=True)
class ExitPredictions:
    """What a gate may read: its own exit's fields and those of all earlier exits, in the order of the trunk."""

    exit_id: int
    fields: Mapping[str, ir.Value]
    earlier: Mapping[int, Mapping[str, ir.Value]]

    def field(self, name: str | None) -> ir.Value:
        """The field of that name, or the only one where `name` is None; a UsageError that lists them otherwise."""
        return self._pick(self.fields, name)

    def earlier_fields(self, name: str | None) -> list[ir.Value]:
        """The same field of every earlier exit, nearest last."""
        return [self._pick(fields, name) for fields in self.earlier.values()]

    def _pick(self, fields: Mapping[str, ir.Value], name: str | None) -> ir.Value:
        own = [field for field in fields if field != LEARNED_FIELD]
        if name is None and len(own) == 1:
            return fields[own[0]]
        if name is not None and name in fields:
            return fields[name]
        asked = "no field was named" if name is None else f"there is no field {name!r}"
        raise UsageError(f"the gate of exit {self.exit_id} reads one field and {asked}; fields: {', '.join(own)}")


class GateTape:
    """Appends a gate's nodes; every value is named `gate_<id>.…`."""

    def __init__(self, graph: ir.Graph, exit_id: int) -> None:
        self._tape = tape.Tape(graph)
        self._prefix = f"gate_{exit_id}"
        self._count = 0

    def op(self, op_type: str, *inputs: ir.Value, **attributes: Any) -> ir.Value:
        """One node with one output."""
        return self.ops(op_type, 1, *inputs, **attributes)[0]

    def ops(self, op_type: str, count: int, *inputs: ir.Value, **attributes: Any) -> list[ir.Value]:
        """One node with `count` outputs."""
        self._count += 1
        name = f"{self._prefix}.{op_type}_{self._count}"
        outputs = self._tape.op_multi_out(op_type, inputs, attributes, num_outputs=count, name=name)
        for place, value in enumerate(outputs):
            value.name = name if count == 1 else f"{name}_{place}"
        return list(outputs)

    def constant(self, name: str, value: npt.ArrayLike, dtype: npt.DTypeLike) -> ir.Value:
        """An initialiser `gate_<id>.<name>`."""
        tensor = ir.tensor(np.asarray(value, dtype), name=f"{self._prefix}.{name}")
        return self._tape.initializer(tensor)

    def rows_first(self, prediction: ir.Value) -> ir.Value:
        """`prediction` with the batch on axis 0, which is where gates look for it."""
        shape, axis = shape_of(prediction), rows_axis(prediction.shape)
        if axis == 0:
            return prediction
        order = [axis, *(other for other in range(len(shape)) if other != axis)]
        moved = self.op("Transpose", prediction, perm=order)
        moved.type, moved.shape = prediction.type, ir.Shape([shape[place] for place in order])
        return moved

    def float32(self, value: ir.Value) -> ir.Value:
        """`value` as float32: gates compute in it whatever the model's number format."""
        if value.dtype == ir.DataType.FLOAT:
            return value
        return self.op("Cast", value, to=ir.DataType.FLOAT.value)

    def probabilities(self, logits: ir.Value, temperature: float) -> ir.Value:
        """Softmax over axis 1 of `logits / temperature`; all NaN in a row that holds NaN or +inf."""
        if not temperature > 0:
            raise UsageError(f"the gate's temperature is {temperature}; it must be above 0")
        scaled = self.float32(logits)
        if temperature != 1.0:
            scaled = self.op("Div", scaled, self.constant("temperature", temperature, np.float32))
        return self.op("Softmax", scaled, axis=1)

    def nan_where(self, row_has_nan: ir.Value, confidence: ir.Value) -> ir.Value:
        """`confidence` [B], NaN in the rows marked by `row_has_nan` bool [B] (ONNX's max and top-k pass over NaN)."""
        return self.op("Where", row_has_nan, self.constant("nan", np.nan, np.float32), confidence)


class Gate(ABC):
    """The rule at an exit: `exit_mask = confidence >= threshold`. A subclass is a frozen dataclass.

    Its fields are the gate's options: the command line, the checkpoint and the manifest hold them by those names.
    """

    name: ClassVar[str]

    @abstractmethod
    def confidence(self, exits: ExitPredictions, gate: GateTape) -> ir.Value:
        """Append the nodes that compute the confidence: float32 [B], larger is surer, NaN never exits.

        Every row depends on the same row of the predictions alone. Raises UsageError where the predictions do not
        have the shape that the gate is for.
        """

    def options(self) -> dict[str, Any]:
        """{"name": …, option: value, …} as in the manifest."""
        return {"name": self.name, **asdict(self)}  # type: ignore[call-overload]


class GateWithMemory(Gate):
    """A gate that reads predictions of earlier exits: its confidences depend on which exits a chain is built with.

    `summary` and `recomputed` tell what they would be with fewer exits, from one pass with all of them.
    """

    field: str | None

    @abstractmethod
    def summary(self, prediction: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """[n, …] -> [n]: all that a later exit's gate reads of the field's predictions."""

    @abstractmethod
    def recomputed(self, summaries: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """[exits, n], of the exits that are kept up to this gate's own, the last -> [n] confidences."""


@dataclass(frozen=True)
class AddGate(ir.passes.InPlacePass):
    """Let samples leave whose confidence reaches a run-time threshold.

    before:  … ─> prediction [B, …]
    after:   … ─> prediction [B, …] ─ (the gate's nodes) ─> gate_<id>.confidence float32 [B]
                                           └ GreaterOrEqual(gate_<id>.threshold) ─> gate_<id>.exit_mask bool [B]

    `exits` maps the id of this exit and of every earlier one, in the order of the trunk, to {field: output name}; the
    last is the gate's own. Comparison with NaN is false, so a NaN confidence never exits, whatever the threshold.
    """

    gate: Gate
    exits: Mapping[int, Mapping[str, str]]

    def requires(self, model: ir.Model) -> None:
        if (model.opset_imports.get("") or 0) < 18:
            raise ir.passes.PreconditionError("gates are written in ONNX opset 18 or later")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        graph = model.graph
        *earlier, exit_id = self.exits
        values = {value.name: value for value in graph.outputs}
        gate = GateTape(graph, exit_id)
        fields = {
            key: {field: gate.rows_first(values[name]) for field, name in names.items()}
            for key, names in self.exits.items()
        }
        predictions = ExitPredictions(exit_id, fields[exit_id], {key: fields[key] for key in earlier})
        confidence = self.gate.confidence(predictions, gate)
        if confidence.is_graph_output():
            confidence = gate.op("Identity", confidence)
        threshold = ir.val(f"gate_{exit_id}.threshold", ir.DataType.FLOAT, [])
        graph.inputs.append(threshold)
        exit_mask = gate.op("GreaterOrEqual", confidence, threshold)

        rows = _rows(predictions)
        confidence.name, confidence.dtype, confidence.shape = f"gate_{exit_id}.confidence", ir.DataType.FLOAT, rows
        exit_mask.name, exit_mask.dtype, exit_mask.shape = f"gate_{exit_id}.exit_mask", ir.DataType.BOOL, rows.copy()
        graph.outputs.extend([confidence, exit_mask])
        return ir.passes.PassResult(model, modified=True)


def shape_of(value: ir.Value) -> tuple[int | str | None, ...]:
    """The dimensions of a prediction; a UsageError where not even its rank is known."""
    if value.shape is None:
        raise UsageError(f"the shape of {value.name} is not known; declare it in the model's outputs")
    return tuple(dim if isinstance(dim, int) else dim.value for dim in value.shape)


def require_rank(gate: Gate, value: ir.Value, axes: str) -> tuple[int | str | None, ...]:
    """The dimensions of `value`, which the gate needs to be `axes`, as "B, C"; a UsageError otherwise."""
    shape = shape_of(value)
    if len(shape) != len(axes.split(", ")):
        raise UsageError(
            f"gate {gate.name} reads a prediction [{axes}]; {value.name} is [{', '.join(map(str, shape))}]. "
            "Choose another gate or field with --gate"
        )
    return shape


def _rows(predictions: ExitPredictions) -> ir.Shape:
    first = next(iter(predictions.fields.values()))
    return ir.Shape([shape_of(first)[0]])
