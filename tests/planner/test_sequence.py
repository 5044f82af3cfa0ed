import numpy as np
import pytest
from scipy import stats

from etbac.planner.guarantee import allowed_harms
from etbac.planner.prediction import stage_costs
from etbac.planner.search import Candidate
from etbac.planner.sequence import candidates, run_sequence
from etbac.planner.statistics import ExitStatistics

PRECISION, DELTA = 0.98, 0.05


def draw(population: ExitStatistics, n: int, rng: np.random.Generator) -> ExitStatistics:
    rows = rng.integers(0, population.n, n)
    return ExitStatistics(
        population.exits, population.confidence[:, rows], population.right[:, rows], population.full_right[rows]
    )


def test_candidates_grow_bolder_and_faster(statistics, matrix):
    search = statistics(4, 4_000, 1)
    costs = stage_costs(matrix(4, 1), 16, np.arange(4_001) / 4_000)
    found = candidates(search, costs, 4_000, PRECISION, DELTA)
    blocks, cost = [each.blocks for each in found], [each.cost_ms for each in found]
    assert len(found) > 1
    assert blocks == sorted(set(blocks))
    assert cost == sorted(cost, reverse=True)
    assert blocks[-1] <= allowed_harms(4_000, PRECISION, DELTA) + 1


def test_too_few_samples_have_no_candidate(statistics, matrix):
    search = statistics(2, 500, 1)
    costs = stage_costs(matrix(2, 1), 16, np.arange(501) / 500)
    assert candidates(search, costs, 140, PRECISION, DELTA) == []
    assert candidates(search, costs, 160, PRECISION, DELTA) != []


def test_the_first_failure_ends_the_sequence():
    """Thresholds 0.9, 0.5 and 0.1 let 0, 40 and again 40 harmful samples of 1,000 go: the third is never looked at."""
    confidence = np.where(np.arange(1_000) < 40, 0.6, 0.95).astype(np.float32)[None]
    right = np.ones((2, 1_000), bool)
    right[0, :40] = False
    certify = ExitStatistics((1,), confidence, right, right[1])
    sequence = [Candidate({1: threshold}, 1, 1.0) for threshold in (0.9, 0.5, 0.1)]
    trials = run_sequence(sequence, certify, PRECISION, DELTA)
    assert [(trial.harms, trial.passed) for trial in trials] == [(0, True), (40, False)]


@pytest.mark.parametrize("extra", [0, 1])
def test_a_candidate_passes_with_just_the_harms_that_are_allowed(extra):
    harms = allowed_harms(1_000, PRECISION, DELTA) + extra
    right = np.ones((2, 1_000), bool)
    right[0, :harms] = False
    certify = ExitStatistics((1,), np.ones((1, 1_000), np.float32), right, right[1])
    (trial,) = run_sequence([Candidate({1: 0.5}, 1, 1.0)], certify, PRECISION, DELTA)
    assert trial.harms == harms
    assert trial.passed == (extra == 0)


def test_what_is_certified_holds_in_the_population_as_often_as_promised(statistics, matrix):
    """Search and certify sets drawn again and again: bad certificates stay within the level, and most draws get one."""
    population, n = statistics(3, 100_000, 5), 500
    rng = np.random.default_rng(n)
    costs = stage_costs(matrix(3, 5), 16, np.arange(n + 1) / n)
    trials, violated, certified = 150, 0, 0
    for _ in range(trials):
        search, certify = draw(population, n, rng), draw(population, n, rng)
        sequence = candidates(search, costs, certify.n_right, PRECISION, DELTA)
        passed = [trial for trial in run_sequence(sequence, certify, PRECISION, DELTA) if trial.passed]
        if passed:
            certified += 1
            violated += population.replay(passed[-1].candidate.thresholds).precision < PRECISION
    assert violated <= stats.binom.isf(0.01, trials, DELTA)
    assert certified >= 0.8 * trials
