from dataclasses import replace

import numpy as np
import pytest

from etbac.metrics import metric
from etbac.planner.bootstrap import BOOTSTRAP
from etbac.planner.chance import Ahead
from etbac.planner.choices import Choices
from etbac.planner.demands import Demands
from etbac.planner.evidence import Parts, find_test
from etbac.planner.prices import Prices
from etbac.planner.words import floored, not_likely, scored


@pytest.mark.parametrize("name", ["betting", "exact"])
@pytest.mark.parametrize(("every", "number"), [(100, "about"), (10, "no number of")])
def test_a_set_that_is_not_worth_reading_is_said_with_what_it_would_take(statistics, matrix, name, every, number):
    """Not even the whole chain answers as the full model does, as with a coarse dtype."""
    made, table, test = statistics(2, 1_000, 0), matrix(2, 0), find_test(name)
    wrong = np.arange(made.n) % every == 0
    sample = replace(made, scores=np.tile(~wrong, (3, 1)), full_scores=np.ones(made.n, bool))
    found = Choices(sample, Prices.expected(table, 4, made.n), Demands(sample, Prices.exactly(table, 4)))
    sentence = not_likely(Ahead(test, 0.98, 0.05, made.n, made.n), found)

    pairs = sample.pairs({})
    assert f"loses {pairs.harms:,} and repairs 0" in sentence
    assert f"{floored(test.best_precision(pairs, 0.05))} is what the {name} test certifies" in sentence
    needed = test.samples_needed(pairs, 0.98, 0.05)
    assert f"{number} {'' if needed is None else f'{needed:,} '}samples would certify it at these rates" in sentence


def test_where_the_full_model_has_no_metric_there_is_no_precision(statistics, matrix):
    made, table = statistics(2, 200, 0), matrix(2, 0)
    zeros = np.zeros((3, made.n, 4))
    sample = replace(made, parts=Parts(zeros, zeros[0], metric("mcc").value))
    found = Choices(sample, Prices.expected(table, 4, made.n), Demands(sample, Prices.exactly(table, 4)))
    sentence = not_likely(Ahead(BOOTSTRAP, 0.98, 0.05, made.n, made.n), found)
    assert "200 samples the full model's metric is 0.0000, and a ratio is to one above 0" in sentence


@pytest.mark.parametrize(
    ("n_right", "said"),
    [(1_200, "1,200 of them right by the full model"), (1200.5, "on which the full model scores 1,200.50")],
)
def test_counts_and_scores_are_said_each_in_their_way(n_right, said):
    assert scored(n_right) == said
