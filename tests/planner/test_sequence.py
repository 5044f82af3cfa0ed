import numpy as np
import pytest
from scipy import stats

from etbac.planner.candidate import Candidate
from etbac.planner.chance import Ahead, chance
from etbac.planner.choices import Choices
from etbac.planner.demands import Demands
from etbac.planner.evidence import TESTS, find_test
from etbac.planner.guarantee import allowed_harms
from etbac.planner.prices import Prices
from etbac.planner.sequence import PASS_PROBABILITIES, candidates, run_sequence
from etbac.planner.statistics import ExitStatistics

PRECISION, DELTA = 0.98, 0.05
EXACT = find_test("exact")


def ahead(n: int, n_right: int, test=EXACT) -> Ahead:
    return Ahead(test, PRECISION, DELTA, n, n_right)


def choices(search: ExitStatistics, table, test=EXACT) -> Choices:
    return Choices(
        search, Prices.expected(table, 16, search.n), Demands(search, Prices.exactly(table, 16)), test.credits
    )


def draw(population: ExitStatistics, n: int, rng: np.random.Generator) -> ExitStatistics:
    return population.take(rng.integers(0, population.n, n))


@pytest.mark.parametrize("test", TESTS.values(), ids=TESTS)
def test_candidates_grow_bolder_and_faster(statistics, matrix, test):
    search = statistics(4, 4_000, 1)
    next_set = ahead(4_000, search.n_right, test)
    found = candidates(choices(search, matrix(4, 1), test), next_set)
    chances = [chance(next_set, each.blocks, each.repairs, search.n, search.n_right) for each in found]
    assert len(found) > 1
    assert all(odds >= least for odds, least in zip(chances, PASS_PROBABILITIES, strict=False))
    assert [each.cost_ms for each in found] == sorted({each.cost_ms for each in found}, reverse=True)


def test_too_few_samples_have_no_candidate(statistics, matrix):
    offered = choices(statistics(2, 500, 1), matrix(2, 1))
    assert candidates(offered, ahead(140, 140)) == ()
    assert candidates(offered, ahead(160, 160)) != []


def test_the_first_failure_ends_the_sequence():
    """Thresholds 0.9, 0.5 and 0.1 let 0, 40 and again 40 harmful samples of 1,000 go: the third is never looked at."""
    confidence = np.where(np.arange(1_000) < 40, 0.6, 0.95).astype(np.float32)[None]
    right = np.ones((2, 1_000), bool)
    right[0, :40] = False
    certify = ExitStatistics((1,), confidence, right, right[1])
    sequence = [Candidate({1: threshold}, 1.0, 0, 0) for threshold in (0.9, 0.5, 0.1)]
    trials = run_sequence(sequence, certify, EXACT, PRECISION, DELTA)
    assert [(trial.pairs.harms, trial.passed) for trial in trials] == [(0, True), (40, False)]


@pytest.mark.parametrize("extra", [0, 1])
def test_a_candidate_passes_with_just_the_harms_that_are_allowed(extra):
    harms = allowed_harms(1_000, PRECISION, DELTA) + extra
    right = np.ones((2, 1_000), bool)
    right[0, :harms] = False
    certify = ExitStatistics((1,), np.ones((1, 1_000), np.float32), right, right[1])
    (trial,) = run_sequence([Candidate({1: 0.5}, 1.0, 0, 0)], certify, EXACT, PRECISION, DELTA)
    assert trial.pairs.harms == harms
    assert trial.passed == (extra == 0)


@pytest.mark.parametrize("test", TESTS.values(), ids=TESTS)
def test_what_is_certified_holds_in_the_population_as_often_as_promised(statistics, matrix, test):
    """Search and certify sets drawn again and again: bad certificates stay within the level, and most draws get one."""
    population, n = statistics(3, 100_000, 5), 500
    rng = np.random.default_rng(n)
    trials, violated, certified = 150, 0, 0
    for _ in range(trials):
        search, certify = draw(population, n, rng), draw(population, n, rng)
        sequence = candidates(choices(search, matrix(3, 5), test), ahead(n, search.n_right, test))
        passed = [trial for trial in run_sequence(sequence, certify, test, PRECISION, DELTA) if trial.passed]
        if passed and passed[-1].candidate.thresholds:
            certified += 1
            violated += population.replay(passed[-1].candidate.thresholds).precision < PRECISION
    assert violated <= stats.binom.isf(0.01, trials, DELTA)
    assert certified >= 0.6 * trials


def graded(exits: int, n: int, seed: int, joints: int = 16) -> ExitStatistics:
    """A sample's score is the share of its joints that are right, each of a hardness near its picture's."""
    rng = np.random.default_rng(seed)
    hardness = rng.random(n)
    each = hardness[:, None] + 0.15 * rng.standard_normal((n, joints))
    limits = np.sort(rng.uniform(0.7, 1.0, exits + 1))[:, None, None]
    right = each + 0.08 * rng.standard_normal((exits + 1, n, joints)) < limits
    sure = limits[:-1, 0] - hardness + 0.03 * rng.standard_normal((exits, n))
    scores = right.mean(axis=2)
    return ExitStatistics(tuple(range(1, exits + 1)), sure.astype(np.float32), scores, scores[-1])


def test_of_fractions_too_what_is_certified_holds_and_most_draws_are(matrix):
    population, n, test = graded(3, 30_000, 5), 600, TESTS["betting"]
    rng = np.random.default_rng(n)
    trials, violated, certified, cost = 40, 0, 0, []
    for _ in range(trials):
        search, certify = draw(population, n, rng), draw(population, n, rng)
        offered = choices(search, matrix(3, 5), test)
        sequence = candidates(offered, ahead(n, round(search.n_right), test))
        passed = [trial for trial in run_sequence(sequence, certify, test, PRECISION, DELTA) if trial.passed]
        if passed and passed[-1].candidate.thresholds:
            certified += 1
            violated += population.replay(passed[-1].candidate.thresholds).precision < PRECISION
            cost.append(passed[-1].candidate.cost_ms / offered.fastest(PRECISION).cost_ms)
    assert violated <= stats.binom.isf(0.01, trials, DELTA)
    assert certified >= 0.9 * trials
    assert np.mean(cost) < 1.2
