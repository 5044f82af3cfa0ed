"""What is said of samples, and of what was found with them."""

from __future__ import annotations

import math

import numpy as np

from etbac.planner.bootstrap import RESAMPLES, BootstrapTest
from etbac.planner.chance import Ahead
from etbac.planner.choices import Choices
from etbac.planner.evidence import Pairs, PrecisionTest
from etbac.planner.goal import Goal


def confidence(level: float) -> str:
    """0.05 -> 95%."""
    return f"{100 * (1 - level):.4g}%"


def floored(precision: float) -> str:
    """Four digits, never rounded up."""
    return f"{int(precision * 10_000) / 10_000:.4f}"


def amount(scores: int | float) -> str:
    """A count, or scores added up."""
    return f"{scores:,}" if isinstance(scores, int) else f"{scores:,.2f}"


def scored(n_right: int | float) -> str:
    """What the full model does on samples that were named before."""
    if isinstance(n_right, int):
        return f"{n_right:,} of them right by the full model"
    return f"on which the full model scores {amount(n_right)}"


def estimated(metric: str, pairs: Pairs, bound: float, level: float) -> str:
    """What a bootstrap says, of a metric that is no mean of scores."""
    return (
        f"asymptotic, not certified: on {_independent(pairs)} the chain's {metric} is {pairs.ratio:.4f} of the full "
        f"model's, and at least {floored(bound)} in {confidence(level)} of {RESAMPLES:,} paired bootstrap draws"
    )


def failed(goal: Goal, pairs: Pairs, level: float) -> str:
    """What the most cautious plan did on the certify set, and what it would have taken."""
    test, precision = goal.test, goal.precision
    if isinstance(test, BootstrapTest):
        found = estimated(goal.metric.name, pairs, test.best_precision(pairs, level), level)
        enough = _enough(test, pairs, precision, level)
        return f"precision {precision:g} is not shown of the most cautious plan ({found}; {enough})"
    return (
        f"precision {precision:g} is not certified at {confidence(level)} confidence: of {_independent(pairs)}, "
        f"{scored(pairs.n_right)}, the most cautious plan loses {amount(pairs.harms)} and repairs "
        f"{amount(pairs.repairs)} ({_possible(test, pairs, precision, level)})"
    )


def not_likely(ahead: Ahead, choices: Choices) -> str:
    """The sentence for a set that is not worth reading: no plan is likely to pass with it."""
    test, precision, level, search = ahead.test, ahead.precision, ahead.level, choices.statistics
    what = "samples" if search.units is None else "units"
    asked = f"precision {precision:g} at {confidence(level)} confidence"
    most = max((choice.candidate for choice in choices.plans), key=lambda each: each.net)
    pairs = search.pairs(most.thresholds)
    if isinstance(test, BootstrapTest) and math.isnan(pairs.ratio):
        return (
            f"no plan has a precision: on the search set's {pairs.n:,} samples the full model's metric is "
            f"{pairs.full_metric:.4f}, and a ratio is to one above 0; the certify set was not read"
        )
    if isinstance(test, BootstrapTest):
        return (
            f"{ahead.n:,} {what} are unlikely to show {asked}: on the search set's {pairs.n:,} the most cautious plan "
            f"keeps {pairs.ratio:.4f}, and a paired bootstrap shows {floored(test.best_precision(pairs, level))} "
            f"({_enough(test, pairs, precision, level)}); the certify set was not read"
        )
    n_right = ahead.n_right
    unharmed = Pairs(np.ones(n_right, bool), np.ones(n_right, bool))
    if test.p_value(unharmed, precision) > level:
        needed, best = test.right_needed(precision, level), floored(test.best_precision(unharmed, level))
        full, needs = f"about {scored(n_right)}", f"{needed:,} that are right"
        if not search.is_right_or_wrong:
            full, needs = f"on which the full model scores about {n_right:,}", f"a score of {needed:,}"
        return (
            f"{ahead.n:,} {what}, {full}, cannot certify {asked}, not even of a plan that loses none: the {test.name} "
            f"test needs {needs}, and of {n_right:,} certifies {best}"
        )
    return (
        f"{ahead.n:,} {what} are unlikely to certify {asked}: of the search set's {pairs.n:,} the most cautious plan "
        f"loses {amount(pairs.harms)} and repairs {amount(pairs.repairs)} "
        f"({_possible(test, pairs, precision, level)}); the certify set was not read"
    )


def _possible(test: PrecisionTest, pairs: Pairs, precision: float, level: float) -> str:
    """What is certified with pairs like these, and how many of them would do."""
    best, pairs = floored(test.best_precision(pairs.by_unit(), level)), pairs.by_unit()
    return f"{best} is what the {test.name} test certifies; {_enough(test, pairs, precision, level)}"


def _enough(test: PrecisionTest, pairs: Pairs, precision: float, level: float) -> str:
    needed = test.samples_needed(pairs, precision, level)
    number = "no number of" if needed is None else f"about {needed:,}"
    verb = "show" if isinstance(test, BootstrapTest) else "certify"
    return f"{number} samples would {verb} it at these rates"


def _independent(pairs: Pairs) -> str:
    units = "" if pairs.units is None else f" of {pairs.independent:,} units"
    return f"{pairs.n:,} samples{units}"
