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
    from scipy.special import stdtr

    finite = np.isfinite(costs)
    if len(costs) < FEWEST + 1 or not finite.any():
        raise ValueError(f"{len(costs)} costs, {int(finite.sum())} finite: no outlier can be told")
    logs = np.log(np.where(finite, costs, costs[finite].max()))
    order = np.argsort(logs, kind="stable")
    best: Outlier | None = None
    for count in range(1, min(most, len(costs) - FEWEST) + 1):
        low, rest = logs[order[:count]], logs[order[count:]]
        spread = max(float(rest.std(ddof=1)), 1e-3) * np.sqrt(1 + 1 / len(rest))
        t = (rest.mean() - low.max()) / spread
        p = min(1.0, float(stdtr(len(rest) - 1, -t)) * comb(len(costs), count))
        ratio = float(np.exp(low.min() - np.median(rest)))
        found = Outlier(tuple(int(i) for i in order[:count]), p, ratio)
        if best is None or found.p < best.p:
            best = found
    assert best is not None
    return best
