from __future__ import annotations

from dataclasses import replace

import pytest

from etbac.engine_dir import EngineDir
from etbac.report.front import CHOSEN, SEARCHED, front


def test_the_plan_is_one_of_those_tested_and_has_its_certificates_precision(complete):
    plan = EngineDir.open(complete).plan
    assert plan is not None
    assert plan.certificate is not None
    points = front(plan)
    (chosen,) = (point for point in points if point.fate == CHOSEN)
    certificate = plan.certificate
    kept = certificate["n"] - certificate["harms"] + certificate["repairs"]
    assert chosen.precision == pytest.approx(kept / certificate["n"])
    assert len([point for point in points if point.fate == SEARCHED]) == len(plan.search["front"])


def test_a_plan_that_recorded_neither_has_none(complete):
    plan = EngineDir.open(complete).plan
    assert plan is not None
    assert front(replace(plan, certificate=None, search={})) == []
