"""From a chain's fp32 segments to sources that compute in the number formats asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import onnx_ir as ir
from onnx_ir.passes import common

from etbac.contract import TensorSpec
from etbac.formats.gates import gate_values
from etbac.formats.half import UseHalfPrecision, Weights
from etbac.passes.exit_model import Segment
from etbac.passes.pipeline import Pipeline

HALF = {"fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}


def typed(segments: Sequence[Segment], formats: Sequence[str]) -> list[Segment]:
    """New segments that compute in `formats`, one of FORMATS for each of `segments`, which stay as they are.

    Names, shapes and order of inputs and outputs are the fp32 segments'. So are their types, but for a boundary tensor
    between two segments in fp16, which is float16 unless a gate needs it or it holds what float16 cannot (a mask of
    -3.4e38); the contracts say so. NumPy has no bfloat16, so boundaries between segments in bf16 are float32.
    """
    gates = gate_values(segments)
    weights: dict[str, Weights] = {name: {} for name in HALF}
    result: list[Segment] = []
    given: dict[str, str] = {}
    huge: set[str] = set()
    for place, (segment, format_) in enumerate(zip(segments, formats, strict=True)):
        new = Segment(segment.contract, segment.model.clone())
        following = segments[place + 1].contract.inputs if place + 1 < len(segments) else ()
        pairs = dict(zip((spec.name for spec in segment.contract.boundary), (s.name for s in following), strict=True))
        next_huge: set[str] = set()
        narrow: set[str] = set()
        if format_ in HALF:
            step = UseHalfPrecision(HALF[format_], gates[place], huge, weights=weights[format_])
            beyond = {value.name for value in step.widths(new.model).huge}
            next_huge = {pairs[name] for name in pairs if name in beyond}
            if formats[place : place + 2] == ["fp16", "fp16"]:
                narrow = _floats(segment.contract.boundary) - gates[place] - beyond
            Pipeline(replace(step, narrow=narrow | set(given)), *_clean())(new.model)
        contract = replace(
            segment.contract,
            inputs=_with_types(segment.contract.inputs, given),
            boundary=_with_types(segment.contract.boundary, dict.fromkeys(narrow, "float16")),
        )
        result.append(Segment(contract, new.model))
        given, huge = {pairs[name]: "float16" for name in narrow}, next_huge
    return result


def _clean() -> tuple[ir.passes.PassBase, ...]:
    return (common.RemoveUnusedNodesPass(), common.TopologicalSortPass(), common.NameFixPass())


def _floats(specs: Sequence[TensorSpec]) -> set[str]:
    return {spec.name for spec in specs if spec.dtype == "float32"}


def _with_types(specs: Sequence[TensorSpec], types: Mapping[str, str]) -> tuple[TensorSpec, ...]:
    return tuple(replace(spec, dtype=types.get(spec.name, spec.dtype)) for spec in specs)
