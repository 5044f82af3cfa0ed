"""What each class loses, with its interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from etbac.planner.guarantee import best_precision
from etbac.report.collect import Tested

LEVEL = 0.05


@dataclass(frozen=True)
class Harm:
    """Of the `n_right` samples of a class that the full model gets right the chain loses `harms`; `low` to `high` is
    the 95% Clopper-Pearson interval of the share that it loses."""

    name: str
    n_right: int
    harms: int
    low: float
    high: float

    @property
    def share(self) -> float:
        return self.harms / self.n_right


def by_class(tested: Tested) -> list[Harm]:
    """The class that loses the largest share first; empty where samples have no class, or are not right or wrong."""
    statistics = tested.statistics
    if statistics.classes is None or not statistics.is_right_or_wrong:
        return []
    pairs, found = statistics.at(tested.leaves), []
    for each in np.unique(statistics.classes):
        of_class = pairs.take(statistics.classes == each)
        n_right, harms = int(of_class.n_right), int(of_class.harms)
        if n_right:
            low, high = interval(harms, n_right)
            found.append(Harm(class_name(tested, int(each)), n_right, harms, low, high))
    return sorted(found, key=lambda harm: (-harm.share, -harm.high))


def interval(count: int, of: int) -> tuple[float, float]:
    """The exact 95% interval of a share (Clopper & Pearson, Biometrika 26, 1934): two one-sided tests at half of it."""
    return best_precision(of, of - count, LEVEL / 2), 1 - best_precision(of, count, LEVEL / 2)


def class_name(tested: Tested, label: int) -> str:
    """The data set's own, or the number."""
    names = tested.samples.class_names
    return names[label] if 0 <= label < len(names) else f"class {label}"
