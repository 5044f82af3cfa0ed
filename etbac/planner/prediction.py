"""Latency of the chain, predicted from the inference time matrix and the samples that reach each stage: the engines'
medians, and what a batch costs beyond its engines."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from etbac.profiles.matrix import Floats, Matrix


def stage_costs(matrix: Matrix, batch: int, shares: npt.ArrayLike) -> Floats:
    """Expected milliseconds that a stage costs a batch, [stages, shares], when a share of all samples reaches it.

    In a batch of random composition the number of rows that reach a stage is Binomial(batch, share): each size is
    priced with the matrix, and nobody costs nothing. The sum over the stages is the batch's expected latency, because
    an expectation is linear however the stages' sizes depend on each other.
    """
    return (matrix.stages_at(batch) + matrix.beyond_at(batch)) @ binomial_weights(batch, shares)


def binomial_weights(batch: int, shares: npt.ArrayLike) -> Floats:
    """[batch + 1, shares]: how likely each number of rows is, when a share of all samples is taken."""
    share = np.clip(np.asarray(shares, np.float64), 1e-300, 1.0)[:, None]
    rows = np.arange(batch + 1)
    log_choose = np.array([_log_choose(batch, k) for k in range(batch + 1)])
    log_rest = np.log1p(-np.minimum(share, 1 - 1e-16))
    probability: Floats = np.exp(log_choose + rows * np.log(share) + (batch - rows) * log_rest).T
    return probability


def chain_latency(matrix: Matrix, batch: int, survivors: npt.ArrayLike) -> float:
    """Expected milliseconds of one batch of which the share `survivors[k]` reaches stage k."""
    return float(np.trace(stage_costs(matrix, batch, survivors)))


def rebuilt_latency(matrix: Matrix, batch: int, survivors: npt.ArrayLike, used: Sequence[bool]) -> float:
    """As `chain_latency`, of a chain that has been built with the `used` exits alone."""
    spared = chain_latency(matrix, batch, survivors)
    if matrix.head_ms is None or matrix.cut_ms is None:
        return spared
    reach = np.asarray(survivors, np.float64)
    heads = np.diag(matrix.padded_at(matrix.head_ms, batch)[:-1] @ binomial_weights(batch, reach[:-1]))
    between = matrix.padded_at(matrix.cut_ms, batch)[1:] + matrix.beyond_at(batch)[1:]
    cuts = np.diag(between @ binomial_weights(batch, reach[1:]))
    return spared - float(((heads + cuts) * ~np.asarray(used, bool)).sum())


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
