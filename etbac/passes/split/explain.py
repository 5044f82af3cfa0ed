"""Why each boundary is what it is: data for people, and the plain cut to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from etbac.passes.exit_model import ExitModel
from etbac.passes.split.boundary import alive_at_head
from etbac.passes.split.split import Cut, plan_cut
from etbac.passes.split.values import inputs_of, needed


@dataclass(frozen=True)
class CarriedTensor:
    """`shape`: as in the model, None where dynamic and on the axis of the rows. `rows`: where the model has the rows,
    None for a value that is handed on whole. `read_by`: exit ids of the segments that read it (0: the last one)."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    rows: str | None
    bytes_per_sample: float
    read_by: tuple[int, ...]


@dataclass(frozen=True)
class BoundaryReport:
    """The boundary behind an exit.

    `again`, `ahead`: names of nodes that later segments compute a second time, and that this one computes for them,
    because that makes the boundary smaller. `naive_bytes_per_sample`: all values alive at the head's input.
    """

    exit_id: int
    tensors: tuple[CarriedTensor, ...]
    again: tuple[str, ...]
    ahead: tuple[str, ...]
    naive_bytes_per_sample: float

    @property
    def bytes_per_sample(self) -> float:
        return sum(tensor.bytes_per_sample for tensor in self.tensors)

    def __str__(self) -> str:
        lines = [f"behind exit {self.exit_id}: {self.bytes_per_sample:,.0f} bytes a sample"]
        lines[0] += f" (all that is alive there: {self.naive_bytes_per_sample:,.0f})"
        for tensor in self.tensors:
            held = "handed on whole" if tensor.rows is None else f"batch on {tensor.rows}"
            shape = ", ".join("?" if dim is None else str(dim) for dim in tensor.shape)
            readers = ", ".join("the last segment" if i == 0 else f"exit {i}'s" for i in tensor.read_by)
            lines.append(f"  {tensor.name} {tensor.dtype} [{shape}], {held}, {tensor.bytes_per_sample:,.0f}: {readers}")
        lines += [f"  computed again: {', '.join(self.again)}"] if self.again else []
        lines += [f"  computed ahead: {', '.join(self.ahead)}"] if self.ahead else []
        return "\n".join(lines)


def explain(model: ExitModel, max_batch: int = 32) -> list[BoundaryReport]:
    """Every boundary of `split_at_exits(model, max_batch)`."""
    cut = plan_cut(model, max_batch)
    return [_report(cut, place) for place in range(len(cut.boundaries))]


def naive_boundary_bytes(model: ExitModel, max_batch: int = 32) -> list[float]:
    """Bytes per sample of all values alive at each exit's head: computed for it or before it, and read behind it."""
    return [report.naive_bytes_per_sample for report in explain(model, max_batch)]


def _report(cut: Cut, place: int) -> BoundaryReport:
    piece, boundary, analysis = cut.pieces[place], cut.boundaries[place], cut.prepared.analysis
    alive = alive_at_head(
        cut.prepared, _results(cut, range(place + 1)), _results(cut, range(place + 1, len(cut.pieces)))
    )
    return BoundaryReport(
        exit_id=piece.exit_id,
        tensors=tuple(_tensor(cut, value, place) for value in boundary.carried),
        again=tuple(node.name or node.op_type for node in cut.prepared.graph if node in boundary.again),
        ahead=tuple(node.name or node.op_type for node in cut.prepared.graph if node in boundary.ahead),
        naive_bytes_per_sample=sum(analysis.bytes_per_sample(value, cut.max_batch) for value in alive),
    )


def _tensor(cut: Cut, value: ir.Value, place: int) -> CarriedTensor:
    analysis = cut.prepared.analysis
    fact = analysis.facts[value]
    assert fact.dtype is not None
    return CarriedTensor(
        name=value.name or "",
        dtype=fact.dtype.numpy().name,
        shape=analysis.dims(value),
        rows=None if fact.rows is None else str(fact.rows),
        bytes_per_sample=analysis.bytes_per_sample(value, cut.max_batch),
        read_by=tuple(
            cut.pieces[later].exit_id for later in range(place + 1, len(cut.pieces)) if _reads(cut, later, value)
        ),
    )


def _reads(cut: Cut, place: int, value: ir.Value) -> bool:
    """Whether a segment does more with a value than hand it on."""
    piece = cut.pieces[place]
    outputs = [*_results(cut, [place]), *(each for each in piece.boundary if each is not value)]
    return value in outputs or any(value in inputs_of(node) for node in needed(outputs, piece.inputs))


def _results(cut: Cut, places: Sequence[int] | range) -> list[ir.Value]:
    pieces = [cut.pieces[place] for place in places]
    return [value for piece in pieces for value in [*piece.fields.values(), *(piece.gate or ())[1:]]]
