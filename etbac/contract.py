"""What a compiled chain is, as plain data: tensors, segments, and the manifest that lists them.

Everything here is standard library only, so that running a chain needs neither onnx nor torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

SCHEMA_VERSION = 1
FULL_MODEL_ID = 0
"""The exit id of the full model's own answer."""

KEEP, THRESHOLD, CONFIDENCE, EXIT_MASK = "keep", "threshold", "confidence", "exit_mask"


@dataclass(frozen=True)
class TensorSpec:
    """A tensor of a model or a segment.

    `shape` has an int for a fixed dimension and a name for a dynamic one; `dtype` is NumPy's name.
    `batch_axis` is None for a tensor without a batch: it is handed on whole.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    batch_axis: int | None

    @property
    def lengths(self) -> tuple[int, ...]:
        """The axes that are dynamic, but for the batch's."""
        return tuple(axis for axis, dim in enumerate(self.shape) if isinstance(dim, str) and axis != self.batch_axis)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape), "batch_axis": self.batch_axis}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> TensorSpec:
        return TensorSpec(data["name"], data["dtype"], tuple(data["shape"]), data["batch_axis"])


@dataclass(frozen=True)
class SegmentContract:
    """One segment's inputs and outputs.

    The first segment's `inputs` are the model's inputs that any segment reads, as the model has them. A later
    segment's `inputs` are the boundary tensors of the segment before, matched by position with its `boundary`;
    it also takes `keep` (int64 [K]). Every segment but the last takes `threshold` (float32 scalar) and gives
    `confidence` (float32 [K]) and `exit_mask` (bool [K]). `predictions` maps each of the model's fields to the
    output that holds it; rows are on axis 0 of every prediction and every batched boundary tensor.
    """

    index: int
    exit_id: int
    inputs: tuple[TensorSpec, ...]
    predictions: Mapping[str, TensorSpec]
    boundary: tuple[TensorSpec, ...] = ()
    gate: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_first(self) -> bool:
        return self.index == 0

    @property
    def is_last(self) -> bool:
        return self.exit_id == FULL_MODEL_ID

    def to_json(self) -> dict[str, Any]:
        return {
            "index": self.index,
            "exit_id": self.exit_id,
            "inputs": [spec.to_json() for spec in self.inputs],
            "predictions": {name: spec.to_json() for name, spec in self.predictions.items()},
            "boundary": [spec.to_json() for spec in self.boundary],
            "gate": dict(self.gate),
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> SegmentContract:
        return SegmentContract(
            index=data["index"],
            exit_id=data["exit_id"],
            inputs=tuple(map(TensorSpec.from_json, data["inputs"])),
            predictions={name: TensorSpec.from_json(spec) for name, spec in data["predictions"].items()},
            boundary=tuple(map(TensorSpec.from_json, data["boundary"])),
            gate=dict(data["gate"]),
        )


@dataclass(frozen=True)
class SegmentEntry:
    """A segment's contract and the file (a name inside the directory) that holds its portable fp32 source."""

    contract: SegmentContract
    file: str

    def to_json(self) -> dict[str, Any]:
        return {"file": self.file, **self.contract.to_json()}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> SegmentEntry:
        return SegmentEntry(SegmentContract.from_json(data), data["file"])


@dataclass(frozen=True)
class Manifest:
    """The engine directory's table of contents.

    `source`: {"path", "sha256", "kind"} of the model file. `inputs`: every input that the model has, in its order,
    also those that nothing reads. `preprocessing`: how a folder of files becomes inputs, as data. `files`: name ->
    SHA-256 (hex) of every file that the directory's users read. `plan`: the name of the plan in force, or None.
    `engines`: the name of the set of engines in force; None where the portable sources run on ONNX Runtime.
    """

    source: Mapping[str, Any]
    task: str
    metric: str
    inputs: tuple[TensorSpec, ...]
    segments: tuple[SegmentEntry, ...]
    full: str
    """File of the full model; its outputs are named `prediction` (one field) or `prediction.<field>`."""
    samples: str
    samples_kind: str
    """"synthetic" or "real"."""
    max_batch: int
    files: Mapping[str, str]
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    plan: str | None = None
    engines: str | None = None

    @cached_property
    def exits(self) -> tuple[int, ...]:
        """Ids of the exits, in the order of the chain, without the full model's 0."""
        return tuple(entry.contract.exit_id for entry in self.segments if not entry.contract.is_last)

    @cached_property
    def fields(self) -> tuple[str, ...]:
        return tuple(self.segments[-1].contract.predictions)

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA_VERSION,
            "source": dict(self.source),
            "task": self.task,
            "metric": self.metric,
            "inputs": [spec.to_json() for spec in self.inputs],
            "segments": [entry.to_json() for entry in self.segments],
            "full": self.full,
            "samples": self.samples,
            "samples_kind": self.samples_kind,
            "max_batch": self.max_batch,
            "preprocessing": dict(self.preprocessing),
            "plan": self.plan,
            "engines": self.engines,
            "files": dict(sorted(self.files.items())),
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Manifest:
        return Manifest(
            source=dict(data["source"]),
            task=data["task"],
            metric=data["metric"],
            inputs=tuple(map(TensorSpec.from_json, data["inputs"])),
            segments=tuple(map(SegmentEntry.from_json, data["segments"])),
            full=data["full"],
            samples=data["samples"],
            samples_kind=data["samples_kind"],
            max_batch=data["max_batch"],
            preprocessing=dict(data["preprocessing"]),
            plan=data["plan"],
            engines=data["engines"],
            files=dict(data["files"]),
        )


@dataclass(frozen=True)
class Plan:
    """Which exits fire at which confidence, and what was certified.

    `thresholds`: exit id -> confidence from which samples leave (absent or +inf: nobody leaves there).
    `certificate`: test, level, reading, n, harms, precision, and the hash of every segment, dtype, backend and
    device that it was made with; None where nothing was certified, and then `reason` says why. `estimate`: what a
    bootstrap has found of a metric that cannot be certified; None of others.
    `predicted`: batch size -> {"chain_ms", "full_ms"} from the matrix. `search`: figures of the search set.
    `padding`: exit id of a stage -> rows that reach it -> how many it runs, where that is more: fillers are added.
    """

    exits: tuple[int, ...]
    thresholds: Mapping[int, float]
    precision: float
    certified: bool
    reason: str | None = None
    certificate: Mapping[str, Any] | None = None
    predicted: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    search: Mapping[str, Any] = field(default_factory=dict)
    padding: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    estimate: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA_VERSION,
            "exits": list(self.exits),
            "thresholds": {str(exit_id): t for exit_id, t in self.thresholds.items() if t < math.inf},
            "precision": self.precision,
            "certified": self.certified,
            "reason": self.reason,
            "certificate": None if self.certificate is None else dict(self.certificate),
            "estimate": None if self.estimate is None else dict(self.estimate),
            "predicted": {str(batch): dict(row) for batch, row in self.predicted.items()},
            "search": dict(self.search),
            "padding": {
                str(exit_id): {str(reach): rows for reach, rows in sizes.items()}
                for exit_id, sizes in self.padding.items()
            },
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Plan:
        return Plan(
            exits=tuple(data["exits"]),
            thresholds={int(exit_id): float(t) for exit_id, t in data["thresholds"].items()},
            precision=data["precision"],
            certified=data["certified"],
            reason=data["reason"],
            certificate=data["certificate"],
            predicted={int(batch): row for batch, row in data["predicted"].items()},
            search=data["search"],
            padding={
                int(exit_id): {int(reach): rows for reach, rows in sizes.items()}
                for exit_id, sizes in data.get("padding", {}).items()
            },
            estimate=data.get("estimate"),
        )
