"""Which nodes of a segment keep computing in fp32 when the rest goes to half precision, and why."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir

from etbac.passes.split.values import bodies

ACCUMULATING = frozenset(
    {
        *(
            "Softmax",
            "LogSoftmax",
            "Exp",
            "Log",
            "Pow",
            "Sqrt",
            "Reciprocal",
            "Softplus",
            "CumSum",
            "Sum",
            "LRN",
            "Det",
        ),
        *(
            "LayerNormalization",
            "GroupNormalization",
            "InstanceNormalization",
            "BatchNormalization",
            "RMSNormalization",
        ),
        *("MeanVarianceNormalization", "LpNormalization", "LpPool", "GlobalLpPool", "ReduceMean", "ReduceSum"),
        *("ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd"),
        *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"),
    }
)
"""Sums, squares and exponentials, whose results leave fp16's range or lose their last digits; what fixes a scale."""

ELEMENTWISE = frozenset(["Add", "Sub", "Mul", "Div", "Neg", "Abs", "Max", "Min", "Where", "Clip"])
MOVING = frozenset(
    {
        *("Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Gather", "GatherElements"),
        *("GatherND", "Slice", "Expand", "Concat", "Split", "Tile", "Pad", "Trilu", "ScatterND", "ScatterElements"),
    }
)
"""Operators that hand on numbers as they are."""


@dataclass
class Widths:
    """`wide`: nodes that stay in fp32. `huge`: values that may lie outside the narrow type's range."""

    wide: set[ir.Node] = field(default_factory=set)
    huge: set[ir.Value] = field(default_factory=set)


def find_widths(model: ir.Model, dtype: ir.DataType, gates: Collection[ir.Node], huge: Collection[ir.Value]) -> Widths:
    """What must stay in fp32 in `model`, whose nodes are in topological order.

    Besides gates, norms, sums and exponentials, these are: nodes that `dtype` is not allowed for, or that hold
    sub-graphs; nodes that read a constant which the type cannot hold (an epsilon of 1e-12, a mask of -3.4e38), and all
    that passes such a mask on; and the sums and products inside a norm, or at its end. `huge` names those of the
    graph's inputs that were huge in the segment before.
    """
    found = Widths(huge=set(huge))
    opset = model.opset_imports.get("", 1)
    for node in model.graph:
        carries_huge = any(value in found.huge or _is_huge(value, dtype) for value in node.inputs if value is not None)
        if _makes_huge(node, dtype) or (carries_huge and node.op_type in ELEMENTWISE | MOVING):
            found.huge.update(node.outputs)
        is_wide = node in gates or carries_huge or node.op_type in ACCUMULATING or not _may_narrow(node, opset, dtype)
        if is_wide or any(value is not None and _vanishes(value, dtype) for value in node.inputs):
            found.wide.add(node)
    _add_parts_of_norms(model.graph, found.wide)
    return found


def narrow_positions(node: ir.Node, opset: int, dtype: ir.DataType) -> tuple[list[bool], list[bool]]:
    """Which inputs and which outputs of a node can be of type `dtype` instead of float32, by ONNX's own schemas.

    An output follows the inputs that share its type variable; one that an attribute decides (Cast) stays as it is.
    """
    input_types, output_types, narrow = _signature(node.op_type, node.domain, opset, dtype)
    variables = [_at(input_types, place) for place in range(len(node.inputs))]
    given = {v for v, value in zip(variables, node.inputs, strict=True) if v in narrow and is_float(value)}
    inputs = [v in given and is_float(value) for v, value in zip(variables, node.inputs, strict=True)]
    outputs = [_at(output_types, place) in given and is_float(value) for place, value in enumerate(node.outputs)]
    return inputs, outputs


def is_float(value: ir.Value | None) -> bool:
    return value is not None and value.dtype == ir.DataType.FLOAT


def _add_parts_of_norms(graph: ir.Graph, wide: set[ir.Node]) -> None:
    """Sums and products between two wide nodes (variance + epsilon), or with nothing but wide results (× gamma)."""
    for node in graph:
        producers = [value.producer() for value in node.inputs if value is not None and value.const_value is None]
        if node.op_type not in ELEMENTWISE or not any(producer in wide for producer in producers):
            continue
        feeds_wide = any(user in wide for value in node.outputs for user, _ in value.uses())
        if feeds_wide or all(producer in wide for producer in producers):
            wide.add(node)


def _may_narrow(node: ir.Node, opset: int, dtype: ir.DataType) -> bool:
    if any(bodies(node)):
        return False
    if any(value is not None and value.dtype is None for value in (*node.inputs, *node.outputs)):
        return False
    inputs, _ = narrow_positions(node, opset, dtype)
    return any(inputs)


def _is_huge(value: ir.Value, dtype: ir.DataType) -> bool:
    largest = _largest(value)
    return largest is not None and largest > _finite(dtype)[1]


def _vanishes(value: ir.Value, dtype: ir.DataType) -> bool:
    """A constant that is not zero, all of which is below the type's normal numbers."""
    largest = _largest(value)
    return largest is not None and 0 < largest < _finite(dtype)[0]


def _makes_huge(node: ir.Node, dtype: ir.DataType) -> bool:
    """A ConstantOfShape of a number that the type cannot hold."""
    filler = node.attributes.get("value")
    if node.op_type != "ConstantOfShape" or filler is None:
        return False
    number = np.abs(filler.as_tensor().numpy().astype(np.float64)).max(initial=0.0)
    return bool(np.isfinite(number) and number > _finite(dtype)[1])


def _largest(value: ir.Value) -> float | None:
    """The largest finite magnitude of a float32 constant."""
    if value.const_value is None or not is_float(value):
        return None
    numbers = value.const_value.numpy()
    return float(np.abs(numbers, where=np.isfinite(numbers), out=np.zeros_like(numbers)).max(initial=0.0))


@lru_cache(maxsize=4096)
def _signature(
    op_type: str, domain: str, opset: int, dtype: ir.DataType
) -> tuple[tuple[str, ...], tuple[str, ...], frozenset[str]]:
    """Type variables of the inputs and of the outputs (a variadic one last), and those that may be `dtype`."""
    try:
        schema = onnx.defs.get_schema(op_type, opset, domain)
    except onnx.defs.SchemaError:
        return (), (), frozenset()
    wanted = f"tensor({dtype.name.lower()})"
    narrow = frozenset(c.type_param_str for c in schema.type_constraints if wanted in c.allowed_type_strs)
    return tuple(i.type_str for i in schema.inputs), tuple(o.type_str for o in schema.outputs), narrow


def _finite(dtype: ir.DataType) -> tuple[float, float]:
    """The smallest normal and the largest number of a type."""
    limits = ml_dtypes.finfo(dtype.numpy())  # type: ignore[no-untyped-call]
    return float(limits.smallest_normal), float(limits.max)


def _at(types: tuple[str, ...], place: int) -> str:
    return types[min(place, len(types) - 1)] if types else ""
