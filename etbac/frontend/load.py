"""Every kind of model file to an ExitModel."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from etbac.errors import UsageError
from etbac.frontend.inputs import EXAMPLE_BATCH, make_inputs
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
    input_shapes: Mapping[str, tuple[int | str, ...]] = field(default_factory=dict)
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
    if kind is Kind.CHECKPOINT:
        return _from_checkpoint(Path(spec), options)
    if kind is Kind.ONNX:
        from etbac.frontend.onnx_file import from_onnx

        exit_model = from_onnx(Path(spec), options.exits, options.input_shapes)
        exit_model.source = {**exit_model.source, "sha256": _sha256(Path(spec))}
        return exit_model
    if kind is Kind.EXPORTED_PROGRAM:
        from etbac.frontend.exported_program import from_exported_program

        exit_model = from_exported_program(Path(spec), options.exits, options.trust)
        exit_model.source = {**exit_model.source, "sha256": _sha256(Path(spec))}
        return exit_model
    raise UsageError(f"{spec}: models of kind {kind.value} are not read")


def _from_checkpoint(path: Path, options: LoadOptions) -> ExitModel:
    from etbac.frontend.torch_export import from_module
    from etbac.models import checkpoint

    found = checkpoint.load(path, options.factory)
    rng = np.random.default_rng(SEED)
    inputs = options.example_inputs or make_inputs(found.network.inputs, EXAMPLE_BATCH, rng)
    source = {"path": str(path.absolute()), "kind": Kind.CHECKPOINT.value, "sha256": _sha256(path)}
    exit_model = from_module(found.network, inputs, source)
    exit_model.metric = found.metric
    if found.preprocessing is not None:
        exit_model.preprocessing = found.preprocessing.to_json()
    return exit_model


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
