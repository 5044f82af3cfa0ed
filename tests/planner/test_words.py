from dataclasses import replace

import numpy as np
import pytest

from etbac.planner.chance import Ahead
from etbac.planner.choices import Choices
from etbac.planner.demands import Demands
from etbac.planner.evidence import find_test
from etbac.planner.prices import Prices
from etbac.planner.words import floored, not_likely


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
