"""A network from a factory that the user named: `package.module:factory`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from etbac.contract import TensorSpec
from etbac.errors import EtbacError, UsageError, one_line
from etbac.frontend.inputs import EXAMPLE_BATCH, InputShape, make_inputs, specs_of
from etbac.frontend.torch_export import export_dict, from_module, refuse_training
from etbac.passes.exit_model import ExitModel

if TYPE_CHECKING:
    import torch

SEED = 0


def from_factory(
    target: str,
    weights: Path | None = None,
    asked: Sequence[str] = (),
    input_shapes: Mapping[str, InputShape] | None = None,
    example_inputs: Mapping[str, Any] | None = None,
) -> ExitModel:
    """Import and call the factory (this runs the user's code), load the weights, and export the network.

    The factory returns a network with exits (what `attach_exits` returns), or a module in evaluation mode whose forward
    takes its inputs by name and returns a dict with `exit_<id>` among its keys. The second kind needs `example_inputs`
    (arrays by name, batch on axis 0, two rows or more) or `input_shapes`, from which inputs are made up. Raises
    UsageError for a factory that cannot be found or a module without exits, UnsafeFileError for weights that would
    execute code, UnsupportedModelError for a module that cannot be exported.
    """
    from etbac.models.attach import ExitNetwork
    from etbac.models.registry import user_factory

    network = user_factory(target)()
    _require_module(network, target)
    if weights is not None:
        load_weights(network, weights)
    source = {"path": target, "kind": "factory", "sha256": None}
    rng = np.random.default_rng(SEED)
    if isinstance(network, ExitNetwork):
        return from_module(network, example_inputs or make_inputs(network.inputs, EXAMPLE_BATCH, rng), source)

    refuse_training(network, target)
    specs = _specs(target, input_shapes or {}, example_inputs)
    inputs = example_inputs or make_inputs(specs, EXAMPLE_BATCH, rng)
    return export_dict(network, specs, inputs, target, source, asked)


def load_weights(network: torch.nn.Module, path: Path) -> None:
    """Load a state dict, from safetensors or from a `.pt` file that holds tensors alone, into `network`."""
    from etbac.models.weights import read_state

    try:
        network.load_state_dict(read_state(path))
    except RuntimeError as error:
        raise EtbacError(f"--weights {path} does not fit the network: {one_line(error)[:300]}") from error


def _specs(target: str, shapes: Mapping[str, InputShape], examples: Mapping[str, Any] | None) -> tuple[TensorSpec, ...]:
    if shapes:
        return tuple(shape.spec(name) for name, shape in shapes.items())
    if examples:
        return specs_of(examples)
    raise UsageError(f"{target} does not say what it takes; give every input with --input-shape name:BxCxHxW")


def _require_module(network: object, target: str) -> None:
    import torch

    if not isinstance(network, torch.nn.Module):
        raise UsageError(f"{target} returned a {type(network).__name__}; a factory returns a torch.nn.Module")
