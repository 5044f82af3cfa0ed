from dataclasses import replace

import numpy as np
import pytest

from etbac.errors import UsageError
from etbac.metrics import metric
from etbac.planner.bootstrap import BOOTSTRAP
from etbac.planner.evidence import TESTS
from etbac.planner.goal import Goal, check_test


def test_a_mean_is_tested_as_asked_and_another_metric_by_a_bootstrap():
    assert Goal.of(metric("accuracy"), "exact", 0.99, 0.05).test is TESTS["exact"]
    assert Goal.of(metric("mcc"), "betting", 0.99, 0.05).test is BOOTSTRAP
    with pytest.raises(UsageError, match="mcc is no mean of these; leave --test out"):
        Goal.of(metric("mcc"), "exact", 0.99, 0.05)


def test_the_exact_test_is_refused_where_it_has_nothing_to_count(statistics):
    exact, betting = (Goal.of(metric("pckh"), name, 0.99, 0.05) for name in ("exact", "betting"))
    whole = statistics(2, 40, 0)
    graded = replace(whole, scores=whole.scores * 0.5, full_scores=whole.full_scores * 0.5)
    check_test(exact, whole)
    check_test(exact, replace(whole, units=np.arange(40)))
    check_test(betting, graded)
    with pytest.raises(UsageError, match="pckh scores each from 0 to 1; ask for --test betting"):
        check_test(exact, graded)
    with pytest.raises(UsageError, match="several samples are of one unit"):
        check_test(exact, replace(whole, units=np.arange(40) // 2))
