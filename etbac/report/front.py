"""The plans that the search set offered, and those that were tested on the certify set."""

from __future__ import annotations

from dataclasses import dataclass

from etbac.contract import Plan

SEARCHED, PASSED, FAILED, CHOSEN = "search set", "passed", "failed", "the plan"


@dataclass(frozen=True)
class Point:
    """A plan: milliseconds predicted with its exits alone; its precision, on the certify set where it was tested
    there and otherwise on the search set; and what became of it."""

    predicted_ms: float
    precision: float
    fate: str


def front(plan: Plan) -> list[Point]:
    """The search set's, from the most cautious to the boldest, then the tested ones; empty where none were."""
    tested = plan.certificate or plan.estimate or {}
    points = [
        Point(row["predicted_ms"], row["precision"], SEARCHED)
        for row in plan.search.get("front", ())
        if row["precision"] is not None
    ]
    for trial in tested.get("sequence", ()):
        thresholds = {int(exit_id): threshold for exit_id, threshold in trial["thresholds"].items()}
        fate = PASSED if trial["passed"] else FAILED
        kept = trial["ratio"] if "ratio" in trial else 1 + (trial["repairs"] - trial["harms"]) / tested["n"]
        points.append(Point(trial["predicted_ms"], kept, CHOSEN if thresholds == dict(plan.thresholds) else fate))
    return points
