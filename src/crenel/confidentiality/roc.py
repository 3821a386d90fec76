"""Operating points of an attack that tells members from non-members."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crenel.statistics import Interval, exact_proportion

Floats = NDArray[np.float64]

#: Rates at which attacks are compared, where the non-members are enough to measure them.
REFERENCES = (0.001, 0.01, 0.1)


@dataclass(frozen=True)
class Point:
    """What an attacker gets who tolerates a false-alarm rate.

    Attributes
    ----------
    rate : float
        Tolerated share of non-members that are taken for members, in (0, 1].
    threshold : float
        Scores strictly above it are called members.
    identified : Interval
        Share of members called members (Clopper and Pearson, 1934).
    alarms : Interval
        Share of non-members called members, at most ``rate``.
    """

    rate: float
    threshold: float
    identified: Interval
    alarms: Interval


def operating_point(members: Floats, others: Floats, rate: float) -> Point:
    """The point with the most members identified at a false-alarm rate of at most ``rate``.

    Nothing is interpolated: with n non-members only multiples of 1 / n are real.

    Parameters
    ----------
    members, others : ndarray, shapes (m,) and (n,)
        Scores, higher meaning member.
    rate : float
        In [1 / n, 1].

    Raises
    ------
    ValueError
        Where ``rate`` is below 1 / n: it cannot be measured with n non-members.
    """
    n = len(others)
    allowed = int(np.floor(rate * n + 1e-9))
    if allowed < 1:
        raise ValueError(f"a false-alarm rate of {rate:g} cannot be measured with {n} non-members")
    ordered = np.sort(others)[::-1]
    threshold = float(ordered[allowed]) if allowed < n else -np.inf
    return Point(
        rate=rate,
        threshold=threshold,
        identified=exact_proportion(int((members > threshold).sum()), len(members)),
        alarms=exact_proportion(int((others > threshold).sum()), n),
    )


def rates(n: int) -> list[float]:
    """A log grid of measurable false-alarm rates: from 1 / n, at least 0.001, up to 1."""
    least = max(1 / n, 1e-3)
    grid = {round(float(v), 6) for v in np.logspace(-3, 0, 25)}
    return [least, *sorted(v for v in grid if v > least * 1.05)]


def curve(members: Floats, others: Floats) -> list[Point]:
    """The points of the ROC curve on `rates`."""
    return [operating_point(members, others, rate) for rate in rates(len(others))]
