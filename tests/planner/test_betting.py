import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etbac.planner import betting
from etbac.planner.guarantee import exact_test

PRECISION, DELTA = 0.9968, 0.05


def draw(rng: np.random.Generator, n: int, right: float, harms: float, repairs: float):
    """`right`, `harms` and `repairs` are shares of all samples; returns the chain's and the full model's rightness."""
    kind = rng.choice(4, n, p=[right - harms, harms, repairs, 1 - right - repairs])
    return (kind == 0) | (kind == 2), kind <= 1


def growth(kept: float, harms: float, repairs: float) -> np.ndarray:
    """Of a chain and a full model whose answers have these shares of all samples."""
    counts = [round(100_000 * share) for share in (kept, harms, repairs, 1 - kept - harms - repairs)]
    kind = np.repeat(np.arange(4), counts)
    return betting.growth((kind == 0) | (kind == 2), kind <= 1, PRECISION)


def just_below(right: float, repairs: float, precision: float) -> float:
    """The share of harms with which the true ratio is a hair below `precision`."""
    return right * (1 - precision) + repairs + 1e-9


@pytest.mark.parametrize(
    ("precision", "n", "right", "repairs"),
    [
        (0.9968, 1_500, 0.93, 0.0),
        (0.9968, 3_000, 0.93, 0.004),
        (0.9968, 2_000, 0.75, 0.05),
        (0.98, 600, 0.9, 0.0),
        (0.98, 1_000, 0.8, 0.03),
        (0.9, 300, 0.6, 0.1),
    ],
)
def test_a_plan_just_below_the_precision_is_certified_no_more_often_than_the_level(precision, n, right, repairs):
    rng = np.random.default_rng(n)
    sets = 2_000
    harms = just_below(right, repairs, precision)
    rejected = sum(betting.betting_test(*draw(rng, n, right, harms, repairs), precision) <= DELTA for _ in range(sets))
    assert rejected <= DELTA * sets + 3 * math.sqrt(DELTA * (1 - DELTA) * sets)


@pytest.mark.parametrize(
    ("n", "harms", "repairs"), [(5_000, 0.003, 0.003), (10_000, 0.004, 0.004), (5_000, 0.02, 0.03)]
)
def test_where_repairs_are_frequent_it_certifies_more_often_than_the_exact_test(n, harms, repairs):
    rng = np.random.default_rng(n)
    betting_passed = exact_passed = 0
    for _ in range(200):
        chain, full = draw(rng, n, 0.93, harms, repairs)
        betting_passed += betting.betting_test(chain, full, PRECISION) <= DELTA
        exact_passed += exact_test(int(full.sum()), int((full & ~chain).sum()), PRECISION) <= DELTA
    assert betting_passed > 2 * exact_passed + 20


@given(
    n=st.integers(1, 200),
    seed=st.integers(0, 2**32 - 1),
    precision=st.floats(0.01, 0.999),
    rates=st.tuples(*[st.floats(0, 0.4)] * 2),
)
@settings(max_examples=200)
def test_the_p_value_is_one_over_the_highest_capital_of_the_game(n, seed, precision, rates):
    """Played sample by sample, without the shortcut over the times of harms."""
    chain, full = draw(np.random.default_rng(seed), n, 0.55, *rates)
    order = np.random.default_rng(betting.ORDER_SEED).permutation(n)
    capital, highest = np.ones(len(betting.BETS)), 1.0
    for c, f in zip(chain[order], full[order], strict=True):
        capital *= 1 + betting.BETS * (float(c) - precision * float(f))
        highest = max(highest, capital @ betting.STAKES)
    expected = 1.0 if chain.sum() < precision * full.sum() else 1 / highest
    assert betting.betting_test(chain, full, precision) == pytest.approx(expected, rel=1e-9)


def test_a_set_that_has_less_than_the_precision_itself_never_passes():
    full = np.ones(4_000, bool)
    order = np.random.default_rng(betting.ORDER_SEED).permutation(len(full))
    chain = full.copy()
    chain[order[2_000:2_100]] = False  # 2,000 samples without a harm, which alone would pass, then a hundred harms
    assert betting.betting_test(chain, full, PRECISION) == 1
    assert betting.best_precision(chain, full, DELTA) <= chain.mean()
    assert betting.betting_test(chain[order[:2_000]], full[:2_000], PRECISION) <= DELTA


def test_the_best_precision_is_where_the_test_just_passes():
    chain, full = draw(np.random.default_rng(0), 4_000, 0.9, 0.004, 0.002)
    best = betting.best_precision(chain, full, DELTA)
    assert 0.98 < best < 0.9985
    assert betting.betting_test(chain, full, best) <= DELTA
    assert betting.betting_test(chain, full, best + 1e-6) > DELTA


def test_nothing_is_certified_of_a_chain_that_is_always_wrong():
    full = np.ones(100, bool)
    assert betting.best_precision(~full, full, DELTA) < 1e-6
    assert betting.betting_test(~full, full, 0.5) == 1


@pytest.mark.parametrize("rates", [(0.93, 0.0, 0.0), (0.928, 0.002, 0.001), (0.91, 0.02, 0.02)])
def test_as_many_samples_as_are_needed_pass_when_they_have_the_rates(rates):
    needed = betting.samples_needed(growth(*rates), DELTA)
    assert needed is not None
    enough, short = (np.array([rates]) * n for n in (needed, needed - 1))
    assert betting.log_capital(enough, PRECISION)[0] >= math.log(1 / DELTA) > betting.log_capital(short, PRECISION)[0]


def test_no_number_of_samples_is_enough_below_the_precision():
    assert betting.samples_needed(growth(0.92, 0.004, 0.001), DELTA) is None


@given(n=st.integers(1, 200), seed=st.integers(0, 2**32 - 1), precision=st.floats(0.01, 0.999))
def test_right_and_wrong_as_fractions_give_the_same_p_value(n, seed, precision):
    chain, full = draw(np.random.default_rng(seed), n, 0.55, 0.2, 0.2)
    fractions = betting.betting_test(chain.astype(float), full.astype(float), precision)
    assert fractions == pytest.approx(betting.betting_test(chain, full, precision), rel=1e-9)


def graded(rng: np.random.Generator, n: int, loss: float, spread: float):
    """Scores in [0, 1]: the chain's is lower by `loss` on the mean, of rare large losses and of noise."""
    full = rng.beta(8, 2, n)
    lost = (rng.random(n) < loss / 0.4) * rng.uniform(0.6, 1, n) / 0.8 * 0.5
    return np.clip(full * (1 - lost) + spread * rng.uniform(-1, 1, n) * full * (1 - full), 0, 1), full


@pytest.mark.parametrize(("n", "loss", "spread"), [(300, 0.05, 0.0), (1_000, 0.02, 0.5), (2_000, 0.01, 1.0)])
def test_of_fractions_too_a_plan_just_below_the_precision_is_certified_no_more_often_than_the_level(n, loss, spread):
    rng = np.random.default_rng(n)
    chain, full = graded(rng, 1_000_000, loss, spread)
    precision, sets = chain.mean() / full.mean() + 1e-4, 1_000
    rejected = sum(betting.betting_test(*graded(rng, n, loss, spread), precision) <= DELTA for _ in range(sets))
    assert rejected <= DELTA * sets + 3 * math.sqrt(DELTA * (1 - DELTA) * sets)
    assert sum(betting.betting_test(*graded(rng, n, loss / 20, 0), precision) <= DELTA for _ in range(20)) > 10


def test_the_best_precision_of_fractions_is_where_the_test_just_passes():
    chain, full = graded(np.random.default_rng(0), 3_000, 0.004, 0.2)
    best = betting.best_precision(chain, full, DELTA)
    assert best < chain.mean() / full.mean()
    assert betting.betting_test(chain, full, best) <= DELTA < betting.betting_test(chain, full, best + 1e-6)
