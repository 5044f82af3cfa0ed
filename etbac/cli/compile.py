"""`etbac compile`: a model becomes an engine directory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etbac.cli.common import Output, engine_dir_option, standard
from etbac.cli.request import Request, takes_model

if TYPE_CHECKING:
    from etbac.compiler import Built, Compiled
    from etbac.contract import Plan

PRECISION = 0.9968


@click.command("compile", epilog="Example: etbac compile resnet.pt --exits 3,7,12")
@takes_model
@engine_dir_option
@click.option("--plan", "from_plan", is_flag=True, help="Keep the exits that the plan in force uses; certify it again.")
@click.option("--no-plan", is_flag=True, help="Don't write a first plan.")
@click.option("--explain", is_flag=True, help="Print each boundary and why it is what it is.")
@standard
def cli(output: Output, request: Request, engine_dir: Path, from_plan: bool, no_plan: bool, explain: bool) -> None:
    """Split MODEL at its exits and build one engine per segment.

    MODEL is a checkpoint (.pt), an exported program (.pt2), an ONNX file with outputs exit_<id>, or
    package.module:factory.
    The chain is compared with the uncut model before it is put in place.
    """
    from etbac.compiler import compile_model
    from etbac.compiler.optimize import exits_of_plan

    if from_plan and (no_plan or request.exits is not None):
        raise click.UsageError(
            "--plan says which exits to keep and carries the plan over: leave --exits and --no-plan out"
        )
    before = None
    if from_plan:
        exits, before = exits_of_plan(engine_dir)
        request = replace(request, exits=exits)
    exit_model, options = request.read()
    compiled = compile_model(exit_model, engine_dir, options)
    if compiled.dropped_plan and before is None:
        output.note("the plan in force was for other segments and is dropped")
    for folder in compiled.dropped_sets:
        output.note(f"{folder} was built of other segments and is dropped")
    plan = None if no_plan else _plan(compiled, request, before, output)
    output.result(_payload(compiled, plan), *_text(compiled, plan, explain))


def _plan(compiled: Compiled, request: Request, before: Plan | None, output: Output) -> Plan | None:
    """A plan for a checkpoint whose data are there, or the one before with its thresholds, certified on this chain.

    What stands in the way is said, and is no failure of compile.
    """
    from etbac.errors import EtbacError
    from etbac.planner.plan import plan

    path, data = compiled.engine_dir.path, request.planning_data
    if before is None and compiled.engine_dir.manifest.source["kind"] != "checkpoint":
        return None
    try:
        if before is None:
            return plan(path, PRECISION, data=data, note=output.note)
        search: dict[str, Any] = {"metric": before.search["metric"], "batch_size": before.search["batch_size"]}
        if (tested := before.certificate or before.estimate) is not None:
            search["delta"] = tested["level"] * 2 ** (tested["reading"] - 1)
        if before.certificate is not None:
            search["test"] = before.certificate["test"]
        return plan(path, before.precision, data=data, **search, thresholds=before.thresholds, note=output.note)
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
        lines.append(f"plan: precision {plan.precision} {certified}; thresholds {thresholds}")
    return [*lines, *(_boundaries(compiled) if explain else ())]


def _built_line(built: Built) -> str:
    size = f"{built.bytes / 1e6:.2f} MB"
    if built.refusal is not None:
        return f"{built.stem}: {built.refusal}; it runs on {built.backend} ({size})"
    if built.miss is None:
        return f"{built.stem}: HIT, {size}"
    if not built.is_code:
        return f"{built.stem}: MISS ({built.miss}); {built.backend} runs its source as it is, {size} without weights"
    return f"{built.stem}: MISS ({built.miss}); built by {built.backend} in {built.seconds:.2f} s, {size}"


def _boundaries(compiled: Compiled) -> Iterator[str]:
    """What each segment hands to the next, and why."""
    from etbac.passes.split import explain

    yield from map(str, explain(compiled.exit_model, compiled.engine_dir.manifest.max_batch))
