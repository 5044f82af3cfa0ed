"""Is the chain the model that it was cut from? Every row against the uncut model at the exit where the row left."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from etbac.contract import FULL_MODEL_ID
from etbac.errors import VerificationError
from etbac.runtime.chain import Chain

TOLERANCE = 1e-4
"""Largest difference allowed, relative to the output's scale (its largest absolute value)."""
BATCHES = (1, 2, 7, 16, 64)

Array = npt.NDArray[Any]
Fields = Mapping[str, Array]
Inputs = Mapping[str, Array]


class Reference(Protocol):
    """The uncut model. Rows are on axis 0 of every answer."""

    def answers(self, inputs: Inputs) -> Mapping[int, Fields]:
        """Every exit's fields by exit id, the full model's under 0."""


@dataclass(frozen=True)
class Check:
    """One comparison: `difference` is the largest over all rows and fields, ÷ the output's scale."""

    what: str
    batch: int
    difference: float

    @property
    def passed(self) -> bool:
        return self.difference <= TOLERANCE


@dataclass
class Report:
    """All comparisons made."""

    checks: list[Check] = field(default_factory=list)

    @property
    def largest(self) -> float:
        return max((check.difference for check in self.checks), default=0.0)

    def require(self) -> Report:
        """Itself, or a VerificationError that names the worst comparison."""
        failed = [check for check in self.checks if not check.passed]
        if failed:
            worst = max(failed, key=lambda check: check.difference)
            raise VerificationError(
                f"the chain differs from the uncut model ({worst.what}, batch {worst.batch}: {worst.difference:.2g} of "
                f"the output's scale, {TOLERANCE:g} is allowed; {len(failed)} of {len(self.checks)} comparisons failed)"
            )
        return self


def verify_chain(
    chain: Chain,
    reference: Reference,
    draws: Mapping[str, Callable[[int], Inputs]],
    batches: Sequence[int] = BATCHES,
    seed: int = 0,
    forced: bool = True,
) -> Report:
    """Compare every row with the uncut model at the exit where the row left.

    `draws`: by the kind of inputs ("made-up", "real", …), a function that gives so many rows. Each batch is run with
    exits off and, where `forced`, with forced exits: at random, all at the first, alternating, none that reaches the
    last segment.
    """
    rng = np.random.default_rng(seed)
    report = Report()
    for (kind, draw), batch in itertools.product(draws.items(), batches):
        inputs = draw(batch)
        expected = reference.answers(inputs)
        for what, exit_at in _forced(chain.exits if forced else (), batch, rng):
            result = chain.run(inputs, exit_at=exit_at)
            difference = _difference(result.prediction, exit_at, expected, chain.manifest.fields)
            report.checks.append(Check(f"{kind} inputs, {what}", batch, difference))
    return report


def batches_to_check(max_batch: int) -> list[int]:
    """BATCHES up to the largest that engines take, that one, and the next larger, which the chain runs in parts."""
    larger = [batch for batch in BATCHES if batch > max_batch][:1]
    return sorted({*(batch for batch in BATCHES if batch < max_batch), max_batch, *larger})


def _forced(
    exits: tuple[int, ...], batch: int, rng: np.random.Generator
) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    everywhere = np.array([*exits, FULL_MODEL_ID], np.int64)
    yield "exits off", np.full(batch, FULL_MODEL_ID, np.int64)
    if not exits:
        return
    yield "forced at random", rng.choice(everywhere, batch)
    yield "all at the first exit", np.full(batch, exits[0], np.int64)
    yield "alternating", everywhere[np.arange(batch) % len(everywhere)]
    yield "none reaches the last segment", rng.choice(everywhere[:-1], batch)


def _difference(
    prediction: Any, exit_at: npt.NDArray[np.int64], expected: Mapping[int, Fields], names: tuple[str, ...]
) -> float:
    fields: Fields = prediction if isinstance(prediction, dict) else {names[0]: prediction}
    worst = 0.0
    for name, found in fields.items():
        wanted = np.stack([expected[int(exit_id)][name][row] for row, exit_id in enumerate(exit_at)])
        if wanted.shape != found.shape:
            raise VerificationError(
                f"the chain's {name} has the shape {list(found.shape)}, the uncut model's {list(wanted.shape)}"
            )
        scale = max(float(np.abs(answers[name]).max()) for answers in expected.values()) or 1.0
        gap = float(np.abs(found.astype(np.float64) - wanted.astype(np.float64)).max())
        worst = max(worst, gap / scale if np.isfinite(gap) else np.inf)
    return worst
