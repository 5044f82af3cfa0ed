"""The commands that change an engine directory of `two_blocks`, as plain functions that a child process can run."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime  # noqa: F401  imported before children are forked, as all that follows
from support.two_blocks import make_exit_model, make_inputs

from etbac.compiler import CompileOptions, EngineOptions, compile_model
from etbac.frontend.exit_graph import from_elsewhere
from etbac.passes.exit_model import ExitModel
from etbac.planner.plan import plan as make_plan
from etbac.profiles.profiler import profile as measure


def compile(path: Path) -> None:
    """Other weights than `make_engine_dir` takes by default; from memory, since checking a file takes a second."""
    compile_model(_model(), path, CompileOptions(max_batch=8))


def engines(path: Path) -> None:
    """The same with a set of engines that are code; where such a set is there, another one that runs sources."""
    has_code = (path / "engines" / "onnxruntime-cpu-fp32").exists()
    chosen = EngineOptions(dtype="fp16") if has_code else EngineOptions(offline=True)
    compile_model(_model(), path, CompileOptions(max_batch=8, engines=chosen))


def _model() -> ExitModel:
    model = ir.from_proto(make_exit_model(seed=1))
    return from_elsewhere(model, "two_blocks.onnx", {"path": "two_blocks.onnx"})


def profile(path: Path) -> None:
    measure(path, batch_sizes=[1], budget_s=0.02)


def plan(path: Path) -> None:
    with tempfile.TemporaryDirectory() as elsewhere:
        data = Path(elsewhere) / "data.npz"
        np.savez(data, **make_inputs(800))
        make_plan(path, 0.9, data=data, metric="agreement", uncertified=True, max_latency=1e9)
