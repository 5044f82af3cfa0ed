"""`etbac verify`: is the chain the model?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etbac.cli.common import Engines, Output, engine_dir_option, standard, which_engines

if TYPE_CHECKING:
    from rich.table import Table

    from etbac.verification import Verified
    from etbac.verification.decisions import Decisions
    from etbac.verification.engines import EnginesCost


@click.command("verify", epilog="Example: etbac verify --engine-dir engines")
@engine_dir_option
@click.option("--data", type=click.Path(path_type=Path), help="The checkpoint's data, where they are now.")
@standard
@which_engines
def cli(output: Output, engine_dir: Path, data: Path | None, engines: Engines) -> None:
    """Compare the chain with the uncut model, and every decision with the plain torch model on the test set.

    Then the engines in force with the portable fp32 chain: what their number format costs.
    """
    from etbac.errors import VerificationError
    from etbac.verification import verify
    from etbac.verification.chain import TOLERANCE

    with output.bars() as bar:
        verified = verify(engine_dir, data=data, bar=bar, **engines)

    lines = [f"allowed: {TOLERANCE:g} of the output's scale"]
    if verified.decisions is not None:
        lines += _decision_lines(verified.decisions)
    if verified.engines is not None:
        lines += _engine_lines(verified.engines)
    lines += [f"left out: {sentence}" for sentence in verified.left_out]
    output.result(_payload(verified), _table(verified), *lines)
    if verified.engines is not None and verified.engines.broken is not None:
        cost = verified.engines
        raise VerificationError(f"{engine_dir}: the engines {cost.engines} are broken: {cost.broken}. Build them again")
    if not verified.passed:
        raise VerificationError(f"{engine_dir}: the chain is not the model it was compiled from. Compile it again")


def _payload(verified: Verified) -> dict[str, Any]:
    decisions = verified.decisions
    return {
        "passed": verified.passed,
        "largest_difference": _finite(verified.report.largest),
        "checks": [{**_fields(check), "passed": check.passed} for check in verified.report.checks],
        "decisions": None if decisions is None else {**_fields(decisions), "passed": decisions.passed},
        "engines": None if verified.engines is None else _fields(verified.engines),
        "left_out": list(verified.left_out),
    }


def _fields(found: object) -> dict[str, Any]:
    return {name: _finite(value) for name, value in vars(found).items()}


def _finite(value: Any) -> Any:
    """JSON has no infinity: an endless difference is None."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
    if decisions.figures:
        lines.append(f"{decisions.metric}: {_figures(decisions.figures, 'chain')}")
    return lines


def _engine_lines(cost: EnginesCost) -> list[str]:
    lines = [
        f"{cost.engines} against the fp32 chain, {cost.samples:,} samples: largest difference {cost.largest:.2g} of "
        f"the output's scale, typical {cost.typical:.2g}; "
        f"{cost.flips:,} decision flips ({cost.flips / cost.samples:.2%})"
    ]
    if cost.figures:
        *_, chain = cost.figures
        lines.append(f"{cost.metric}: {_figures(cost.figures, chain)}")
    return lines


def _figures(figures: Mapping[str, float], chain: str) -> str:
    """The metric of each, and the ratio, if the full model's is above 0."""
    each, full = ", ".join(f"{name} {value:.4f}" for name, value in figures.items()), figures["full model"]
    return each if full <= 0 else f"{each}; {chain} ÷ full model {figures[chain] / full:.4f}"
