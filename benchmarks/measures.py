"""Targets: printed with what was reached; a missed one is counted, and changes no exit status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """A target and the figure reached, both as text, and whether it was met."""

    name: str
    target: str
    reached: str
    met: bool

    def __str__(self) -> str:
        return f"{self.name}: {self.reached} (target {self.target}): {'met' if self.met else 'missed'}"


def at_most(name: str, reached: float, limit: float, form: str = ".3f") -> Measure:
    return Measure(name, f"≤ {limit:{form}}", f"{reached:{form}}", reached <= limit)


def at_least(name: str, reached: float, limit: float, form: str = ".4f") -> Measure:
    return Measure(name, f"≥ {limit:{form}}", f"{reached:{form}}", reached >= limit)


def conclude(what: str, gates: Sequence[Measure], measures: Sequence[Measure]) -> int:
    """Print all of them and the verdict; the exit status is 0 iff every gate holds."""
    reached = [*gates, *measures]
    for line in reached:
        print(line)
    passed = all(gate.met for gate in gates)
    print(verdict(what, passed, reached))
    return 0 if passed else 1


def verdict(what: str, passed: bool, measures: Sequence[Measure]) -> str:
    """The last line of a make target."""
    missed = [measure.name for measure in measures if not measure.met]
    names = f": {', '.join(missed)}" if missed else ""
    return f"{'PASSED' if passed else 'FAILED'} {what}; missed: {len(missed)} of {len(measures)} measures{names}"
