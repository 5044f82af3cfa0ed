"""Which axis of which input carries the batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import onnx_ir as ir


def infer_batch_axes(model: ir.Model, given: Mapping[str, int | None] | None = None) -> dict[str, int | None]:
    """Guess the batch axis of every input of a model that comes from a file; `given` overrides by name.

    An input carries the batch on axis 0 where that is dynamic (a name, or -1); else on another axis whose symbol is the
    one that most inputs have on axis 0. An input without a dynamic dimension, or without axes, has none.
    """
    given = given or {}
    inputs = [value for value in model.graph.inputs if not value.is_initializer()]
    names = Counter(name for value in inputs for name in _first_symbol(value))
    symbol = names.most_common(1)[0][0] if names else None
    return {v.name or "": given[v.name or ""] if v.name in given else _axis(v, symbol) for v in inputs}


def _axis(value: ir.Value, symbol: str | None) -> int | None:
    shape = value.shape
    if not shape:
        return None
    same = [
        axis
        for axis, dim in enumerate(shape)
        if symbol is not None and not isinstance(dim, int) and dim.value == symbol
    ]
    if same:
        return same[0]
    return None if isinstance(shape[0], int) and shape[0] >= 0 else 0


def _first_symbol(value: ir.Value) -> list[str]:
    shape = value.shape
    if not shape or isinstance(shape[0], int) or shape[0].value is None:
        return []
    return [shape[0].value]
