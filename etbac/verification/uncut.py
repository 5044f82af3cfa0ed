"""The model before it was cut, run as one graph: what the chain is compared with."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from etbac.backends import registry
from etbac.backends.interface import Array, BuildOptions, Runner
from etbac.contract import FULL_MODEL_ID, TensorSpec
from etbac.errors import EtbacError, InputError
from etbac.frontend.inputs import make_inputs
from etbac.passes.exit_model import ExitModel
from etbac.passes.name_batch import rows_axis
from etbac.verification.chain import Fields, Inputs

EXTERNAL_FROM = 1024
Draw = Callable[[int], Inputs]
DRAWS = 10


class UncutModel:
    """A `Reference`: the model as it is now, with all exits as outputs, on ONNX Runtime; a context manager.

    It lives in a temporary folder, so that later changes to `exit_model` don't reach it. Its weights are in memory from
    the first question until it rests or ends.
    """

    def __init__(self, exit_model: ExitModel) -> None:
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name, "uncut.onnx")
        model = exit_model.model.clone()
        ir.save(model, path, external_data="uncut.bin", size_threshold_bytes=EXTERNAL_FROM)
        self._outputs = {**exit_model.exits, FULL_MODEL_ID: exit_model.full}
        self._names = tuple(name for fields in self._outputs.values() for name in fields.values())
        self._axes = {str(value.name): rows_axis(value.shape) for value in exit_model.model.graph.outputs}
        self._backend = registry.get(registry.DEFAULT)
        self._engine = self._backend.build(path, BuildOptions(), path.parent)
        self._runner: Runner | None = None

    def answers(self, inputs: Inputs) -> Mapping[int, Fields]:
        found = dict(zip(self._names, self._run(inputs), strict=True))
        rows_first = {name: np.moveaxis(np.asarray(array), self._axes[name], 0) for name, array in found.items()}
        return {
            exit_id: {field: rows_first[name] for field, name in fields.items()}
            for exit_id, fields in self._outputs.items()
        }

    def is_sound(self, inputs: Inputs) -> bool:
        """Whether the model runs on these inputs and gives no NaN."""
        with suppress(EtbacError):
            return not any(_has_nan(np.asarray(array)) for array in self._run(inputs))
        return False

    def rest(self) -> None:
        """Free the memory that the model takes, until it is asked again."""
        if self._runner is not None:
            self._runner.close()
        self._runner = None

    def _run(self, inputs: Inputs) -> Sequence[Any]:
        if self._runner is None:
            self._runner = self._backend.load(self._engine)
        return self._runner.run(inputs, self._names)

    def __enter__(self) -> UncutModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.rest()
        self._folder.cleanup()


def all_draws(specs: Sequence[TensorSpec], uncut: UncutModel, real: Inputs | None) -> dict[str, Draw]:
    """Ways to draw inputs of a number of rows on which the uncut model works, by name.

    "made-up" or, if there are any, "real": rows of `real`; "zero": all zero (left out where the model gives NaN on it).
    """
    rng = np.random.default_rng(0)
    draws: dict[str, Draw] = {}
    if real is not None:
        draws["real"] = lambda batch: _rows(specs, real, batch, rng)
    else:
        draws["made-up"] = lambda batch: _sound(specs, uncut, batch, rng)
    if uncut.is_sound(_zeros(specs, 2)):
        draws["zero"] = lambda batch: _zeros(specs, batch)
    return draws


def _sound(specs: Sequence[TensorSpec], uncut: UncutModel, batch: int, rng: np.random.Generator) -> Inputs:
    for _ in range(DRAWS):
        inputs = make_inputs(specs, batch, rng)
        if uncut.is_sound(inputs):
            return inputs
    raise InputError(f"the model fails or gives NaN on {DRAWS} draws of made-up inputs; give real ones with --data")


def _zeros(specs: Sequence[TensorSpec], batch: int) -> Inputs:
    made_up = make_inputs(specs, batch, np.random.default_rng(0))
    return {name: np.zeros_like(array) for name, array in made_up.items()}


def _rows(specs: Sequence[TensorSpec], real: Inputs, batch: int, rng: np.random.Generator) -> Inputs:
    axes = {spec.name: spec.batch_axis for spec in specs}
    count = next(real[name].shape[axis] for name, axis in axes.items() if axis is not None)
    chosen = rng.integers(0, count, batch)
    return {name: real[name] if axis is None else real[name].take(chosen, axis) for name, axis in axes.items()}


def _has_nan(array: Array) -> bool:
    return array.dtype.kind == "f" and bool(np.isnan(array).any())
