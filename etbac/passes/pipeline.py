"""A list of passes with one hook: dump, verification and timing all hang there."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import onnx_ir as ir

from etbac.errors import EtbacError, UnsupportedModelError

LARGE = 1 << 16
"""Bytes of a tensor above which a dump keeps it outside the model."""

WEIGHTS = "weights.bin"


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
    """A hook that writes the model after every pass: `folder/NN-<pass>.onnx`, numbered over all its pipelines.

    Large weights are written once, into `folder/weights.bin`, which all the models share.
    """

    folder: Path
    written: list[Path] = field(default_factory=list)
    _stored: dict[int, tuple[ir.TensorProtocol, int]] = field(default_factory=dict, repr=False)
    """id of a tensor -> the tensor, kept so that the id stays its own, and its place in the file."""

    def __call__(self, run: PassRun) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        model = run.model.clone()
        for value in model.graph.initializers.values():
            if value.const_value is not None and value.const_value.nbytes > LARGE:
                value.const_value = self._outside(value.const_value)
        path = self.folder / f"{len(self.written):02d}-{run.name}.onnx"
        ir.save(model, path)
        self.written.append(path)

    def _outside(self, tensor: ir.TensorProtocol) -> ir.ExternalTensor:
        if id(tensor) not in self._stored:
            with (self.folder / WEIGHTS).open("ab" if self._stored else "wb") as file:
                self._stored[id(tensor)] = (tensor, file.tell())
                file.write(tensor.tobytes())
        _, offset = self._stored[id(tensor)]
        shape = ir.Shape(tensor.shape.numpy())
        return ir.ExternalTensor(
            WEIGHTS, offset, tensor.nbytes, tensor.dtype, shape=shape, name=tensor.name or "", base_dir=self.folder
        )


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
