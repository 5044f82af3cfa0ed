"""The plans that were put to the test: what each costs and keeps."""

from __future__ import annotations

from dataclasses import dataclass

from etbac.contract import Plan


@dataclass(frozen=True)
class Point:
    """One candidate on the certify set: its predicted milliseconds, its precision there, whether it passed the test,
    and whether it is the plan."""

    predicted_ms: float
    precision: float
    exits: tuple[int, ...]
    passed: bool
    chosen: bool


def front(plan: Plan) -> list[Point]:
    """In the order of their tests; empty where nothing was certified."""
    certificate = plan.certificate or {}
    n_right = certificate.get("n")
    if not n_right:
        return []
    points = []
    for trial in certificate.get("sequence", ()):
        thresholds = {int(exit_id): threshold for exit_id, threshold in trial["thresholds"].items()}
        kept = n_right - trial["harms"] + trial["repairs"]
        chosen = thresholds == dict(plan.thresholds)
        exits = tuple(sorted(thresholds))
        points.append(Point(trial["predicted_ms"], kept / n_right, exits, trial["passed"], chosen))
    return points
