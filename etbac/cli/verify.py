"""`etbac verify`: is the chain the model?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etbac.cli.common import Output, engine_dir_option, standard

if TYPE_CHECKING:
    from rich.table import Table

    from etbac.verification import Verified
    from etbac.verification.decisions import Decisions


@click.command("verify", epilog="Example: etbac verify --engine-dir engines")
@engine_dir_option
@click.option("--data", type=click.Path(path_type=Path), help="The checkpoint's data, where they are now.")
@standard
def cli(output: Output, engine_dir: Path, data: Path | None) -> None:
    """Compare the chain with the uncut model, and every decision with the plain torch model on the test set."""
    from etbac.errors import VerificationError
    from etbac.verification import verify
    from etbac.verification.chain import TOLERANCE

    with output.progress() as progress:

        def bar(name: str, whole: int) -> Any:
            task = progress.add_task(name, total=whole)
            return lambda done: progress.advance(task, done)

        verified = verify(engine_dir, data=data, bar=bar)

    lines = [f"allowed: {TOLERANCE:g} of the output's scale"]
    if verified.decisions is not None:
        lines += _decision_lines(verified.decisions)
    lines += [f"left out: {sentence}" for sentence in verified.left_out]
    output.result(_payload(verified), _table(verified), *lines)
    if not verified.passed:
        raise VerificationError(f"{engine_dir}: the chain is not the model it was compiled from. Compile it again")


def _payload(verified: Verified) -> dict[str, Any]:
    decisions = verified.decisions
    return {
        "passed": verified.passed,
        "largest_difference": verified.report.largest,
        "checks": [{**vars(check), "passed": check.passed} for check in verified.report.checks],
        "decisions": None if decisions is None else {**vars(decisions), "passed": decisions.passed},
        "left_out": list(verified.left_out),
    }


def _table(verified: Verified) -> Table:
    from rich.table import Table

    kinds: dict[str, dict[int, float]] = {}
    for check in verified.report.checks:
        kinds.setdefault(check.what, {})[check.batch] = check.difference
    batches = sorted({check.batch for check in verified.report.checks})
    table = Table("largest difference ÷ scale, at batch", *map(str, batches))
    for what, row in kinds.items():
        table.add_row(what, *(f"{row[batch]:.1e}" for batch in batches))
    return table


def _decision_lines(decisions: Decisions) -> list[str]:
    agree = decisions.samples - decisions.flips
    near = f", at most {decisions.farthest:.1e} from the threshold" if decisions.flips else ""
    lines = [
        f"decisions against plain torch: {agree:,} of {decisions.samples:,} test samples leave at the same exit; "
        f"{decisions.flips} flips{near}; the same answer for {decisions.predictions:.2%}"
    ]
    if decisions.right:
        accuracies = ", ".join(f"{name} {share:.4f}" for name, share in decisions.right.items())
        ratio = decisions.right["chain"] / decisions.right["full model"]
        lines.append(f"accuracy: {accuracies}; chain ÷ full model {ratio:.4f}")
    return lines
