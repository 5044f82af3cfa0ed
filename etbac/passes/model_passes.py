"""The two pipelines: what happens to the whole model before the cut, and to each segment after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from onnx_ir.passes import common

from etbac.errors import UsageError
from etbac.passes.exit_model import ExitModel, Segment
from etbac.passes.fold_batch_norm import FoldBatchNorm
from etbac.passes.fold_constants import FoldConstants
from etbac.passes.gates import Gate, add_gates, default_gate
from etbac.passes.infer_shapes import InferShapes
from etbac.passes.pipeline import Hook, Pipeline
from etbac.passes.refuse_lost_batch import RefuseLostBatch
from etbac.passes.refuse_training_mode import RefuseTrainingMode
from etbac.passes.select_exits import select_exits
from etbac.passes.use_opset import UseOpset


@dataclass(frozen=True)
class PassOptions:
    """`exits`: ids to keep, None for all. `gates`: gate by exit id; an exit without one gets `gate`, and where that is
    None the default gate. `hook` is called after every pass of both pipelines."""

    exits: tuple[int, ...] | None = None
    gates: Mapping[int, Gate] = field(default_factory=dict)
    gate: Gate | None = None
    hook: Hook | None = None


def model_passes(exit_model: ExitModel, options: PassOptions) -> ExitModel:
    """Select exits, bring the model into the form that the splitter reads, and append the gates; in place."""
    if options.exits is not None:
        select_exits(exit_model, options.exits)
    _normal_form(options.hook)(exit_model.model)
    add_gates(exit_model, _gates(exit_model, options), options.hook)
    _after_gates(options.hook)(exit_model.model)
    return exit_model


def segment_passes(segment: Segment, hook: Hook | None = None) -> Segment:
    """Clean what the cut left over in one segment: dead code, equal initialisers and expressions, names, shapes."""
    passes = Pipeline(
        common.RemoveUnusedNodesPass(),
        common.CommonSubexpressionEliminationPass(),
        common.DeduplicateInitializersPass(),
        common.RemoveUnusedOpsetsPass(),
        common.TopologicalSortPass(),
        common.NameFixPass(),
        InferShapes(),
        hook=hook,
    )
    passes(segment.model)
    return segment


def _normal_form(hook: Hook | None) -> Pipeline:
    return Pipeline(
        common.ClearMetadataAndDocStringPass(),
        common.InlinePass(),
        common.RemoveInitializersFromInputsPass(),
        common.TopologicalSortPass(),
        RefuseTrainingMode(),
        UseOpset(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        InferShapes(),
        FoldConstants(),
        RefuseLostBatch(),
        FoldBatchNorm(),
        common.RemoveUnusedNodesPass(),
        common.NameFixPass(),
        InferShapes(),
        hook=hook,
    )


def _after_gates(hook: Hook | None) -> Pipeline:
    return Pipeline(common.RemoveUnusedNodesPass(), common.NameFixPass(), InferShapes(), hook=hook)


def _gates(exit_model: ExitModel, options: PassOptions) -> dict[int, Gate]:
    unknown = [exit_id for exit_id in options.gates if exit_id not in exit_model.exits]
    if unknown:
        kept = ", ".join(map(str, exit_model.exits)) or "none"
        raise UsageError(f"a gate is named for exit {unknown[0]}, which is not kept; the exits kept are {kept}")
    without = [exit_id for exit_id in exit_model.exits if exit_id not in options.gates]
    other = options.gate or (default_gate(exit_model) if without else None)
    chosen = {exit_id: options.gates.get(exit_id, other) for exit_id in exit_model.exits}
    return {exit_id: gate for exit_id, gate in chosen.items() if gate is not None}
