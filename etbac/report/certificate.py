"""A plan's certificate in words: what is claimed, from what, and when it holds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from etbac.planner.words import amount, scored
from etbac.report.collect import Figures
from etbac.report.html import Html, element


def about(figures: Figures) -> Iterator[str | Html]:
    """Paragraphs."""
    plan, standing = figures.plan, figures.standing
    if not standing.certified:
        yield element("p", f"Nothing is certified of this chain as it runs here: {standing.reason}.", class_="warn")
    if plan is not None and plan.estimate is not None:
        yield _estimate(plan.estimate)
    if plan is None or plan.certificate is None:
        return
    found = plan.certificate
    yield (
        f"Claim: on samples like those of the certify set, the chain's {found['metric']} is at least "
        f"{plan.precision:g} times the full model's. If that were false, the test would have passed with a "
        f"probability of at most {found['level']:.4g}."
    )
    yield (
        f"Evidence: of {found['samples']:,} samples of the certify set{_units(found)}, {scored(found['n'])}, the chain "
        f"loses {amount(found['harms'])} and repairs {amount(found['repairs'])}. The {found['test']} test gives "
        f"p = {found['p_value']:.2g}, and would certify up to {ratio(found['best_precision'])}. {_others(found)}"
    )
    yield (
        f"This was reading {found['reading']} of these data, however they are split; all readings hold together at "
        f"{100 * (1 - found['levels_summed']):.4g}% confidence."
    )
    premises = (
        "New samples are drawn as those of the certify set were: etbac monitor compares them.",
        f"The chain runs with the plan's thresholds and these very engines ({_made_with(found)}).",
        "The certify set was not used to train the model or its exits, nor to choose thresholds.",
        f"The claim is of the mean over all {'samples' if found.get('units') is None else 'units'}, not of each class, "
        "and not of a single answer.",
    )
    yield Html("<p>It holds as long as</p>" + element("ul", *(element("li", each) for each in premises)))


def _estimate(found: Any) -> str:
    return (
        f"On {found['samples']:,} samples of the certify set{_units(found)} the chain's {found['metric']} was "
        f"{ratio(found['ratio'])} of the full model's. Of {found['resamples']:,} paired bootstrap draws from these "
        f"{100 * (1 - found['level']):.4g}% have at least {ratio(found['best_precision'])}: that bound is right for "
        "very many samples, and certifies nothing of a given number."
    )


def _units(found: Any) -> str:
    """Where several samples are of one, which then count alike."""
    return "" if found.get("units") is None else f", {found['units']:,} units that count alike"


def ratio(precision: float | None) -> str:
    """Four digits, rounded down: what is claimed is never more than what was found."""
    return "–" if precision is None or math.isnan(precision) else f"{math.floor(precision * 10_000) / 10_000:.4f}"


def _others(found: Any) -> str:
    return " ".join(
        f"The {other['test']} test, beside it, gives p = {other['p_value']:.2g}." for other in found.get("others", ())
    )


def _made_with(found: Any) -> str:
    hashes = ", ".join(each[:8] for each in found["segments"])
    return f"{found['backend']}, {found['device']}, {found['dtype']}; segments {hashes}"
