"""What the chain is measured against, each as one graph on the same backend and thread pool as the chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from benchmarks.if_graph import if_graph
from etbac.backends import registry
from etbac.backends.interface import BuildOptions, Runner
from etbac.compiler import CompileOptions
from etbac.compiler.compile import whole_model, whole_segment
from etbac.formats import typed
from etbac.passes.exit_model import ExitModel
from etbac.passes.model_passes import PassOptions, model_passes
from etbac.passes.select_exits import select_exits
from etbac.verification.uncut import UncutModel

Inputs = Mapping[str, npt.NDArray[Any]]
OUTPUT = ("prediction",)
ROWS_AT_ONCE = 32


@dataclass(frozen=True)
class Baseline:
    """A model of one field as one graph; call it with a batch to get its logits. `more`: other inputs that it takes."""

    runner: Runner
    more: Inputs = field(default_factory=dict)

    def __call__(self, batch: Inputs) -> npt.NDArray[np.float32]:
        return np.asarray(self.runner.run({**batch, **self.more}, OUTPUT)[0])


def untouched(exported: ExitModel, folder: Path) -> Baseline:
    """The full model as the exporter wrote it, through none of our passes."""
    model = select_exits(exported.copy(), ()).model
    model.graph.outputs[0].name = OUTPUT[0]
    return _load(model, folder / "untouched.onnx")


def whole(exported: ExitModel, folder: Path, name: str, backend: str = registry.DEFAULT) -> Baseline:
    """The full model through our passes."""
    return _load(whole_model(exported.copy(), CompileOptions()), folder / f"{name}.onnx", backend)


def whole_in_int8(exported: ExitModel, calibration: Inputs, folder: Path) -> Baseline:
    """The full model through our passes, with ranges from these inputs."""
    segment = whole_segment(exported.copy(), CompileOptions())
    options = registry.get(registry.DEFAULT).int8_options()
    (narrow,) = typed([segment], ["int8"], calibration, options)
    return _load(narrow.model, folder / "int8.onnx")


def with_ifs(exported: ExitModel, thresholds: Mapping[int, float], folder: Path) -> Baseline:
    """Exits at these thresholds in one graph, which stops when the whole batch is sure."""
    gated = model_passes(exported.copy(), PassOptions(tuple(thresholds)))
    more = {f"gate_{exit_id}.threshold": np.array(limit, np.float32) for exit_id, limit in thresholds.items()}
    return replace(_load(if_graph(gated), folder / "if.onnx"), more=more)


def static_cut(exported: ExitModel, exit_id: int, folder: Path) -> Baseline:
    """The trunk up to one exit and that exit's head alone: everybody leaves there, and no other head costs anything."""
    cut = exported.copy()
    cut.full = cut.exits[exit_id]
    return whole(select_exits(cut, ()), folder, f"cut-{exit_id}")


def right_by_exit(
    exported: ExitModel, inputs: Inputs, labels: npt.NDArray[np.int64]
) -> dict[int, npt.NDArray[np.bool_]]:
    """For every exit of a classifier, and under 0 for the full model: bool [rows], whether the answer is the label."""
    right: dict[int, list[npt.NDArray[np.bool_]]] = {}
    with UncutModel(exported) as uncut:
        for start in range(0, len(labels), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            for exit_id, fields in uncut.answers({name: array[rows] for name, array in inputs.items()}).items():
                (logits,) = fields.values()
                right.setdefault(exit_id, []).append(logits.argmax(-1) == labels[rows])
    return {exit_id: np.concatenate(parts) for exit_id, parts in right.items()}


def _load(model: ir.Model, path: Path, backend: str = registry.DEFAULT) -> Baseline:
    ir.save(model, path)
    chosen = registry.get(backend)
    return Baseline(chosen.load(chosen.build(path, BuildOptions(), path.parent)))
