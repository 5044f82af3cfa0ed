"""From a model with exits to an engine directory: passes, the split, files, and the check that comes before the commit.

load_model ─> uncut copy (the reference) ─┐
           ─> model passes ─> split ─> segment passes ─> staged files ─> verified ─> manifest in place
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from etbac.backends import registry
from etbac.compiler.engines import Built, EngineOptions, build_engines, require_possible
from etbac.compiler.ranges import boundary_ranges
from etbac.compiler.serialization import Stored, add_models
from etbac.contract import FULL_MODEL_ID, Manifest, SegmentEntry, TensorSpec
from etbac.engine_dir import EngineDir, Writer
from etbac.errors import UsageError
from etbac.frontend.inputs import make_inputs
from etbac.frontend.load import LoadOptions, load_model
from etbac.passes.exit_model import ExitModel, Segment
from etbac.passes.gates import Gate
from etbac.passes.model_passes import PassOptions, model_passes, segment_passes
from etbac.passes.pipeline import Hook
from etbac.passes.split import split_at_exits
from etbac.runtime.chain import Chain
from etbac.verification.chain import Inputs, Report, batches_to_check, verify_chain
from etbac.verification.uncut import UncutModel, all_draws

if TYPE_CHECKING:
    from etbac.models.attach import ExitNetwork

SAMPLES = 16
MAX_BATCH = 32


@dataclass(frozen=True)
class CompileOptions:
    """How to compile.

    `exits`: ids to keep, None for all; without any the full model is the chain. `gates`: by exit id; the other exits
    have `gate`, None for the default.
    `samples`: real inputs by name, to be kept in the directory; None for made-up ones. `engines`: what to build them
    with. `load`: how to read the model file. `hook`: called after each pass.
    """

    exits: Sequence[int] | None = None
    gate: Gate | None = None
    gates: Mapping[int, Gate] = field(default_factory=dict)
    engines: EngineOptions = field(default_factory=EngineOptions)
    max_batch: int = MAX_BATCH
    samples: Inputs | None = None
    load: LoadOptions = field(default_factory=LoadOptions)
    hook: Hook | None = None


@dataclass(frozen=True)
class Compiled:
    """What a compilation made: the directory, the model with its gates and the segments that it was cut into, how the
    chain compared, what became of each engine (nothing was built where the portable sources are all), and what was
    dropped since it was of other segments: the plan in force, and the folders of engines."""

    engine_dir: EngineDir
    exit_model: ExitModel
    segments: Sequence[Segment]
    report: Report
    built: Sequence[Built]
    dropped_plan: bool
    dropped_sets: Sequence[str]


def compile(
    model: str | Path | ExitNetwork | ExitModel,
    engine_dir: str | Path = "engines",
    *,
    example_inputs: Mapping[str, Any] | None = None,
    exits: Sequence[int] | None = None,
    gate: Gate | None = None,
    gates: Mapping[int, Gate] | None = None,
    backend: str = registry.DEFAULT,
    dtype: str = "fp32",
    keep_fp32: str | None = None,
    fallback: bool = False,
    calibration: Inputs | None = None,
    dims: Mapping[str, tuple[int, int, int]] | None = None,
    offline: bool = False,
    max_batch: int = MAX_BATCH,
) -> EngineDir:
    """Compile `model` into `engine_dir` and return it.

    `model`: a model file, `package.module:factory`, or what `attach_exits` returned (then `example_inputs`, arrays or
    tensors by name with two rows or more, are needed). `exits`: ids to keep, None for all. `gates`: by exit id;
    the other exits have `gate`, or the default one. `backend`, `dtype`, `keep_fp32`, `fallback`, `calibration`,
    `dims`, `offline`: see EngineOptions. Raises EtbacError, with whatever was in `engine_dir` unchanged;
    VerificationError where the chain is not the model.
    """
    load = LoadOptions(example_inputs=example_inputs)
    engines = EngineOptions(backend, dtype, keep_fp32, fallback, calibration, dims or {}, offline)
    options = CompileOptions(exits=exits, gate=gate, gates=gates or {}, engines=engines, max_batch=max_batch, load=load)
    return compile_model(_exit_model(model, load), Path(engine_dir), options).engine_dir


def compile_model(exit_model: ExitModel, path: Path, options: CompileOptions) -> Compiled:
    """Run the passes on `exit_model` (in place), split it, verify the chain and put it in force at `path`."""
    specs = exit_model.input_specs()
    _require_valid(exit_model, options)
    exit_ids = [*(sorted(exit_model.exits) if options.exits is None else options.exits), FULL_MODEL_ID]
    require_possible(options.engines, exit_ids, specs)
    with UncutModel(exit_model) as reference, Writer(path) as writer:
        draws = all_draws(specs, reference, options.samples)
        samples = draws["made-up"](SAMPLES) if options.samples is None else options.samples
        reference.rest()
        written = write_chain(writer, exit_model, samples, options)
        with Chain(writer.stage(written.manifest)) as chain:
            report = verify_chain(chain, reference, draws, batches_to_check(options.max_batch)).require()
            manifest, built = _with_engines(writer, written, chain, options)
        committed = writer.commit(manifest)
        return Compiled(
            committed, exit_model, written.segments, report, built, writer.dropped_plan, writer.dropped_sets
        )


def _with_engines(
    writer: Writer, written: Written, portable: Chain, options: CompileOptions
) -> tuple[Manifest, Sequence[Built]]:
    engines = options.engines
    contracts = [segment.contract for segment in written.segments]
    _require_dimensions(engines.dims, (*written.manifest.inputs, *(spec for each in contracts for spec in each.inputs)))
    if engines.are_portable:
        return written.manifest, ()
    if engines.dims:
        dims = boundary_ranges(contracts, portable.stages, written.manifest.inputs, engines.dims)
        engines = replace(engines, dims=dims)
    name, built = build_engines(writer, written.sources, written.segments, options.max_batch, engines)
    return replace(written.manifest, engines=name), built


def _require_dimensions(dims: Collection[str], inputs: Sequence[TensorSpec]) -> None:
    """`inputs`: the model's and all segments'; those without a batch may be sizes themselves."""
    axes = [(spec, axis, dim) for spec in inputs for axis, dim in enumerate(spec.shape)]
    dynamic = {dim for spec, axis, dim in axes if isinstance(dim, str) and axis != spec.batch_axis}
    unknown = sorted(set(dims) - dynamic - {spec.name for spec in inputs if spec.batch_axis is None})
    if unknown:
        there = ", ".join(sorted(dynamic)) or "none"
        raise UsageError(f"--dim {unknown[0]}: there is no such dynamic dimension beside the batch; there are {there}")


@dataclass(frozen=True)
class Written:
    """Segments, their portable sources and the full model's, and the manifest that lists them, not yet in force."""

    segments: Sequence[Segment]
    sources: Sequence[Stored]
    manifest: Manifest


def write_chain(writer: Writer, exit_model: ExitModel, samples: Inputs, options: CompileOptions) -> Written:
    """Passes, split and files, not verified and not in force.

    `exit_model` is changed in place; `samples` become the directory's own inputs.
    """
    specs = exit_model.input_specs()
    full = whole_model((exit_model.original or exit_model).copy(), options)
    kept = None if options.exits is None else tuple(options.exits)
    exit_model = model_passes(exit_model, PassOptions(kept, options.gates, options.gate, options.hook))
    segments = [segment_passes(part, options.hook) for part in split_at_exits(exit_model, options.max_batch)]
    return _add_files(writer, exit_model, segments, full, samples, specs, options)


def whole_model(exit_model: ExitModel, options: CompileOptions) -> ir.Model:
    """The full model alone, through the same passes (in place); its outputs are `prediction` or `prediction.<field>`.

    It takes all of the model's inputs, also those that nothing reads.
    """
    inputs = [value for value in exit_model.model.graph.inputs if value.name in exit_model.batch_axes]
    model: ir.Model = whole_segment(exit_model, options).model
    read = {value.name for value in model.graph.inputs}
    unread = [value for value in inputs if value.name not in read]
    model.graph.inputs.extend(ir.Value(name=value.name, type=value.type, shape=value.shape) for value in unread)
    return model


def whole_segment(exit_model: ExitModel, options: CompileOptions) -> Segment:
    """The full model as the one segment of a chain without exits, in place; it takes what it reads."""
    (whole,) = split_at_exits(model_passes(exit_model, PassOptions(exits=(), hook=options.hook)), options.max_batch)
    return segment_passes(whole, options.hook)


def _exit_model(model: str | Path | ExitNetwork | ExitModel, load: LoadOptions) -> ExitModel:
    if isinstance(model, ExitModel):
        return model
    if isinstance(model, str | Path):
        return load_model(model, load)
    from etbac.frontend.torch_export import from_module

    inputs = load.example_inputs or make_inputs(model.inputs, 2, np.random.default_rng(0))
    return from_module(model, inputs, {"path": type(model.trunk).__name__, "kind": "module", "sha256": None})


def _require_valid(exit_model: ExitModel, options: CompileOptions) -> None:
    if options.max_batch < 1:
        raise UsageError(f"--max-batch {options.max_batch}: the largest batch must be 1 or more")
    if not exit_model.exits:
        raise UsageError("this model has no exits; train some with etbac train, or name outputs with --exit ID=OUTPUT")


def _add_files(
    writer: Writer,
    exit_model: ExitModel,
    segments: Sequence[Segment],
    full: ir.Model,
    samples: Inputs,
    specs: tuple[TensorSpec, ...],
    options: CompileOptions,
) -> Written:
    stems = [f"segment-{segment.contract.index:02d}" for segment in segments]
    models: list[ir.Model] = [segment.model for segment in segments]
    sources = add_models(writer, [*zip(stems, models, strict=True), ("full", full)], whole=exit_model.model)
    *files, full_file = (source.file for source in sources)
    manifest = Manifest(
        source=exit_model.source,
        task=exit_model.task,
        metric=exit_model.metric,
        inputs=specs,
        segments=tuple(SegmentEntry(segment.contract, file) for segment, file in zip(segments, files, strict=True)),
        full=full_file,
        samples=writer.add_samples(samples),
        samples_kind="synthetic" if options.samples is None else "real",
        max_batch=options.max_batch,
        files={},
        preprocessing=exit_model.preprocessing,
    )
    return Written(segments, sources, manifest)
