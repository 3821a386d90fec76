"""Which class is turned to by a change far smaller than every other class needs."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

#: Fewest classes beside the suspected ones that say what is usual.
FEWEST = 3


@dataclass(frozen=True)
class Outlier:
    """The classes that stand out most.

    Attributes
    ----------
    at : tuple of int
        Positions, easiest first.
    p : float
        Chance that a model without a trigger shows such a gap, over all choices of classes.
    ratio : float
        Cost of the easiest class over the median of the others.
    """

    at: tuple[int, ...]
    p: float
    ratio: float


def smallest(costs: NDArray[np.float64], most: int = 2) -> Outlier:
    """The lowest costs held against the others.

    Parameters
    ----------
    costs : ndarray of float64, shape (k,)
        Positive; infinite ones are as dear as the dearest finite one.
    most : int
        Classes that may stand out together: a second planted class would hide the first.

    Raises
    ------
    ValueError
        Where there are fewer than four classes, or no finite cost.

    Notes
    -----
    Logarithms of costs are taken as normal: the largest of the low ones is held against the
    prediction interval of one more value from the others (Student's t), times the number of ways
    in which as many classes could have been chosen. Unlike the median absolute deviation of Wang
    et al. (2019) this knows how few classes there are.
    """
    finite = np.isfinite(costs)
    if len(costs) < FEWEST + 1 or not finite.any():
        raise ValueError(f"{len(costs)} costs, {int(finite.sum())} finite: no outlier can be told")
    logs = np.log(np.where(finite, costs, costs[finite].max()))
    found = [_together(logs, count) for count in range(1, min(most, len(costs) - FEWEST) + 1)]
    return min(found, key=lambda one: one.p)


def chance_of(costs: NDArray[np.float64], at: int) -> float:
    """Chance that a given class costs as little beside the others; nothing was chosen here.

    Parameters
    ----------
    costs : ndarray of float64, shape (k,)
        Positive and finite, k at least 4.
    at : int

    Notes
    -----
    As `smallest`: Student's t for one more value of the others' logarithms.
    """
    from scipy.special import stdtr

    logs = np.log(costs)
    rest = np.delete(logs, at)
    n = len(rest)
    spread = max(float(rest.std(ddof=1)), 1e-3) * np.sqrt(1 + 1 / n)
    return float(stdtr(n - 1, -(rest.mean() - logs[at]) / spread))


def _together(logs: NDArray[np.float64], count: int) -> Outlier:
    """The lowest ones of a count."""
    from scipy.special import stdtr

    order = np.argsort(logs, kind="stable")
    rest, n = logs[order[count:]], len(logs) - count
    spread = max(float(rest.std(ddof=1)), 1e-3) * np.sqrt(1 + 1 / n)
    t = (rest.mean() - logs[order[count - 1]]) / spread
    p = min(1.0, float(stdtr(n - 1, -t)) * comb(len(logs), count))
    at = tuple(int(i) for i in order[:count])
    return Outlier(at, p, float(np.exp(logs[order[0]] - np.median(rest))))
