from __future__ import annotations

import pytest
from scipy.stats import beta

from etbac.report.harm import interval


@pytest.mark.parametrize(("count", "of"), [(0, 10), (1, 10), (7, 900), (10, 10), (500, 1000)])
def test_the_interval_is_clopper_and_pearsons(count, of):
    low, high = interval(count, of)
    assert low == pytest.approx(0 if count == 0 else beta.ppf(0.025, count, of - count + 1), abs=1e-9)
    assert high == pytest.approx(1 if count == of else beta.ppf(0.975, count + 1, of - count), abs=1e-9)
