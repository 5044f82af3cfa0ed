import math

import numpy as np
import pytest

from etbac.metrics import METRICS
from etbac.planner.bootstrap import BOOTSTRAP, RESAMPLES, ratios
from etbac.planner.chance import Ahead, chance_by_bootstrap
from etbac.planner.evidence import Pairs, Parts

LEVEL = 0.05


def answers(rng: np.random.Generator, n: int, full: float, differs: float, right_where: float) -> Pairs:
    """Of two classes, the second at three in ten: the full model is right at `full`, and the chain answers otherwise
    where it differs, more often the right thing the higher `right_where`."""
    labels = (rng.random(n) < 0.3).astype(int)
    theirs = np.where(rng.random(n) < full, labels, 1 - labels)
    changed = rng.random(n) < differs
    ours = np.where(changed, np.where(rng.random(n) < right_where, labels, 1 - labels), theirs)
    return pairs(ours, theirs, labels)


def pairs(ours: np.ndarray, theirs: np.ndarray, labels: np.ndarray, units: np.ndarray | None = None) -> Pairs:
    f1 = METRICS["f1"]
    chain, full = (f1.rows(np.eye(2)[each], labels) for each in (ours, theirs))
    return Pairs(ours == labels, theirs == labels, Parts(chain, full, f1.value), units)


def test_the_ratio_is_of_the_metric_itself():
    found = pairs(np.array([1, 0, 0, 1]), np.array([1, 1, 0, 0]), np.array([1, 1, 0, 0]))
    assert (found.full_metric, found.chain_metric) == (1, 0.5)
    assert found.ratio == 0.5
    assert (found.harms, found.repairs) == (2, 0)


def test_a_chain_that_answers_as_the_full_model_does_keeps_everything():
    same = answers(np.random.default_rng(0), 300, 0.9, 0.0, 0.0)
    assert BOOTSTRAP.p_value(same, 0.9999) == 1 / (1 + RESAMPLES)
    assert BOOTSTRAP.best_precision(same, LEVEL) == 1


def test_the_bound_is_where_the_test_just_passes():
    found = answers(np.random.default_rng(1), 800, 0.9, 0.1, 0.8)
    best = BOOTSTRAP.best_precision(found, LEVEL)
    assert best < found.ratio
    assert BOOTSTRAP.p_value(found, best) <= LEVEL < BOOTSTRAP.p_value(found, best + 1e-9)
    assert BOOTSTRAP.best_precision(found, 1e-4) == 0


def test_with_many_samples_a_plan_just_below_the_precision_passes_about_as_often_as_the_level():
    """The true ratio is found on a million samples."""
    rng = np.random.default_rng(2)
    precision = answers(rng, 1_000_000, 0.9, 0.06, 0.75).ratio
    passed = sum(BOOTSTRAP.p_value(answers(rng, 500, 0.9, 0.06, 0.75), precision) <= LEVEL for _ in range(100))
    assert passed <= 100 * LEVEL + 3 * math.sqrt(100 * LEVEL * (1 - LEVEL))
    assert passed >= 1


def test_units_are_drawn_whole():
    """Copies add nothing: every sample four times is as uncertain as once, if it is known."""
    once = answers(np.random.default_rng(3), 200, 0.9, 0.1, 0.7)
    rows = np.repeat(np.arange(200), 4)
    copies = once.take(rows)
    known = Pairs(copies.chain, copies.full, copies.parts, rows)
    assert known.independent == 200
    np.testing.assert_allclose(np.std(ratios(known)), np.std(ratios(once)), rtol=1e-6)
    assert np.std(ratios(copies)) < 0.6 * np.std(ratios(once))


def test_a_full_model_that_is_never_right_keeps_nothing():
    labels = np.ones(50, int)
    never = pairs(labels, 1 - labels, labels)
    assert math.isnan(never.ratio)
    assert BOOTSTRAP.p_value(never, 0.5) == 1
    assert BOOTSTRAP.best_precision(never, LEVEL) == 0
    assert BOOTSTRAP.samples_needed(never, 0.5, LEVEL) is None
    assert chance_by_bootstrap(Ahead(BOOTSTRAP, 0.5, LEVEL, 50, 0), never) == 0


def test_as_many_samples_as_are_needed_bring_the_bound_there():
    found = answers(np.random.default_rng(4), 400, 0.9, 0.1, 0.8)
    precision = (found.ratio + BOOTSTRAP.best_precision(found, LEVEL)) / 2
    needed = BOOTSTRAP.samples_needed(found, precision, LEVEL)
    assert 3 * found.n < needed < 6 * found.n
    grown = found.take(np.resize(np.arange(found.n), needed))
    assert BOOTSTRAP.best_precision(grown, LEVEL) == pytest.approx(precision, abs=0.002)
    assert BOOTSTRAP.samples_needed(found, found.ratio + 0.001, LEVEL) is None


def test_the_chance_tells_how_often_plans_pass():
    rng = np.random.default_rng(5)
    search = answers(rng, 4_000, 0.9, 0.06, 0.75)
    precision = search.ratio - 0.012
    passed = np.mean([BOOTSTRAP.p_value(answers(rng, 800, 0.9, 0.06, 0.75), precision) <= LEVEL for _ in range(60)])
    assert chance_by_bootstrap(Ahead(BOOTSTRAP, precision, LEVEL, 800, 720), search) == pytest.approx(passed, abs=0.25)
    assert chance_by_bootstrap(Ahead(BOOTSTRAP, precision - 0.1, LEVEL, 800, 720), search) > 0.99
