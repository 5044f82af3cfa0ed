"""From a torch.export program to an ExitModel."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from etbac.contract import TensorSpec
from etbac.errors import InputError, UnsupportedModelError
from etbac.frontend.exit_graph import exported_here
from etbac.passes.exit_model import ExitModel
from etbac.passes.quiet import quiet
from etbac.passes.use_opset import OPSET

if TYPE_CHECKING:
    import torch

    from etbac.models.attach import ExitNetwork


def from_module(network: ExitNetwork, example_inputs: Mapping[str, Any], source: Mapping[str, Any]) -> ExitModel:
    """Export a network with exits; the batch is axis 0 of every input and strictly dynamic.

    `example_inputs`: arrays or tensors by input name; at least two rows each. Raises UnsupportedModelError for a module
    in training mode (its batch norms would be exported as if in evaluation mode), one that cannot be traced, or one
    that fixes its batch.
    """
    import torch

    from etbac.models.export import export_program, output_names

    where = type(network.trunk).__name__
    refuse_training(network, where)
    _require_inputs(network.inputs, example_inputs)
    tensors = {spec.name: torch.as_tensor(example_inputs[spec.name]) for spec in network.inputs}
    program = export_program(network, tensors)
    names = [spec.name for spec in network.inputs]
    exit_model = from_program(program, names, output_names(network), where, source)
    exit_model.task = network.task
    return exit_model


def from_program(
    program: torch.export.ExportedProgram,
    input_names: Sequence[str] | None,
    output_names: Sequence[str],
    where: str,
    source: Mapping[str, Any],
    asked: Sequence[str] = (),
) -> ExitModel:
    """Translate an exported program to ONNX opset 18 and read its exits.

    Inputs and outputs get these names; without `input_names` the inputs keep those of the program.
    """
    model = _translate(program, where)
    for value, name in zip(model.graph.inputs, input_names or (), strict=input_names is not None):
        value.name = name
    _name_outputs(model.graph, output_names)
    return exported_here(model, where, source, asked, rows_first=input_names is not None)


def refuse_training(module: torch.nn.Module, where: str) -> None:
    """Raise UnsupportedModelError where the module or one inside it is in training mode."""
    for path, part in module.named_modules():
        if part.training:
            inside = f"its module {path!r}" if path else "it"
            raise UnsupportedModelError(
                f"{where}: {inside} ({type(part).__name__}) is in training mode, in which answers depend on the batch "
                "and on chance; call .eval() before compiling"
            )


def _translate(program: torch.export.ExportedProgram, where: str) -> ir.Model:
    import torch

    try:
        with quiet("torch.onnx", "onnxscript", "onnx_ir"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exported = torch.onnx.export(program, dynamo=True, opset_version=OPSET, verbose=False)
    except Exception as error:
        reason = str(error.__cause__ or error).strip().split("\n")[0]
        raise UnsupportedModelError(f"{where} cannot be exported to ONNX: {reason}") from error
    assert exported is not None
    model: ir.Model = exported.model
    return model


def _name_outputs(graph: ir.Graph, names: Sequence[str]) -> None:
    """Name the outputs; a value that is given out twice, or an input given out, gets an Identity of its own."""
    outputs: list[ir.Value] = []
    for value, name in zip(graph.outputs, names, strict=True):
        if value in outputs or value.is_graph_input() or value.is_initializer():
            node = ir.node("Identity", [value])
            graph.append(node)
            node.outputs[0].shape, node.outputs[0].type = value.shape, value.type
            outputs.append(node.outputs[0])
        else:
            outputs.append(value)
        outputs[-1].name = name
    graph.outputs[:] = outputs


def _require_inputs(specs: Sequence[TensorSpec], example_inputs: Mapping[str, Any]) -> None:
    missing = [spec.name for spec in specs if spec.name not in example_inputs]
    if missing:
        raise InputError(
            f"no example for input {missing[0]!r}; the model takes {', '.join(spec.name for spec in specs)}"
        )
    for spec in specs:
        shape = tuple(example_inputs[spec.name].shape)
        if spec.batch_axis is not None and shape[spec.batch_axis] < 2:
            raise InputError(f"the example for input {spec.name!r} has shape {shape}; give at least two rows")
