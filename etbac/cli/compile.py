"""`etbac compile`: a model becomes an engine directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etbac.cli.common import Output, engine_dir_option, parse_ids, standard

if TYPE_CHECKING:
    from etbac.compiler import Built, Compiled
    from etbac.contract import Plan, TensorSpec
    from etbac.passes.pipeline import Hook

PRECISION = 0.9968
CALIBRATION = 512


def parse_dims(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> dict[str, tuple[int, int, int]]:
    """`length=1:128:512` -> the smallest, usual and largest size of a dynamic dimension; else a usage error."""
    found = {}
    for text in texts:
        name, _, sizes = text.partition("=")
        try:
            smallest, usual, largest = map(int, sizes.split(":"))
        except ValueError:
            raise click.BadParameter(f"{text!r}: write NAME=MIN:USUAL:MAX, like length=1:128:512") from None
        if not name or not 1 <= smallest <= usual <= largest:
            raise click.BadParameter(f"{text!r}: sizes go from 1 up, like length=1:128:512")
        found[name] = (smallest, usual, largest)
    return found


@click.command("compile", epilog="Example: etbac compile resnet.pt --exits 3,7,12")
@click.argument("model")
@click.option("--exits", callback=parse_ids, metavar="IDS", help="Exits to keep, like 3,7,12.  [default: all]")
@engine_dir_option
@click.option(
    "--gate",
    "gates",
    multiple=True,
    metavar="[ID=]NAME[:OPTION=VALUE,…]",
    help="The rule at every exit, or at one, like 3=max-prob:temperature=1.4.  [default: max-prob]",
)
@click.option("--exit", "named", multiple=True, metavar="ID=OUTPUT", help="An output of an ONNX file that is an exit.")
@click.option(
    "--input-shape", "shapes", multiple=True, metavar="NAME:BxCxHxW", help="An input's shape; B is the batch."
)
@click.option("--weights", type=click.Path(path_type=Path), help="Weights for a factory (.safetensors or .pt).")
@click.option("--factory", metavar="MODULE:FUNCTION", help="Code that builds a checkpoint's network.")
@click.option("--backend", default="onnxruntime", show_default=True, help="What builds the engines.")
@click.option("--dtype", default="fp32", show_default=True, help="Number format: fp32, fp16, bf16 or int8.")
@click.option("--keep-fp32", metavar="IDS", help="Exits whose segments stay in fp32, like 1,last.")
@click.option("--fallback", is_flag=True, help="Segments that the backend refuses run on ONNX Runtime.")
@click.option("--offline", is_flag=True, help="ONNX Runtime optimises now, for this processor; opens faster.")
@click.option(
    "--dim",
    "dims",
    multiple=True,
    callback=parse_dims,
    metavar="NAME=MIN:USUAL:MAX",
    help="Sizes of a dynamic dimension, for backends that build for them.",
)
@click.option("--max-batch", type=int, default=32, show_default=True, help="The largest batch of one run.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="The checkpoint's data, where they are now; or an .npz file of inputs by name, for int8's ranges.",
)
@click.option("--keep-samples", is_flag=True, help="Keep 16 real inputs in the directory.  [default: made-up ones]")
@click.option("--no-plan", is_flag=True, help="Don't write a first plan.")
@click.option("--dump-passes", type=click.Path(path_type=Path), metavar="DIR", help="Write the model after every pass.")
@click.option("--explain", is_flag=True, help="Print each boundary and why it is what it is.")
@click.option("--trust", is_flag=True, help="Read a file even where that executes code in it.")
@standard
def cli(
    output: Output,
    model: str,
    exits: tuple[int, ...] | None,
    engine_dir: Path,
    gates: tuple[str, ...],
    named: tuple[str, ...],
    shapes: tuple[str, ...],
    weights: Path | None,
    factory: str | None,
    backend: str,
    dtype: str,
    keep_fp32: str | None,
    fallback: bool,
    offline: bool,
    dims: dict[str, tuple[int, int, int]],
    max_batch: int,
    data: Path | None,
    keep_samples: bool,
    no_plan: bool,
    dump_passes: Path | None,
    explain: bool,
    trust: bool,
) -> None:
    """Split MODEL at its exits and build one engine per segment.

    MODEL is a checkpoint (.pt), an exported program (.pt2), an ONNX file with outputs exit_<id>, or
    package.module:factory.
    The chain is compared with the uncut model before it is put in place.
    """
    from etbac.compiler import CompileOptions, EngineOptions, compile_model
    from etbac.frontend.inputs import parse_input_shape
    from etbac.frontend.load import LoadOptions, load_model
    from etbac.passes.gates.registry import parse_all

    load = LoadOptions(
        exits=named,
        input_shapes=dict(map(parse_input_shape, shapes)),
        weights=weights,
        factory=factory,
        trust=trust,
    )
    gate, single_gates = parse_all(gates)
    exit_model = load_model(model, load)
    calibration = _calibration(exit_model.input_specs(), model, factory, data) if dtype == "int8" else None
    options = CompileOptions(
        exits=exits,
        gate=gate,
        gates=single_gates,
        engines=EngineOptions(backend, dtype, keep_fp32, fallback, calibration, dims, offline),
        max_batch=max_batch,
        samples=_real_samples(model, factory, data) if keep_samples else None,
        load=load,
        hook=_hook(dump_passes),
    )
    compiled = compile_model(exit_model, engine_dir, options)
    if compiled.dropped_plan:
        output.note("the plan in force was for other segments and is dropped")
    for folder in compiled.dropped_sets:
        output.note(f"{folder} was built of other segments and is dropped")
    for_ranges = calibration is not None and data is not None and data.is_file()  # a plan needs samples of its own
    plan = None if no_plan else _first_plan(compiled, None if for_ranges else data, output)
    output.result(_payload(compiled, plan), *_text(compiled, plan, explain))


def _calibration(
    specs: tuple[TensorSpec, ...], model: str, factory: str | None, data: Path | None
) -> dict[str, Any] | None:
    """Inputs from which int8 takes its ranges: an .npz file's, or the checkpoint's fit set; None where there are none.

    The sets that a plan is made from are not touched.
    """
    from etbac.errors import UsageError
    from etbac.runtime.sources import read_arrays

    if data is not None and not data.is_dir():
        return read_arrays(data, specs)
    if not model.endswith(".pt"):
        if data is not None:
            raise UsageError(f"--data {data}: int8 takes its ranges from an .npz file of inputs by name")
        return None
    from etbac.models.checkpoint import load, load_set

    inputs = load_set(load(Path(model), factory), "fit", data).inputs
    return {name: array[:CALIBRATION] for name, array in inputs.items()}


def _hook(folder: Path | None) -> Hook | None:
    if folder is None:
        return None
    from etbac.passes.pipeline import DumpModels

    return DumpModels(folder)


def _real_samples(model: str, factory: str | None, data: Path | None) -> dict[str, Any]:
    """The first inputs of the checkpoint's test set."""
    from etbac.compiler.compile import SAMPLES
    from etbac.models.checkpoint import load, load_set

    inputs = load_set(load(Path(model), factory), "test", data).inputs
    return {name: array[:SAMPLES] for name, array in inputs.items()}


def _first_plan(compiled: Compiled, data: Path | None, output: Output) -> Plan | None:
    """A plan for a checkpoint whose data are there; what stands in the way is said, and is no failure of compile."""
    from etbac.errors import EtbacError
    from etbac.planner.plan import plan

    if compiled.engine_dir.manifest.source["kind"] != "checkpoint":
        return None
    try:
        return plan(compiled.engine_dir.path, PRECISION, data=data, note=output.note)
    except EtbacError as error:
        output.note(f"no plan was written: {error}")
        return None


def _payload(compiled: Compiled, plan: Plan | None) -> dict[str, Any]:
    directory = compiled.engine_dir
    return {
        "engine_dir": str(directory.path),
        "exits": list(directory.manifest.exits),
        "segments": [entry.to_json() for entry in directory.manifest.segments],
        "largest_difference": compiled.report.largest,
        "comparisons": len(compiled.report.checks),
        "engines": directory.manifest.engines,
        "built": [vars(each) for each in compiled.built],
        "plan": None if plan is None else plan.to_json(),
    }


def _text(compiled: Compiled, plan: Plan | None, explain: bool) -> list[Any]:
    directory, report = compiled.engine_dir, compiled.report
    exits = ", ".join(map(str, directory.manifest.exits))
    lines = [
        f"{directory.path}: {len(directory.manifest.segments)} segments, exits {exits}; "
        f"verified: largest difference {report.largest:.1g} of the output's scale in {len(report.checks)} comparisons"
    ]
    lines += map(_built_line, compiled.built)
    if plan is not None:
        certified = "certified" if plan.certified else "not certified"
        thresholds = ", ".join(f"{exit_id}: {value:.3f}" for exit_id, value in plan.thresholds.items())
        lines.append(f"first plan: precision {plan.precision} {certified}; thresholds {thresholds}")
    return [*lines, *(_boundaries(compiled) if explain else ())]


def _built_line(built: Built) -> str:
    size = f"{built.bytes / 1e6:.2f} MB"
    if built.refusal is not None:
        return f"{built.stem}: {built.refusal}; it runs on {built.backend} ({size})"
    if built.miss is None:
        return f"{built.stem}: HIT, {size}"
    return f"{built.stem}: MISS ({built.miss}); built by {built.backend} in {built.seconds:.2f} s, {size}"


def _boundaries(compiled: Compiled) -> Iterator[str]:
    """What each segment hands to the next, and why."""
    from etbac.passes.split import explain

    yield from map(str, explain(compiled.exit_model, compiled.engine_dir.manifest.max_batch))
