"""Every kind of model file to an ExitModel."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from etbac.frontend.inputs import EXAMPLE_BATCH, InputShape, make_inputs
from etbac.frontend.kinds import Kind, kind_of
from etbac.passes.exit_model import ExitModel

SEED = 0


@dataclass(frozen=True)
class LoadOptions:
    """How to read a model file.

    `exits`: texts of `--exit ID=OUTPUT`. `input_shapes`: those of `--input-shape`, by name. `example_inputs`: arrays by
    name from data, with two rows or more. `weights`: for a factory. `factory`: named by the user for a checkpoint that
    records an unregistered one. `trust`: read a file even where that executes code that it brings along.
    """

    exits: tuple[str, ...] = ()
    input_shapes: Mapping[str, InputShape] = field(default_factory=dict)
    example_inputs: Mapping[str, Any] | None = None
    weights: Path | None = None
    factory: str | None = None
    trust: bool = False


def load_model(spec: str | Path, options: LoadOptions | None = None) -> ExitModel:
    """Read a model with exits: a checkpoint, an ONNX file, an exported program, or `package.module:factory`.

    Nothing in a file is executed unless `options.trust`; a factory is code that the user names and it runs.
    """
    options = options or LoadOptions()
    kind = kind_of(spec)
    if kind is Kind.FACTORY:
        from etbac.frontend.factory import from_factory

        return from_factory(str(spec), options.weights, options.exits, options.input_shapes, options.example_inputs)
    path = Path(spec)
    exit_model = _READERS[kind](path, options)
    exit_model.source = {"path": str(path.absolute()), "kind": kind.value, "sha256": _sha256(path)}
    return exit_model


def _from_onnx(path: Path, options: LoadOptions) -> ExitModel:
    from etbac.frontend.onnx_file import from_onnx

    return from_onnx(path, options.exits, options.input_shapes)


def _from_exported_program(path: Path, options: LoadOptions) -> ExitModel:
    from etbac.frontend.exported_program import from_exported_program

    return from_exported_program(path, options.exits, options.trust)


def _from_checkpoint(path: Path, options: LoadOptions) -> ExitModel:
    from etbac.frontend.torch_export import from_module
    from etbac.models import checkpoint
    from etbac.models.attach import ExitNetwork

    found = checkpoint.load(path, options.factory)
    rng = np.random.default_rng(SEED)
    inputs = options.example_inputs or make_inputs(found.network.inputs, EXAMPLE_BATCH, rng)
    exit_model = from_module(found.network, inputs, {"path": str(path)})
    if found.full_state is not None:
        trunk = deepcopy(found.network.trunk)  # an exported graph has the weights of the module itself
        trunk.load_state_dict(dict(found.full_state))
        alone = ExitNetwork(trunk, [], found.network.inputs, found.network.task)
        exit_model.original = from_module(alone.eval(), inputs, {"path": str(path)})
    exit_model.metric = found.metric
    if found.preprocessing is not None:
        exit_model.preprocessing = found.preprocessing.to_json()
    return exit_model


_READERS: Mapping[Kind, Callable[[Path, LoadOptions], ExitModel]] = {
    Kind.CHECKPOINT: _from_checkpoint,
    Kind.EXPORTED_PROGRAM: _from_exported_program,
    Kind.ONNX: _from_onnx,
}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
