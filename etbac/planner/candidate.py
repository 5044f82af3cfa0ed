"""A plan as the search set sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """Thresholds by exit id, the expected cost of a batch in milliseconds, and what the search set says of them."""

    thresholds: Mapping[int, float]
    cost_ms: float
    harms: int | float
    repairs: int | float
    grain: float = 1.0
    """How large a harm is: see `Pairs`."""

    @property
    def blocks(self) -> float:
        """Harms, in numbers, and one for each threshold: see `chance`."""
        return self.harms / self.grain + len(self.thresholds)

    @property
    def net(self) -> int | float:
        """Right answers more than the full model's."""
        return self.repairs - self.harms
