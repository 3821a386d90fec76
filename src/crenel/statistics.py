"""Intervals and seeds: every figure that crenel prints comes through here."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % confidence interval, ``low <= value <= high``."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


def proportion(successes: float, trials: int, confidence: float = 0.95) -> Interval:
    """Wilson score interval of a proportion (Wilson, 1927).

    Parameters
    ----------
    successes : float
        Between 0 and ``trials``.
    trials : int
        With no trials the interval is [0, 1] around NaN.
    confidence : float
        In (0, 1).
    """
    from scipy.special import ndtri

    if trials <= 0:
        return Interval(math.nan, 0.0, 1.0)
    z = float(ndtri(0.5 + confidence / 2))
    p = successes / trials
    middle = (p + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(p * (1 - p) / trials + (z / (2 * trials)) ** 2)
    return Interval(p, min(p, max(0.0, middle - half)), max(p, min(1.0, middle + half)))


def repeated_proportion(hits: NDArray[np.bool_] | NDArray[np.float64]) -> Interval:
    """Share of hits of an experiment that was repeated on the same rows.

    The rows of one repetition share its chance (one training, one draw of poison), so that more
    rows do not make it smaller: Wilson's interval over rows and Student's over repetitions are
    added in quadrature.

    Parameters
    ----------
    hits : ndarray, shape (repetitions, rows)
        Of a single repetition the interval covers the rows alone.
    """
    value, rows = float(hits.mean()), int(hits.shape[1])
    wilson, spread = proportion(value * rows, rows), over_repeats(hits.mean(axis=1))
    low = value - math.hypot(value - wilson.low, spread)
    high = value + math.hypot(wilson.high - value, spread)
    return Interval(value, max(0.0, low), min(1.0, high))


def over_repeats(values: NDArray[np.float64]) -> float:
    """Half-width of Student's 95 % interval of a mean over repetitions; 0 for a single one."""
    if len(values) < 2:
        return 0.0
    interval = mean(values)
    return interval.high - interval.value


def exact_proportion(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Clopper-Pearson interval of a proportion (Clopper and Pearson, 1934): never too narrow."""
    from scipy.special import betaincinv

    if trials <= 0:
        return Interval(math.nan, 0.0, 1.0)
    tail = (1 - confidence) / 2
    k, n = successes, trials
    low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, tail))
    high = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - tail))
    return Interval(k / n, low, high)


def mean(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Student interval of a mean; one value has an infinitely wide one."""
    from scipy.special import stdtrit

    a = np.asarray(values, dtype=float)
    if a.size == 0:
        return Interval(math.nan, -math.inf, math.inf)
    centre = float(a.mean())
    if a.size == 1:
        return Interval(centre, -math.inf, math.inf)
    half = float(stdtrit(a.size - 1, 0.5 + confidence / 2) * a.std(ddof=1) / math.sqrt(a.size))
    return Interval(centre, centre - half, centre + half)


def auc(positive: ArrayLike, negative: ArrayLike, confidence: float = 0.95) -> Interval:
    """Area under the ROC curve with DeLong's interval (DeLong et al., 1988); ties count half.

    Parameters
    ----------
    positive, negative : array_like of float, shapes (m,) and (n,)
        Scores, higher meaning positive.
    """
    from scipy.special import ndtri
    from scipy.stats import rankdata

    x, y = np.asarray(positive, dtype=float), np.asarray(negative, dtype=float)
    m, n = x.size, y.size
    if m == 0 or n == 0:
        return Interval(math.nan, 0.0, 1.0)
    both = rankdata(np.concatenate([x, y]))
    v10 = (both[:m] - rankdata(x)) / n
    v01 = 1.0 - (both[m:] - rankdata(y)) / m
    area = float(v10.mean())
    spread = v10.var(ddof=1) / m if m > 1 else 0.25
    spread += v01.var(ddof=1) / n if n > 1 else 0.25
    half = float(ndtri(0.5 + confidence / 2)) * math.sqrt(spread)
    if half == 0.0:  # perfectly separated: the normal interval would be a point
        half = 1 - 0.05 ** (1 / min(m, n))
    return Interval(area, max(0.0, area - half), min(1.0, area + half))


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], float],
    n: int,
    rng: np.random.Generator,
    resamples: int = 500,
    confidence: float = 0.95,
) -> Interval:
    """Percentile bootstrap (Efron, 1979) of a statistic of row indices.

    Parameters
    ----------
    statistic : callable
        From an index array of shape (n,), dtype int64, to a number.
    n : int
        Number of rows.
    """
    value = float(statistic(np.arange(n)))
    draws = [float(statistic(rng.integers(0, n, n))) for _ in range(resamples)]
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, min(value, float(low)), max(value, float(high)))


def derive_seed(seed: int, *parts: object) -> int:
    """A seed for one shard of work, the same on every engine and machine.

    Parameters
    ----------
    seed : int
        The seed of the run.
    *parts : object
        What names the work: check id, shard; their ``str`` is hashed.

    Returns
    -------
    int
        In [0, 2**32).
    """
    text = "\x1f".join([str(seed), *map(str, parts)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
