"""Runs segments one after the other as their contract says, and nothing more: the plainest chain there can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort

from etbac.contract import CONFIDENCE, EXIT_MASK, FULL_MODEL_ID, KEEP, THRESHOLD, TensorSpec
from etbac.passes.exit_model import Segment

Arrays = Mapping[str, np.ndarray]


def session(model: onnx.ModelProto) -> ort.InferenceSession:
    """ONNX Runtime on one thread, without its graph optimisations."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run_model(model: onnx.ModelProto, inputs: Arrays) -> dict[str, np.ndarray]:
    """All outputs of a model by name."""
    names = [value.name for value in model.graph.output]
    return dict(zip(names, session(model).run(names, dict(inputs)), strict=True))


@dataclass(frozen=True)
class Stage:
    """What one segment said of the rows that reached it: `rows` are their numbers in the batch."""

    exit_id: int
    rows: np.ndarray
    predictions: dict[str, np.ndarray]
    confidence: np.ndarray | None
    exit_mask: np.ndarray | None


@dataclass(frozen=True)
class Pool:
    """How boundary tensors reach the next segment: `fillers` repeat the first kept row behind the others; `garbage`
    rows, which belong to nobody, lie between the batch's own."""

    fillers: int = 0
    garbage: int = 0


class SegmentChain:
    """Sessions of all segments; `run` yields a stage for every segment that runs."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.segments = segments
        self.sessions = [session(ir.to_proto(segment.model)) for segment in segments]

    def run(
        self,
        inputs: Arrays,
        leaves: Callable[[Stage], np.ndarray],
        thresholds: Mapping[int, float],
        pool: Pool = Pool(),
    ) -> Iterator[Stage]:
        """`leaves` gives the mask of the rows of a stage that go no further."""
        first = self.segments[0].contract
        feeds = {spec.name: inputs[spec.name] for spec in first.inputs}
        rows = np.arange(_batch(first.inputs, feeds))
        for segment, runner in zip(self.segments, self.sessions, strict=True):
            contract = segment.contract
            if not contract.is_last:
                feeds[THRESHOLD] = np.asarray(thresholds[contract.exit_id], np.float32)
            names = [output.name for output in runner.get_outputs()]
            outputs = dict(zip(names, runner.run(names, feeds), strict=True))
            stage = _stage(segment, rows, outputs, len(rows) if contract.is_first else len(feeds[KEEP]))
            yield stage
            if contract.is_last:
                return
            keep = np.flatnonzero(~leaves(stage))
            if not len(keep):
                return
            rows = stage.rows[keep]
            following = self.segments[contract.index + 1].contract.inputs
            boundary = [outputs[spec.name] for spec in contract.boundary]
            feeds = _handed_on(following, boundary, keep, pool)


def _batch(specs: Sequence[TensorSpec], feeds: Arrays) -> int:
    return next(feeds[spec.name].shape[spec.batch_axis] for spec in specs if spec.batch_axis is not None)


def _stage(segment: Segment, rows: np.ndarray, outputs: Arrays, size: int) -> Stage:
    """The first rows of every output, one for each of `rows`; all outputs must have `size` rows."""
    contract = segment.contract
    batched = [spec.name for spec in (*contract.predictions.values(), *contract.boundary) if spec.batch_axis == 0]
    batched += [] if contract.is_last else [CONFIDENCE, EXIT_MASK]
    for name in batched:
        assert len(outputs[name]) == size, f"{name} of segment {contract.index}: {outputs[name].shape}, {size} rows"
    predictions = {name: outputs[spec.name][: len(rows)] for name, spec in contract.predictions.items()}
    if contract.exit_id == FULL_MODEL_ID:
        return Stage(contract.exit_id, rows, predictions, None, None)
    return Stage(contract.exit_id, rows, predictions, *(outputs[name][: len(rows)] for name in (CONFIDENCE, EXIT_MASK)))


def _handed_on(
    specs: Sequence[TensorSpec], boundary: Sequence[np.ndarray], keep: np.ndarray, pool: Pool
) -> dict[str, np.ndarray]:
    """Inputs of the next segment, matched by position with the boundary of the segment before."""
    feeds = {}
    places = keep
    for spec, array in zip(specs, boundary, strict=True):
        if spec.batch_axis is None or not pool.garbage:
            feeds[spec.name] = array
            continue
        feeds[spec.name] = _among_garbage(array, pool.garbage)
    if pool.garbage and any(spec.batch_axis is not None for spec in specs):
        places = keep * 2 + 1
    feeds[KEEP] = np.concatenate([places, np.repeat(places[:1], pool.fillers)]).astype(np.int64)
    return feeds


def _among_garbage(array: np.ndarray, garbage: int) -> np.ndarray:
    """Row i at place 2 i + 1; the other places hold values that no row of a model could have."""
    worst = {"f": np.nan, "i": np.iinfo(np.int64).max, "b": True}[array.dtype.kind]
    pool = np.full((2 * len(array) + garbage, *array.shape[1:]), worst, array.dtype)
    pool[1 : 2 * len(array) : 2] = array
    return pool
