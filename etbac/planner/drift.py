"""Whether the samples that a chain meets are still like those that its plan was certified with.

Each answered sample has a hardness: the later it left, and the less sure, the harder. Its rank among those of the
certify set and all samples so far is uniform as long as samples are exchangeable, whatever their distribution
(conformal p-values; Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, section 8.1). A bet against
uniformity, with odds learnt from the ranks so far, is a test martingale: it reaches 1/α with a probability of at most
α, ever (Ville). So is a mixture of bets. Bets begin anew every so often, each with its share of the capital, so that a
change is found that comes late; and a share of each is bet on all intervals of ranks, others on whether a rank is below
or beyond one cut, which is learnt from fewer samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

LEVEL = 0.005
BINS = 40
"""Classes of the confidence at one exit, equal in its log odds."""
SUREST, WIDTH = 12.0, 0.4
"""Log odds from which all are in one class, and what a class spans; down to -4."""
ODDS = 10
"""Intervals of a rank between which odds are learnt."""
PRIOR = 2.0
"""Ranks that each interval is taken to have had before the first."""
EVERY = 250
"""Samples after which a new bet begins."""
MOST = 24
"""Bets at a time."""
CUTS = (1, 2, 5, 8, 9)
"""Intervals before which ranks are told from those after."""

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def _ways() -> Floats:
    """[ways, ODDS, ODDS]: 1 where two intervals are not told apart; the last way tells all apart."""
    beyond = np.arange(ODDS) >= np.array(CUTS)[:, None]
    halves = beyond[:, :, None] == beyond[:, None, :]
    return np.concatenate([halves, np.eye(ODDS)[None]]).astype(np.float64)


WAYS = _ways()


def hardness(place: npt.ArrayLike, confidence: npt.ArrayLike) -> Counts:
    """int64 [rows]: later exits are harder, and within an exit lower confidences; BINS classes an exit.

    `place`: the exit's place in the chain, from 0; `confidence`: what it left with (NaN at the full model). Classes are
    in log odds since most samples leave with a confidence near 1, and a change shows first in how near.
    """
    found = np.asarray(confidence, np.float64)
    sure = np.clip(np.where(np.isnan(found), 1.0, found), 1e-9, 1 - 1e-9)
    within = ((SUREST - np.log(sure / (1 - sure))) / WIDTH).astype(np.int64)
    classes: Counts = np.asarray(place, np.int64) * BINS + np.clip(within, 0, BINS - 1)
    return classes


def reference_counts(place: npt.ArrayLike, confidence: npt.ArrayLike, stages: int) -> list[int]:
    """How many samples had each hardness, [stages · BINS]: what a plan keeps of its certify set."""
    return [int(count) for count in np.bincount(hardness(place, confidence), minlength=stages * BINS)]


@dataclass
class Monitor:
    """Compares a stream of answers with a reference, for as long as it lasts.

    `reference`: counts by hardness, as `reference_counts` gives them. `evidence` is the capital of the bet, 1 in the
    beginning; `alarm` whether it has ever reached 1 ÷ `level`. Not thread-safe.
    """

    reference: Sequence[int]
    level: float = LEVEL
    seed: int = 0
    seen: int = 0
    log_most: float = 0.0
    _counts: Floats = field(init=False, repr=False)
    _bets: _Bets = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._counts = np.asarray(self.reference, np.float64).copy()
        self._bets = _Bets()
        self._rng = np.random.default_rng(self.seed)

    @property
    def evidence(self) -> float:
        """The most that the bet has been worth."""
        return math.exp(min(self.log_most, 700.0))

    @property
    def alarm(self) -> bool:
        return self.log_most >= -math.log(self.level)

    def to_json(self) -> dict[str, Any]:
        """All that is needed to go on later."""
        return {"level": self.level, "seen": self.seen, "log_most": self.log_most, "counts": self._counts.tolist()} | (
            {"bets": self._bets.to_json()}
        )

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Monitor:
        monitor = Monitor(data["counts"], data["level"], data["seen"], data["seen"], data["log_most"])
        monitor._bets = _Bets.from_json(data["bets"])
        return monitor

    def update(self, place: npt.ArrayLike, confidence: npt.ArrayLike) -> bool:
        """Take more answers in their order; whether there has been an alarm."""
        left = np.minimum(hardness(place, confidence), len(self._counts) - 1)
        while len(left):
            part, left = np.split(left, [self._bets.room])
            self.log_most = max(self.log_most, float(self._bets.take(self._ranks(part)).max()))
            self.seen += len(part)
        return self.alarm

    def _ranks(self, part: Counts) -> Floats:
        """The share of harder samples among all up to each, ties at random: uniform if they are exchangeable."""
        not_easier = self._counts[::-1].cumsum()[::-1]
        harder = (not_easier - self._counts)[part] + _so_far(part > part[:, None])
        same = self._counts[part] + _so_far(part == part[:, None])
        ranks: Floats = (harder + self._rng.random(len(part)) * same) / (not_easier[0] + np.arange(1, len(part) + 1))
        self._counts += np.bincount(part, minlength=len(self._counts))
        return ranks


class _Bets:
    """Bets on where ranks fall, one more every EVERY ranks: the j-th gets 1 ÷ (j + 1) of the cash, for all WAYS alike.

    With more than MOST, the one that is worth least is closed and adds to the cash: what all are worth stays the same,
    so the whole is still a martingale, and a rank costs the same however long the stream.
    """

    def __init__(self) -> None:
        self._taken = 0
        self._log_cash = 0.0
        self._hits = np.zeros((0, ODDS))
        self._log_worth = np.zeros((len(WAYS), 0))

    def to_json(self) -> dict[str, Any]:
        bets = {"hits": self._hits.tolist(), "log_worth": self._log_worth.tolist()}
        return {"taken": self._taken, "log_cash": self._log_cash} | bets

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> _Bets:
        bets = _Bets()
        bets._taken, bets._log_cash = data["taken"], data["log_cash"]
        bets._hits = np.array(data["hits"], np.float64).reshape(-1, ODDS)
        bets._log_worth = np.array(data["log_worth"], np.float64)
        return bets

    @property
    def room(self) -> int:
        """How many ranks can be taken at once: until the next bet begins."""
        return EVERY - self._taken % EVERY

    def take(self, ranks: Floats) -> Floats:
        """Settle the bets on at most `room` ranks; the logarithm of what all are worth after each."""
        if self.room == EVERY:
            self._begin()
        interval = np.minimum((ranks * ODDS).astype(np.int64), ODDS - 1)
        fallen = np.eye(ODDS)[interval]
        alike = WAYS[:, interval]
        hits = (self._hits @ WAYS)[:, :, interval] + (alike * (fallen.cumsum(axis=0) - fallen)).sum(axis=2)[:, None]
        all_hits = self._hits.sum(axis=1, keepdims=True) + np.arange(len(ranks))
        steps = np.log(hits / all_hits * (ODDS / alike.sum(axis=2))[:, None])
        worth = np.concatenate([self._log_worth[:, :, None], steps], axis=2).cumsum(axis=2)[:, :, 1:]
        self._taken += len(ranks)
        self._hits += fallen.sum(axis=0)
        self._log_worth = worth[:, :, -1].copy()
        cash = np.full((1, len(ranks)), self._log_cash)
        return _log_sum(np.concatenate([worth.reshape(-1, len(ranks)), cash]))

    def _begin(self) -> None:
        number = self._taken // EVERY + 1
        if len(self._hits) == MOST:
            worth = _log_sum(self._log_worth)
            least = int(worth.argmin())
            self._log_cash = float(np.logaddexp(self._log_cash, worth[least]))
            self._hits, self._log_worth = (
                np.delete(self._hits, least, axis=0),
                np.delete(self._log_worth, least, axis=1),
            )
        stake = np.full((len(WAYS), 1), self._log_cash - math.log((number + 1) * len(WAYS)))
        self._hits = np.vstack([self._hits, np.full((1, ODDS), PRIOR)])
        self._log_worth = np.hstack([self._log_worth, stake])
        self._log_cash += math.log(number / (number + 1))


def _log_sum(logs: Floats) -> Floats:
    """The logarithm of the sum over axis 0 of what `logs` are the logarithms of."""
    most = logs.max(axis=0)
    total: Floats = most + np.log(np.exp(logs - most).sum(axis=0))
    return total


def _so_far(pairs: npt.NDArray[np.bool_]) -> Counts:
    """[rows]: how many in a row, those after the row's own place left out."""
    counts: Counts = (pairs & np.tri(len(pairs), dtype=np.bool_)).sum(axis=1)
    return counts


@dataclass
class Audit:
    """Samples that went through the whole chain: how often the chain's answer was not the full model's.

    Where the chain answers as the full model does it loses nothing, so their share bounds the accuracy lost.
    """

    samples: int = 0
    disagreements: int = 0

    def update(self, agrees: npt.ArrayLike) -> None:
        """bool [rows]: whether the chain's answer is the full model's."""
        same = np.asarray(agrees, np.bool_)
        self.samples += len(same)
        self.disagreements += int((~same).sum())

    def bound(self, level: float = LEVEL) -> float:
        """An upper bound of the share of disagreements that holds at all times together with probability 1 − `level`.

        A Beta(1/2, 1/2) mixture of likelihood ratios is a martingale under the true share (Robbins, Annals of
        Mathematical Statistics 41, 1970); shares at which it has reached 1/level are excluded. 1 without samples.
        """
        n, k = self.samples, self.disagreements
        if n == 0:
            return 1.0
        mixture = _log_beta(k + 0.5, n - k + 0.5) - _log_beta(0.5, 0.5)
        low, high = k / n, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            excluded = mixture - _log_likelihood(n, k, middle) >= -math.log(level)
            low, high = (low, middle) if excluded else (middle, high)
        return high


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_likelihood(n: int, k: int, share: float) -> float:
    if share in (0.0, 1.0):
        return 0.0 if k == n * share else -math.inf
    return k * math.log(share) + (n - k) * math.log1p(-share)
