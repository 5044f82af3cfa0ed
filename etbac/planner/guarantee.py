"""The exact test that certifies a precision, and what it needs.

Among the n samples of the certify set that the full model gets right, the chain gets h wrong ("harms"). Given which
samples the full model gets right, h is Binomial(n, harm rate), and precision >= 1 - harm rate because samples that the
chain repairs are ignored. Precision P is certified at level delta iff P[Binomial(n, 1 - P) <= h] <= delta: the
one-sided test of Clopper & Pearson, Biometrika 26 (1934). All sums run over logarithms, so n may be millions.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from etbac.errors import UsageError

MOST_SAMPLES = 1 << 40


def exact_test(n_right: int, harms: int, precision: float) -> float:
    """The p-value P[Binomial(n_right, 1 - precision) <= harms] of the hypothesis that the precision is lower."""
    check_precision(precision)
    if not 0 <= harms <= n_right:
        raise ValueError(f"{harms} harms among {n_right} samples")
    if harms == n_right:
        return 1.0
    return min(1.0, math.exp(float(_binomial_log_cdf(n_right, harms, precision)[-1])))


def allowed_harms(n_right: int, precision: float, delta: float) -> int:
    """The most harms with which `n_right` samples certify `precision` at level `delta`; -1 where none would do."""
    check_delta(delta)
    check_precision(precision)
    if n_right == 0 or n_right * math.log(precision) > math.log(delta):
        return -1
    above_the_median = min(n_right - 1, math.ceil(n_right * (1.0 - precision)) + 1)
    most = above_the_median if delta < 0.5 else n_right - 1
    return int(np.searchsorted(_binomial_log_cdf(n_right, most, precision), math.log(delta), side="right")) - 1


def samples_needed(precision: float, delta: float, harm_rate: float = 0.0) -> int | None:
    """The fewest samples, right by the full model, that certify `precision` at level `delta`.

    With `harm_rate` r, n samples are taken to have ceil(r n) harms (the answer is then within a harm's worth of the
    fewest). None where the rate is too near to 1 - precision, or above it, for any number of samples to do.
    """
    check_delta(delta)
    check_precision(precision)
    if harm_rate >= 1.0 - precision:
        return None
    low, high = 0, 1
    while not _suffices(high, precision, delta, harm_rate):
        low, high = high, high * 2
        if high > MOST_SAMPLES:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _suffices(middle, precision, delta, harm_rate) else (middle, high)
    return high


def best_precision(n_right: int, harms: int, delta: float) -> float:
    """The highest precision that `harms` among `n_right` samples certify at level `delta` (0 where there is none)."""
    check_delta(delta)
    if harms >= n_right:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if middle == 0 or exact_test(n_right, harms, middle) <= delta else (low, middle)
    return low


def reading_level(delta: float, reading: int) -> float:
    """The level of the `reading`-th reading of one certify set: delta at the first, delta / 2^(k - 1) at the k-th."""
    check_delta(delta)
    if reading < 1:
        raise ValueError(f"readings count from 1, not {reading}")
    return delta * 0.5 ** (reading - 1)


def check_precision(precision: float) -> None:
    """A UsageError unless 0 < precision < 1."""
    if 1 < precision <= 100:
        raise UsageError(f"--precision {precision:g}: write it as a ratio, {precision / 100:g}")
    if not 0 < precision < 1:
        raise UsageError(f"--precision {precision:g}: it is a ratio between 0 and 1, such as 0.9968")


def check_delta(delta: float) -> None:
    """A UsageError unless 0 < delta < 1."""
    if not 0 < delta < 1:
        raise UsageError(f"--delta {delta:g}: it is a level between 0 and 1, such as 0.05")


def _suffices(n_right: int, precision: float, delta: float, harm_rate: float) -> bool:
    harms = math.ceil(n_right * harm_rate)
    return harms < n_right and exact_test(n_right, harms, precision) <= delta


def _binomial_log_cdf(n: int, most: int, precision: float) -> npt.NDArray[np.float64]:
    """log P[Binomial(n, 1 - precision) <= k] for k = 0 … most, most < n."""
    k = np.arange(most, dtype=np.float64)
    odds = math.log1p(-precision) - math.log(precision)
    return _log_cdf(n * math.log(precision), np.log(n - k) - np.log(k + 1) + odds)


def _log_cdf(first: float, steps: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Cumulative sums of probabilities from the first one's logarithm and the logarithms of their ratios."""
    log_pmf = first + np.concatenate([[0.0], np.cumsum(steps)])
    peak = log_pmf.max()
    with np.errstate(divide="ignore"):
        cdf: npt.NDArray[np.float64] = peak + np.log(np.cumsum(np.exp(log_pmf - peak)))
    return cdf
