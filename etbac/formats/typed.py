"""From a chain's fp32 segments to sources that compute in the number formats asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import onnx_ir as ir
from onnx_ir.passes import common

from etbac.backends.interface import Arrays, Int8Options
from etbac.contract import TensorSpec
from etbac.errors import UsageError
from etbac.formats.calibrate import measure_ranges
from etbac.formats.gates import gate_values
from etbac.formats.half import UseHalfPrecision, Weights
from etbac.formats.int8 import quantize, quantized_nodes, tensors_of
from etbac.passes.exit_model import Segment
from etbac.passes.pipeline import Pipeline

HALF = {"fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}


def typed(
    segments: Sequence[Segment],
    formats: Sequence[str],
    calibration: Arrays | None = None,
    int8: Int8Options | None = None,
) -> list[Segment]:
    """New segments that compute in `formats`, one of FORMATS for each of `segments`, which stay as they are.

    `calibration`: the model's inputs by name, real ones, from which int8 takes its ranges (a hundred samples and more);
    without int8 nobody reads them. `int8`: what the backend's arithmetic wants. Raises UsageError where int8 has no
    inputs, InputError where one is missing.

    Names, shapes and order of inputs and outputs are the fp32 segments'. So are their types, but for a boundary tensor
    between two segments in fp16, which is float16 unless a gate needs it or it holds what float16 cannot (a mask of
    -3.4e38); the contracts say so. NumPy has no bfloat16, so boundaries between segments in bf16 are float32. So are
    those between segments in int8: gathering and quantising them takes 3% of a segment's time on a CPU (ResNet-50,
    batch 16), which is all that handing on eight bits could save.
    """
    gates = gate_values(segments)
    quantized = _quantized(segments, formats, gates, calibration, int8 or Int8Options())
    weights: dict[str, Weights] = {name: {} for name in HALF}
    result: list[Segment] = []
    given: set[str] = set()
    huge: set[str] = set()
    for place, (segment, format_) in enumerate(zip(segments, formats, strict=True)):
        both_narrow = list(formats[place : place + 2]) == ["fp16", "fp16"]
        handed_on = _handed_on(segments, place)
        narrow: set[str] = set()
        beyond: set[str] = set()
        model = quantized[place] if place in quantized else segment.model.clone()
        if format_ in HALF:
            step = UseHalfPrecision(HALF[format_], gates[place], huge, weights=weights[format_])
            beyond = {value.name or "" for value in step.widths(model).huge}
            if both_narrow:
                read_by_gates = {ours for ours, theirs in handed_on if theirs in gates[place + 1]}
                narrow = _floats(segment.contract.boundary) - gates[place] - read_by_gates - beyond
            _run(replace(step, narrow=narrow | given), model)
        contract = replace(
            segment.contract,
            inputs=_as_float16(segment.contract.inputs, given),
            boundary=_as_float16(segment.contract.boundary, narrow),
        )
        result.append(Segment(contract, model))
        given, huge = ({theirs for ours, theirs in handed_on if ours in names} for names in (narrow, beyond))
    return result


def _quantized(
    segments: Sequence[Segment],
    formats: Sequence[str],
    gates: Sequence[set[str]],
    calibration: Arrays | None,
    options: Int8Options,
) -> Mapping[int, ir.Model]:
    """The models of the segments in int8, by their place in the chain."""
    places = [place for place, format_ in enumerate(formats) if format_ == "int8"]
    if not places:
        return {}
    if calibration is None:
        raise UsageError("--dtype int8 takes its ranges from real inputs, and there are none; give some with --data")
    chain = segments[: places[-1] + 1]
    nodes = {place: quantized_nodes(segments[place], gates[place], options) for place in places}
    ranges = measure_ranges(chain, [tensors_of(nodes.get(place, [])) for place in range(len(chain))], calibration)
    models = {place: quantize(segments[place].model, nodes[place], ranges[place], options) for place in places}
    for model in models.values():
        Pipeline(common.TopologicalSortPass())(model)
    return models


def _run(step: ir.passes.PassBase, model: ir.Model) -> None:
    Pipeline(step, common.RemoveUnusedNodesPass(), common.TopologicalSortPass(), common.NameFixPass())(model)


def _handed_on(segments: Sequence[Segment], place: int) -> list[tuple[str, str]]:
    """The boundary tensors of the segment at `place`: the name that each has there, and in the next segment."""
    following = segments[place + 1].contract.inputs if place + 1 < len(segments) else ()
    pairs = zip(segments[place].contract.boundary, following, strict=True)
    return [(ours.name, theirs.name) for ours, theirs in pairs]


def _floats(specs: Sequence[TensorSpec]) -> set[str]:
    return {spec.name for spec in specs if spec.dtype == "float32"}


def _as_float16(specs: Sequence[TensorSpec], names: set[str]) -> tuple[TensorSpec, ...]:
    return tuple(replace(spec, dtype="float16") if spec.name in names else spec for spec in specs)
