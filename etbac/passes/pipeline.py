"""A list of passes with one hook: dump, verification and timing all hang there."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import onnx_ir as ir

from etbac.errors import EtbacError, UnsupportedModelError

EXTERNAL_DATA_FROM = 1 << 20
"""Bytes of one tensor above which a dumped model keeps it in a file beside it (protobuf holds 2 GB at most)."""


@dataclass(frozen=True)
class PassRun:
    """What a hook is told after each pass: its name, the model as it left it, and how long it took."""

    name: str
    model: ir.Model
    seconds: float
    modified: bool


Hook: TypeAlias = Callable[[PassRun], None]


class Pipeline(ir.passes.InPlacePass):
    """Run in-place passes in order and call `hook` after each.

    A pass's EtbacError goes through as it is; anything else that it raises, on a graph that no exporter would write,
    becomes an UnsupportedModelError that names the pass.
    """

    def __init__(self, *passes: ir.passes.PassBase, hook: Hook | None = None) -> None:
        self.passes = passes
        self.hook = hook

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        modified = False
        for step in self.passes:
            started = time.perf_counter()
            result = _run(step, model)
            modified |= result.modified
            if self.hook is not None:
                run = PassRun(type(step).__name__, model, time.perf_counter() - started, result.modified)
                self.hook(run)
        return ir.passes.PassResult(model, modified)


def _run(step: ir.passes.PassBase, model: ir.Model) -> ir.passes.PassResult:
    try:
        return step(model)
    except EtbacError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise UnsupportedModelError(
            f"the model cannot be compiled: {type(step).__name__} failed on it ({type(error).__name__}: {reason})"
        ) from error


@dataclass
class DumpModels:
    """A hook that writes the model after every pass: `folder/NN-<pass>.onnx`, numbered over all its pipelines."""

    folder: Path
    written: list[Path] = field(default_factory=list)

    def __call__(self, run: PassRun) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{len(self.written):02d}-{run.name}.onnx"
        ir.save(run.model, path, external_data=f"{path.stem}.weights", size_threshold_bytes=EXTERNAL_DATA_FROM)
        self.written.append(path)


@dataclass
class RecordTimes:
    """A hook that keeps (pass, seconds) of every run."""

    runs: list[tuple[str, float]] = field(default_factory=list)

    def __call__(self, run: PassRun) -> None:
        self.runs.append((run.name, run.seconds))


def together(hooks: Sequence[Hook]) -> Hook:
    """One hook that calls several in order."""

    def call_all(run: PassRun) -> None:
        for hook in hooks:
            hook(run)

    return call_all
