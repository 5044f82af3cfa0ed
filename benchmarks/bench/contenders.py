"""Everybody who answers the same batches, and why somebody does not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import baselines
from benchmarks.bench.eager import NO_COMPILER, Eager, Masked, compiled, has_compiler
from benchmarks.bench.options import HEADLINE
from benchmarks.bench.subject import Answer, Limits, Subject, first
from benchmarks.bench.waiting import WaitingChain
from etbac.backends import registry
from etbac.errors import one_line
from etbac.profiles.race import measure, random_batches
from etbac.runtime.chain import Chain

FULL = "full model, ONNX Runtime"
OPENVINO = "full model, OpenVINO"
INT8 = "full model in int8, ONNX Runtime"
EAGER = "full model, PyTorch eager"
COMPILED = "full model, torch.compile"
MASKED = "early exit with a mask, PyTorch eager"
IF = "early exit by If in one ONNX graph"
WAITING = "early exit without compaction"
CUT = "best static cut"
SMALLER = "smaller network"
OURS, OURS_INT8 = "etbac", "etbac in int8"
ALIKE = (MASKED, IF, WAITING)
"""They leave as the chain does, and must answer as it does."""
MAX_PROB = "max-prob"
CHOOSING, CHOOSING_WARM_UP = 8, 2


@dataclass(frozen=True)
class Field:
    """The contenders' answers by name, and why others are absent."""

    answers: dict[str, Answer]
    absent: dict[str, str]
    notes: list[str]


def field_of(subject: Subject, scratch: Path, compiles: bool) -> Field:
    """All contenders. A package or compiler that is missing is a reason; any other failure is raised."""
    found = Field({}, {}, list(subject.notes))
    found.answers[FULL] = _baseline(subject, scratch, found.notes)
    backend = registry.get("openvino").available()
    if backend.usable:
        found.answers[OPENVINO] = baselines.whole(subject.exported, scratch, "openvino", "openvino")
    else:
        found.absent[OPENVINO] = backend.sentence
    found.answers[INT8] = baselines.whole_in_int8(subject.exported, subject.calibration, scratch)
    found.answers[EAGER] = Eager(subject.network.trunk)
    _add_compiled(subject, found, compiles)
    _add_early(subject, found, scratch)
    if isinstance(subject.cut, str):
        found.absent[CUT] = subject.cut
    else:
        exit_id, name = subject.cut
        found.answers[f"best {name}"] = baselines.static_cut(subject.exported, exit_id, scratch)
    if isinstance(subject.smaller, str):
        found.absent[SMALLER] = subject.smaller
    else:
        answer, name = subject.smaller
        found.answers[name] = answer
    found.answers[OURS] = _chain(subject.chain, subject.limits)
    found.answers[OURS_INT8] = _chain(subject.narrow, subject.narrow_limits)
    return found


def _chain(chain: Chain, limits: Limits) -> Answer:
    return lambda batch: np.asarray(chain.run(batch, limits).prediction)


def _baseline(subject: Subject, scratch: Path, notes: list[str]) -> Answer:
    """The faster of the full model as it was exported and as our passes leave it."""
    ways: dict[str, Answer] = {
        "as it was exported": baselines.untouched(subject.exported, scratch),
        "as compiled": baselines.whole(subject.exported, scratch, "full"),
    }
    batches = random_batches(subject.inputs, HEADLINE, CHOOSING + CHOOSING_WARM_UP)
    timings = measure(ways, batches, CHOOSING_WARM_UP)
    faster, slower = sorted(ways, key=timings.mean)
    notes.append(
        f"{FULL}: the model {faster}, which took {timings.ratio(faster, slower):.2f} × the time of the other, {slower}"
    )
    return ways[faster]


def _add_compiled(subject: Subject, found: Field, compiles: bool) -> None:
    if not compiles:
        found.absent[COMPILED] = "QUICK compiles ResNet-32 alone"
        return
    if not has_compiler():
        found.absent[COMPILED] = NO_COMPILER
        return
    answer = compiled(subject.network.trunk)
    try:
        answer(first(subject.inputs, HEADLINE))
    except Exception as error:  # whatever Inductor or the compiler raises
        found.absent[COMPILED] = f"it failed: {one_line(error)[:200]}"
        return
    found.answers[COMPILED] = answer


def _add_early(subject: Subject, found: Field, scratch: Path) -> None:
    limits = subject.limits
    if not limits:
        found.absent.update(dict.fromkeys(ALIKE, "no exit pays, by the plan"))
        return
    gates = {entry.contract.exit_id: entry.contract.gate for entry in subject.chain.manifest.segments}
    if any(gates[exit_id]["name"] != MAX_PROB for exit_id in limits):
        found.absent[MASKED] = f"it has the gate {MAX_PROB} alone"
    else:
        temperatures = {exit_id: gates[exit_id]["temperature"] for exit_id in limits}
        found.answers[MASKED] = Masked(subject.network, limits, temperatures)
    found.answers[IF] = baselines.with_ifs(subject.exported, limits, scratch)
    found.answers[WAITING] = WaitingChain(subject.chain, limits)
