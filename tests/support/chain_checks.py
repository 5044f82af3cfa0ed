"""What must hold of the segments of a random graph, checked against the uncut graph."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import printer
from support.random_graphs import Case, random_graph
from support.segment_chain import Pool, SegmentChain, Stage, run_model

from etbac.contract import FULL_MODEL_ID
from etbac.errors import UnsupportedModelError
from etbac.passes.exit_model import ExitModel, Segment
from etbac.passes.gates import ExitPredictions, Gate, GateTape
from etbac.passes.model_passes import PassOptions, model_passes, segment_passes
from etbac.passes.name_batch import NameBatch
from etbac.passes.split import split_at_exits

TOLERANCE = 1e-4
"""Of the output's scale."""

BATCHES = (1, 2, 5, 8)


@dataclass(frozen=True)
class MeanProbability(Gate):
    """The largest probability over the last axis, averaged over this exit, all earlier ones and all axes between."""

    name = "mean-probability"

    field: str
    rank: int
    axis: int
    """Where the model has the rows of its predictions."""

    def confidence(self, exits: ExitPredictions, gate: GateTape) -> ir.Value:
        predictions = [*exits.earlier_fields(self.field), exits.field(self.field)]
        total = self._probabilities(predictions[0], gate)
        for prediction in predictions[1:]:
            total = gate.op("Add", total, self._probabilities(prediction, gate))
        mean = gate.op("Div", total, gate.constant("exits", len(predictions), np.float32))
        largest = gate.op("ReduceMax", mean, gate.constant("last", [-1], np.int64), keepdims=0)
        if self.rank == 2:
            return largest
        between = gate.constant("between", list(range(1, self.rank - 1)), np.int64)
        return gate.op("ReduceMean", largest, between, keepdims=0)

    def _probabilities(self, prediction: ir.Value, gate: GateTape) -> ir.Value:
        """Rows on axis 0, where a gate's tape has not moved them yet."""
        if self.axis != 0 and not (prediction.name or "").startswith("gate_"):
            order = [self.axis, *(axis for axis in range(self.rank) if axis != self.axis)]
            prediction = gate.op("Transpose", prediction, perm=order)
        return gate.op("Softmax", prediction, axis=-1)


def confidence_of(predictions: Sequence[np.ndarray]) -> np.ndarray:
    """`MeanProbability` in NumPy, rows on axis 0: predictions of the earlier exits and, last, the exit's own."""
    mean = np.mean([_softmax(prediction) for prediction in predictions], axis=0).max(-1)
    return np.asarray(mean.reshape(len(mean), -1).mean(1))


def _softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def exit_model_of(case: Case) -> ExitModel:
    """A fresh copy, for passes work in place."""
    model = ir.from_proto(onnx.ModelProto.FromString(case.model.SerializeToString()))
    exits = {exit_id: dict(fields) for exit_id, fields in case.exits.items()}
    NameBatch(case.batch_axes)(model)
    return ExitModel(model, exits, dict(case.full), dict(case.batch_axes))


def compile_case(case: Case, kept: Sequence[int]) -> list[Segment]:
    """The way of the product: model passes with gates, the cut, segment passes."""
    first = next(iter(case.axes))
    rank = len(next(v for v in case.model.graph.output if v.name == case.full[first]).type.tensor_type.shape.dim)
    options = PassOptions(exits=tuple(kept), gate=MeanProbability(first, rank, case.axes[first]))
    segments = split_at_exits(model_passes(exit_model_of(case), options))
    return [segment_passes(segment) for segment in segments]


def kept_exits(case: Case) -> list[int]:
    """A random choice of a case's exits, at least one."""
    rng = np.random.default_rng([case.seed, 3])
    ids = list(case.exits)
    return [exit_id for exit_id in ids if rng.random() < 0.75] or ids[:1]


def check_case(case: Case, batches: Collection[int] = BATCHES) -> None:
    """Cut the graph, check the segments' contracts, and compare every row of every stage with the uncut graph.

    Raises UnsupportedModelError where the compiler refuses, AssertionError where a row differs.
    """
    kept = kept_exits(case)
    segments = compile_case(case, kept)
    check_contracts(case, kept, segments)
    check_rows(case, kept, segments, batches)


def check_rows(
    case: Case, kept: Sequence[int], segments: Sequence[Segment], batches: Collection[int] = BATCHES
) -> None:
    """Compare every row of every stage with the uncut graph."""
    chain = SegmentChain(segments)
    for batch in batches:
        check_batch(case, kept, chain, batch)


def check_contracts(case: Case, kept: Sequence[int], segments: Sequence[Segment]) -> None:
    """Names, order and shapes that the segment contract promises."""
    contracts = [segment.contract for segment in segments]
    assert [c.exit_id for c in contracts] == [*kept, FULL_MODEL_ID]
    assert [c.index for c in contracts] == list(range(len(contracts)))
    for before, after in itertools.pairwise(contracts):
        assert len(before.boundary) == len(after.inputs), f"boundary of segment {before.index}"
        for given, taken in zip(before.boundary, after.inputs, strict=True):
            assert (given.dtype, given.batch_axis) == (taken.dtype, taken.batch_axis), (given, taken)
            assert given.batch_axis in (None, 0), given
    for segment in segments:
        contract = segment.contract
        assert list(contract.predictions) == list(case.full)
        names = {value.name for value in segment.model.graph.inputs}
        expected = {spec.name for spec in contract.inputs}
        expected |= set() if contract.is_first else {"keep"}
        expected |= set() if contract.is_last else {"threshold"}
        assert names == expected, f"segment {contract.index} takes {names}, its contract says {expected}"
        if not contract.is_first:
            _check_gathered_first(segment)


def _check_gathered_first(segment: Segment) -> None:
    """`keep` picks the rows of every boundary tensor before anything else reads it."""
    values = {value.name: value for value in segment.model.graph.inputs}
    for spec in segment.contract.inputs:
        if spec.batch_axis is None:
            continue
        for user, index in values[spec.name].uses():
            axis = user.attributes.get_int("axis", 0)
            keeps = user.op_type == "Gather" and index == 0 and user.inputs[1] is values["keep"] and axis == 0
            assert keeps, f"segment {segment.contract.index}: {user.op_type} reads {spec.name} ungathered"


def check_batch(case: Case, kept: Sequence[int], chain: SegmentChain, batch: int) -> None:
    """Random survivors, all at the first exit, and thresholds; with fillers and garbage between the rows."""
    rng = np.random.default_rng([case.seed, 4, batch])
    inputs = case.draw(rng, batch)
    outputs = run_model(case.model, inputs)
    uncut = {
        exit_id: {name: np.moveaxis(outputs[output], case.axes[name], 0) for name, output in fields.items()}
        for exit_id, fields in (*case.exits.items(), (FULL_MODEL_ID, case.full))
    }
    first = next(iter(case.axes))
    confidence = {
        exit_id: confidence_of([uncut[earlier][first] for earlier in kept[: place + 1]])
        for place, exit_id in enumerate(kept)
    }
    thresholds = {exit_id: float(rng.choice(confidence[exit_id])) for exit_id in kept}
    exit_at = rng.choice([*kept, FULL_MODEL_ID, FULL_MODEL_ID], batch)
    if batch == 2:
        exit_at[:] = kept[0]

    def forced(stage: Stage) -> np.ndarray:
        return np.asarray(exit_at[stage.rows] == stage.exit_id)

    def sure(stage: Stage) -> np.ndarray:
        assert stage.exit_mask is not None
        return stage.exit_mask

    for leaves, pool in ((forced, Pool()), (forced, Pool(fillers=3, garbage=2)), (sure, Pool())):
        reached = []
        for stage in chain.run(inputs, leaves, thresholds, pool):
            reached.append(stage.exit_id)
            _check_stage(stage, uncut[stage.exit_id], confidence.get(stage.exit_id), thresholds)
        if leaves is forced:
            last = max([*kept, FULL_MODEL_ID].index(i) for i in exit_at)
            assert reached == [*kept, FULL_MODEL_ID][: last + 1], f"stages that ran: {reached}"


def _check_stage(
    stage: Stage, uncut: dict[str, np.ndarray], confidence: np.ndarray | None, thresholds: dict[int, float]
) -> None:
    for name, prediction in stage.predictions.items():
        _check_close(f"exit {stage.exit_id}, {name}", prediction, uncut[name][stage.rows], scale_of(uncut[name]))
    if confidence is None:
        return
    assert stage.confidence is not None
    assert stage.exit_mask is not None
    assert stage.confidence.dtype == np.float32
    assert stage.exit_mask.dtype == np.bool_
    _check_close(f"exit {stage.exit_id}, confidence", stage.confidence, confidence[stage.rows], 1.0)
    threshold = np.float32(thresholds[stage.exit_id])
    np.testing.assert_array_equal(stage.exit_mask, stage.confidence >= threshold)


def _check_close(what: str, found: np.ndarray, expected: np.ndarray, scale: float) -> None:
    assert found.shape == expected.shape, f"{what}: shape {found.shape}, uncut {expected.shape}"
    difference = np.abs(found - expected)
    assert np.isfinite(difference).all(), f"{what}: not finite"
    assert difference.max(initial=0.0) <= TOLERANCE * scale, f"{what}: differs by {difference.max() / scale:.2e}"


def scale_of(array: np.ndarray) -> float:
    """The scale that differences are measured against: the largest magnitude, at least 1e-3."""
    return max(float(np.abs(array).max(initial=0.0)), 1e-3)


# -- failing graphs --


def failure(case: Case, check: Callable[[Case], None] = check_case) -> Exception | None:
    """What `check` raises, other than a refusal."""
    try:
        check(case)
    except UnsupportedModelError:
        return None
    except Exception as error:
        return error
    return None


def shrunk(case: Case, check: Callable[[Case], None] = check_case) -> Case:
    """The same graph with as few items as a greedy search finds, failing with the same type of exception."""
    kind = type(failure(case, check))
    smaller = True
    while smaller:
        smaller = False
        for item in range(case.items):
            if item in case.skip:
                continue
            candidate = random_graph(case.seed, {*case.skip, item})
            if candidate.exits and type(failure(candidate, check)) is kind:
                case, smaller = candidate, True
    return case


def report(case: Case, folder: Path, check: Callable[[Case], None] = check_case) -> str:
    """The failing graph, shrunk, as ONNX text (long weights left out) and as a file in `folder`."""
    small = shrunk(case, check)
    path = folder / f"graph_{case.seed}.onnx"
    onnx.save(small.model, path)
    error = failure(small, check)
    text = re.sub(r"= +\{[^}]{80,}\}", "= {…}", printer.to_text(small.model))
    return (
        f"random_graph({case.seed}, skip={sorted(small.skip)}), exits {kept_exits(small)}, {path}\n"
        f"{type(error).__name__}: {error}\n{text}"
    )
