"""Whether the largest few of many values are farther from the rest than their tail explains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Largest values that may stand out together; values of the tail that say what is usual, and
#: fewest of them.
TOGETHER, TAIL, FEWEST = 3, 40, 12
#: Share of the values that may be taken for the tail.
UPPER = 0.33


@dataclass(frozen=True)
class Gap:
    """The largest values, and how surprising the gap below them is.

    Attributes
    ----------
    at : tuple of int
        Positions, largest first; empty where there are too few values to tell.
    p : float
        Chance of such a gap below one, two or three of the largest values of an exponential tail.
    """

    at: tuple[int, ...]
    p: float


def widest_gap(values: NDArray[np.float64]) -> Gap:
    """The gap below the largest values that is hardest to explain.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)

    Notes
    -----
    Of an exponential tail the spacings of the ordered values, times their ranks, are independent
    and equally distributed (Rényi, 1953). The one below the c-th largest is held against the mean
    of the next ones: their ratio follows F(2, 2m), whose upper tail is (1 + r / m) ** -m.
    Lighter tails, such as those of normal values, make the test cautious.
    """
    order = np.argsort(-values, kind="stable")[: TOGETHER + TAIL + 1]
    top = values[order]
    spacings = np.arange(1, len(top)) * (top[:-1] - top[1:])
    tail = min(TAIL, int(UPPER * len(values)))
    best = Gap((), 1.0)
    for count in range(1, TOGETHER + 1):
        rest = spacings[count : count + tail]
        if len(rest) < FEWEST:
            break
        ratio = spacings[count - 1] / max(float(rest.mean()), 1e-12)
        p = min(1.0, float((1 + ratio / len(rest)) ** -len(rest)) * TOGETHER)
        if p < best.p or not best.at:
            best = Gap(tuple(int(i) for i in order[:count]), p)
    return best
