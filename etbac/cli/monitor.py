"""`etbac monitor`: are the samples that come still like those that the plan was certified with?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etbac.cli.common import Engines, Output, engine_dir_option, standard, which_engines
from etbac.errors import EngineDirError, UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from etbac.planner.watch import Watch

_OTHERWISE = "remove it, or give another file, to begin anew"


@click.command("monitor", epilog="Example: etbac monitor --input today.npz --state monitor.json --audit 0.01")
@engine_dir_option
@click.option(
    "--input",
    "path",
    type=click.Path(path_type=Path),
    help="An .npy or .npz file, or by the model a folder of pictures or sounds or a file of texts, in the order of "
    "their coming.  [default: the samples]",
)
@click.option(
    "--state", type=click.Path(dir_okay=False, path_type=Path), help="Go on from this file, and write it again."
)
@click.option(
    "--audit",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of samples that go through the full model too.",
)
@click.option("--batch-size", type=click.IntRange(min=1), help="Rows to a batch.  [default: the largest compiled for]")
@standard
@which_engines
def cli(
    output: Output,
    engine_dir: Path,
    path: Path | None,
    state: Path | None,
    audit: float,
    batch_size: int | None,
    engines: Engines,
) -> None:
    """Run inputs through the chain and compare exits and confidences with those of the certify set.

    The exit status is 0 whether there is an alarm or not; --json has it as `alarm`.
    """
    from etbac.planner.watch import Watch
    from etbac.runtime.chain import load
    from etbac.runtime.sources import open_source

    if state is not None:
        _check_folder(state.absolute().parent)
    with load(engine_dir, **engines) as chain:
        if chain.note:
            output.note(chain.note)
        watch = Watch(chain, audit=audit)
        if state is not None and state.exists():
            _resume(watch, state)
        source = open_source(chain.engine_dir, path)
        for batch in source.batches(batch_size or chain.manifest.max_batch):
            watch.run(batch)
        found = watch.state()
        if state is not None:
            _write(state, found)
        payload = {name: value for name, value in found.items() if name != "monitor"}
        output.result(payload, _table(watch), str(watch), *_of_audit(found))


def _table(watch: Watch) -> Table:
    from rich.table import Table

    from etbac.planner.drift import BINS

    plan = watch.chain.plan
    reference = [] if plan is None or plan.certificate is None else plan.certificate["reference"]
    certified = [sum(reference[start : start + BINS]) for start in range(0, len(reference), BINS)]
    table = Table("exit", "samples", "share", "when certified")
    seen = sum(watch.leaving.values()) or 1
    for (exit_id, count), before in zip(watch.leaving.items(), certified, strict=True):
        name = str(exit_id) if exit_id else "full model"
        table.add_row(name, f"{count:,}", f"{count / seen:.1%}", f"{before / sum(certified):.1%}")
    return table


def _of_audit(found: dict[str, Any]) -> list[str]:
    audit, confidence = found["audit"], 1 - found["level"]
    if audit is None:
        return []
    return [
        f"audit: {audit['disagreements']:,} of {audit['samples']:,} samples are not answered as by the full model; "
        f"at most {audit['bound']:.2%} of all at {confidence:.1%} confidence, and no more accuracy than that is lost"
    ]


def _check_folder(folder: Path) -> None:
    """A BadParameter where no state could be written when all rows have run."""
    if not folder.is_dir():
        raise click.BadParameter(f"there is no folder {folder}; make it first", param_hint="--state")
    if not os.access(folder, os.W_OK):
        raise click.BadParameter(f"nothing can be written to {folder}; give a file elsewhere", param_hint="--state")


def _resume(watch: Watch, path: Path) -> None:
    """Go on from the state in that file; a BadParameter that says what to do where it is none of this plan."""
    from etbac.engine_dir import sealed

    try:
        data = path.read_bytes()
        state = sealed.parse(data, path)
        sealed.check(data, path)
        watch.resume(state)
    except EngineDirError as error:
        raise click.BadParameter(f"{error}; {_OTHERWISE}", param_hint="--state") from None
    except UsageError as error:
        raise click.BadParameter(f"{path}: {error}; {_OTHERWISE}", param_hint="--state") from None


def _write(path: Path, state: dict[str, Any]) -> None:
    from etbac.engine_dir import sealed

    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(sealed.seal(state))
    temporary.replace(path)
