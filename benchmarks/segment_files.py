"""A model of the zoo as files that a backend builds: its segments in one number format, and the full model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from benchmarks.zoo.subject import Subject
from etbac.backends.interface import Engine, Int8Options
from etbac.backends.onnxruntime_backend import OnnxRuntimeBackend
from etbac.compiler.ranges import Range, boundary_ranges
from etbac.contract import SegmentContract, TensorSpec
from etbac.formats import typed
from etbac.frontend.inputs import OTHER_DYNAMIC
from etbac.passes.exit_model import ExitModel, Segment
from etbac.passes.model_passes import PassOptions, model_passes, segment_passes
from etbac.passes.split import split_at_exits
from etbac.runtime.stage import Stage


@dataclass(frozen=True)
class SegmentFiles:
    """`contracts` and `paths` of the segments, in order; `full` is the full model's file, if it was asked for;
    `inputs` are the model's."""

    contracts: Sequence[SegmentContract]
    paths: Sequence[Path]
    inputs: Sequence[TensorSpec]
    full: Path | None = None

    def ranges(self) -> dict[str, Range]:
        """Every dynamic dimension but the batch: the inputs' up to twice the usual size, the boundaries' as measured
        on the chain in fp32, which these files must be."""
        dims = {dim for spec in self.inputs for axis, dim in enumerate(spec.shape) if axis != spec.batch_axis}
        usual = OTHER_DYNAMIC
        asked = {dim: (usual // 2, usual, 2 * usual) for dim in dims if isinstance(dim, str)}
        if not asked:
            return {}
        backend = OnnxRuntimeBackend()
        runners = [backend.load(Engine(backend.name, "cpu", "fp32", path)) for path in self.paths]
        return boundary_ranges(self.contracts, [*map(Stage, self.contracts, runners)], self.inputs, asked)


def segments_of(subject: Subject, max_batch: int, exits: tuple[int, ...] | None = None) -> list[Segment]:
    """The chain in fp32; with no exits, one segment that is the full model."""
    passed = model_passes(subject.exit_model.copy(), PassOptions(exits=exits, gate=subject.gate))
    return [segment_passes(part) for part in split_at_exits(passed, max_batch)]


def in_format(segments: Sequence[Segment], dtype: str, subject: Subject) -> list[Segment]:
    if dtype == "fp32":
        return list(segments)
    return typed(segments, [dtype] * len(segments), subject.samples, Int8Options(symmetric=True))


def write(segments: Sequence[Segment], folder: Path, model: ExitModel, full: Segment | None = None) -> SegmentFiles:
    folder.mkdir(parents=True, exist_ok=True)
    named = {f"segment-{place:02d}": segment for place, segment in enumerate(segments)}
    paths = [_write(segment, folder / f"{name}.onnx") for name, segment in named.items()]
    whole = _write(full, folder / "full.onnx") if full else None
    return SegmentFiles([segment.contract for segment in segments], paths, model.input_specs(), whole)


def _write(segment: Segment, path: Path) -> Path:
    ir.save(segment.model, path, external_data=f"{path.stem}.bin")
    return path
