"""What the chain is measured against, each as one graph on the same backend and thread pool as the chain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from etbac.backends import registry
from etbac.backends.interface import BuildOptions, Runner
from etbac.compiler import CompileOptions
from etbac.compiler.compile import whole_model
from etbac.frontend.load import load_model
from etbac.passes.exit_model import ExitModel
from etbac.passes.select_exits import select_exits

Inputs = dict[str, npt.NDArray[np.generic]]
OUTPUT = ("prediction",)
ROWS_AT_ONCE = 32


@dataclass(frozen=True)
class Baseline:
    """A model of one field as one graph; call it with a batch to get its logits."""

    runner: Runner

    def __call__(self, batch: Inputs) -> npt.NDArray[np.float32]:
        return self.runner.run(batch, OUTPUT)[0]

    def predict(self, inputs: Inputs, progress: Callable[[int], None] = lambda done: None) -> npt.NDArray[np.int64]:
        """The class of every row, int64 [rows]."""
        rows = len(next(iter(inputs.values())))
        classes = []
        for start in range(0, rows, ROWS_AT_ONCE):
            part = {name: array[start : start + ROWS_AT_ONCE] for name, array in inputs.items()}
            classes.append(self(part).argmax(-1))
            progress(len(classes[-1]))
        return np.concatenate(classes)


def untouched(checkpoint: Path, folder: Path) -> Baseline:
    """The full model as the exporter wrote it, through none of our passes."""
    exported = select_exits(load_model(checkpoint), ())
    exported.model.graph.outputs[0].name = OUTPUT[0]
    return _load(exported.model, folder / "untouched.onnx")


def whole(checkpoint: Path, folder: Path) -> Baseline:
    """The full model of a checkpoint through our passes."""
    return _load(whole_model(load_model(checkpoint), CompileOptions()), folder / f"{checkpoint.stem}.onnx")


def static_cut(checkpoint: Path, exit_id: int, folder: Path) -> Baseline:
    """The trunk up to one exit and that exit's head alone: everybody leaves there, and no other head costs anything."""
    return _load(whole_model(cut_at(load_model(checkpoint), exit_id), CompileOptions()), folder / f"cut-{exit_id}.onnx")


def cut_at(exit_model: ExitModel, exit_id: int) -> ExitModel:
    exit_model.full = exit_model.exits[exit_id]
    return select_exits(exit_model, ())


def _load(model: ir.Model, path: Path) -> Baseline:
    ir.save(model, path)
    backend = registry.get(registry.DEFAULT)
    return Baseline(backend.load(backend.build(path, BuildOptions(), path.parent)))
