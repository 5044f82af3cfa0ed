import numpy as np
import pytest

from etbac.errors import UsageError
from etbac.planner.evidence import TESTS, Pairs, find_test

LEVEL = 0.05
rng = np.random.default_rng(0)
FULL = rng.random(5_000) < 0.9
CHAIN = np.where(rng.random(5_000) < 0.002, ~FULL, FULL)
PAIRS = Pairs(CHAIN, FULL)


def test_pairs_count_what_is_lost_and_what_is_repaired():
    pairs = Pairs(np.array([True, False, True, False]), np.array([True, True, False, False]))
    assert (pairs.n, pairs.n_right, pairs.harms, pairs.repairs) == (4, 2, 1, 1)


@pytest.mark.parametrize("test", TESTS.values(), ids=TESTS)
def test_a_tests_answers_agree_with_each_other(test):
    best = test.best_precision(PAIRS, LEVEL)
    assert test.p_value(PAIRS, best - 1e-5) <= LEVEL < test.p_value(PAIRS, best + 1e-5)
    needed = test.right_needed(0.99, LEVEL)
    for n, enough in ((needed, True), (needed - 1, False)):
        unharmed = np.ones(n, bool)
        assert (test.p_value(Pairs(unharmed, unharmed), 0.99) <= LEVEL) == enough


@pytest.mark.parametrize("test", TESTS.values(), ids=TESTS)
def test_sets_with_as_many_samples_as_are_needed_pass(test):
    precision = test.best_precision(PAIRS, LEVEL) + 0.0002
    needed = test.samples_needed(PAIRS, precision, LEVEL)
    assert needed > PAIRS.n
    grown = needed / PAIRS.n
    harms, repairs = (np.array([round(count * grown)]) for count in (PAIRS.harms, PAIRS.repairs))
    right = round(PAIRS.n_right * grown)
    assert test.passes(right, harms, repairs, precision - 0.0001, LEVEL).tolist() == [True]
    assert test.passes(right, harms * 3, repairs, precision, LEVEL).tolist() == [False]


def test_no_number_of_samples_helps_a_chain_that_is_worse_than_asked_or_a_model_that_is_never_right():
    never = np.zeros(10, bool)
    for test in TESTS.values():
        assert test.samples_needed(PAIRS, 0.99999, LEVEL) is None
    assert find_test("exact").samples_needed(Pairs(never, never), 0.9, LEVEL) is None


def test_tests_are_found_by_name():
    with pytest.raises(UsageError, match="betting, exact"):
        find_test("bootstrap")


def test_of_fractions_what_is_lost_and_gained_is_added_up():
    pairs = Pairs(np.array([0.5, 0.9, 1.0, 0.2]), np.array([1.0, 0.8, 1.0, 0.3]))
    assert (pairs.n_right, pairs.harms, pairs.repairs) == pytest.approx((3.1, 0.6, 0.1))
    assert pairs.ratio == pytest.approx(2.6 / 3.1)
    assert pairs.grain == pytest.approx((0.25 + 0.01) / 0.6)
    assert PAIRS.grain == Pairs(pairs.full, pairs.full).grain == 1


def test_units_with_several_samples_are_tested_by_their_means():
    chain, full = np.array([1, 0, 1, 1], bool), np.array([1, 1, 0, 1], bool)
    by_unit = Pairs(chain, full, units=np.array([7, 7, 3, 7])).by_unit()
    np.testing.assert_allclose([by_unit.chain, by_unit.full], [[1, 2 / 3], [0, 1]])
    each = Pairs(chain, full, units=np.arange(4))
    assert each.by_unit() is each
    copies = np.repeat(np.arange(PAIRS.n), 2)
    known, unknown = (Pairs(CHAIN[copies], FULL[copies], None, units) for units in (copies, None))
    p_value = TESTS["betting"].p_value
    assert p_value(known.by_unit(), 0.99) == pytest.approx(p_value(Pairs(CHAIN * 1.0, FULL * 1.0), 0.99))
    assert p_value(unknown, 0.99) < p_value(known.by_unit(), 0.99)


def test_the_exact_test_does_not_take_fractions_for_counts():
    with pytest.raises(ValueError, match="right or wrong"):
        TESTS["exact"].p_value(Pairs(np.array([0.5]), np.array([1.0])), 0.9)
