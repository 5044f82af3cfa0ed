"""From a torch.export program to an ExitModel."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from etbac.contract import TensorSpec
from etbac.errors import InputError, UnsupportedModelError, UsageError
from etbac.frontend.decompositions import spelled_out
from etbac.frontend.exit_graph import exported_here
from etbac.frontend.outputs import FIELD
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
    exit_model = export_dict(network, network.inputs, example_inputs, type(network.trunk).__name__, source)
    exit_model.task = network.task
    exit_model.default_gate = _default_gate(exit_model)
    return exit_model


def _default_gate(exit_model: ExitModel) -> str | None:
    """The task's gate for what the full model answers, as `--gate` is typed."""
    from etbac.models import tasks

    if list(exit_model.full) != [FIELD]:
        return None
    (answer,) = (value for value in exit_model.model.graph.outputs if value.name == exit_model.full[FIELD])
    shape = [dim if isinstance(dim, int) else dim.value for dim in answer.shape or ()]
    return tasks.get(exit_model.task).gate_for(shape)


def export_dict(
    network: torch.nn.Module,
    specs: Sequence[TensorSpec],
    example_inputs: Mapping[str, Any],
    where: str,
    source: Mapping[str, Any],
    asked: Sequence[str] = (),
) -> ExitModel:
    """Export a module whose forward takes its inputs by name and returns a mapping with `exit_<id>` among its keys.

    `specs` says which axes are dynamic and which of them is the batch. `asked`: the texts of `--exit`.
    """
    import torch

    from etbac.models.capture import on_cpu

    refuse_training(network, where)
    _require_inputs(specs, example_inputs)
    network = on_cpu(network)
    tensors = {spec.name: torch.as_tensor(example_inputs[spec.name]).cpu() for spec in specs}
    with torch.no_grad():
        answer = _call(network, tensors, where)
    if not isinstance(answer, Mapping) or not all(isinstance(key, str) for key in answer):
        raise UsageError(
            f"{where} returns a {type(answer).__name__}, so it has no exits; attach some with etbac.attach_exits, or "
            "return a dict with exit_<id> among its keys"
        )
    program = _export(network, specs, tensors, where)
    model = _translate(program, where)
    for value, spec in zip(model.graph.inputs, specs, strict=True):
        value.name = spec.name
    _name_outputs(model.graph, list(answer))
    return exported_here(model, where, source, asked, {spec.name: spec.batch_axis for spec in specs})


def from_program(
    program: torch.export.ExportedProgram,
    output_names: Sequence[str],
    where: str,
    source: Mapping[str, Any],
    asked: Sequence[str] = (),
) -> ExitModel:
    """Translate an exported program to ONNX opset 18, give its outputs these names, and read its exits."""
    model = _translate(program, where)
    _name_outputs(model.graph, output_names)
    return exported_here(model, where, source, asked)


def refuse_training(module: torch.nn.Module, where: str) -> None:
    """Raise UnsupportedModelError where the module or one inside it is in training mode."""
    for path, part in module.named_modules():
        if part.training:
            inside = f"its module {path!r}" if path else "it"
            raise UnsupportedModelError(
                f"{where}: {inside} ({type(part).__name__}) is in training mode, in which answers depend on the batch "
                "and on chance; call .eval() before compiling"
            )


def _call(network: torch.nn.Module, tensors: Mapping[str, torch.Tensor], where: str) -> Any:
    try:
        return network(**tensors)
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{where} fails on the example inputs: {type(error).__name__}: {reason[:300]}") from error


def _export(
    network: torch.nn.Module, specs: Sequence[TensorSpec], tensors: Mapping[str, torch.Tensor], where: str
) -> torch.export.ExportedProgram:
    """torch.export, every dynamic axis strictly so; inputs go by position, since it loses their shapes by name."""
    import torch

    names = [spec.name for spec in specs]

    class Positional(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *inputs: torch.Tensor) -> dict[str, Any]:
            return dict(self.network(**dict(zip(names, inputs, strict=True))))

    dynamic = tuple(
        {axis: torch.export.Dim.DYNAMIC for axis, dim in enumerate(spec.shape) if isinstance(dim, str)}
        for spec in specs
    )
    try:
        with torch.no_grad(), quiet("torch.export", "torch.fx"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(
                Positional().eval(), tuple(tensors.values()), dynamic_shapes={"inputs": dynamic}, strict=False
            )
    except Exception as error:
        raise UnsupportedModelError(_not_exported(where, str(error).strip())) from error


def _not_exported(where: str, reason: str) -> str:
    fixed = re.search(r"marked (\S+) as dynamic but your code specialized it to be a constant \((\d+)\)", reason)
    if fixed is None:
        line, *_ = reason.split("\n")
        return f"{where} cannot be exported by torch.export: {line[:500]}"
    return (
        f"{where} cannot be exported by torch.export: its code works only where {fixed[1]} is {fixed[2]}, and that "
        "size must stay open; take it from the input's shape instead"
    )


def _translate(program: torch.export.ExportedProgram, where: str) -> ir.Model:
    """To ONNX. Attention becomes plain operators: where a fused kernel's memory layout is assumed, a reshape behind it
    passes for a view, which it is not for ONNX's operators, and the translation fails."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    try:
        with (
            sdpa_kernel(SDPBackend.MATH),
            quiet("torch.onnx", "onnxscript", "onnx_ir"),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            exported = torch.onnx.export(spelled_out(program), dynamo=True, opset_version=OPSET, verbose=False)
    except Exception as error:
        reason = str(error.__cause__ or error).strip().split("\n")[0]
        raise UnsupportedModelError(f"{where} cannot be exported to ONNX: {reason}") from error
    assert exported is not None
    model: ir.Model = exported.model.clone()
    _let_go_of_graphs()
    return model


def _let_go_of_graphs() -> None:
    """Show onnxscript's rules a small graph.

    torch exports with them; they hold on to the last graph that they saw, and a graph to its former inputs, which the
    weights were: a copy of the model alone would leave the weights that were folded away in memory.
    """
    from onnxscript.optimizer import optimize_ir
    from onnxscript.rewriter.onnx_fusions import fuse

    given = ir.val("x", ir.DataType.FLOAT, [1])
    node = ir.node("Identity", [given])
    graph = ir.Graph([given], node.outputs, nodes=[node], opset_imports={"": OPSET})
    small = ir.Model(graph, ir_version=10)
    optimize_ir(small)
    fuse(small)


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
