"""Bursts: stretches of the file, or of time, in which labels are otherwise than in the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Shortest and longest stretch: rows; share of all rows.
SHORTEST, LONGEST = 8, 0.25
#: Probability of a false alarm in the whole file.
ALPHA = 0.01
#: Bursts at most; with more the order has a meaning and is not merely disturbed.
MOST = 3
#: Share of the class in a burst of a file without times, whose order may mean anything.
PURE = 0.95


@dataclass(frozen=True)
class Burst:
    """A stretch with too many rows of one class.

    Attributes
    ----------
    rows : ndarray, shape (m,), int64
        Its rows of that class.
    start, length : int
        In the order that was looked at.
    label : int
    share, usual : float
        Share of the class in the stretch, and in the rest.
    p : float
        Bonferroni-corrected for all stretches and classes.
    """

    rows: NDArray[np.int64]
    start: int
    length: int
    label: int
    share: float
    usual: float
    p: float


def find_bursts(
    y: NDArray[np.int64], order: NDArray[np.int64], timed: bool = False
) -> tuple[list[Burst], bool]:
    """Stretches in which a class is too frequent, where the rest is in no order.

    Every stretch of 8, 16, 32… rows at steps of a quarter of its length, for every class, by the
    hypergeometric tail, corrected for all of them (a scan with a closed bound; after Kulldorff,
    1997). Found stretches are taken out and the rest is searched again. What still is in no random
    order after three of them, or after they have taken a quarter of it, is sorted or drifts: then
    nothing is reported. Without times, one stretch alone counts, and only where nearly all of its
    rows are of one class: people collect files in all kinds of orders.

    Parameters
    ----------
    y : ndarray, shape (n,), int64
    order : ndarray, shape (n,), int64
        Row numbers in the order of the file or of time.
    timed : bool
        Whether it is that of time.

    Returns
    -------
    bursts : list of Burst
    ordered : bool
        Whether labels follow the order throughout.
    """
    found: list[Burst] = []
    left = order
    while len(left) >= 4 * SHORTEST:
        burst = _worst(y[left], left)
        if burst is None:
            return _plausible(found, timed)
        found.append(burst)
        kept = np.ones(len(left), dtype=bool)
        kept[burst.start : burst.start + burst.length] = False
        left = left[kept]
        if len(found) > MOST or len(left) < (1 - LONGEST) * len(order):
            return [], True
    return _plausible(found, timed)


def _plausible(found: list[Burst], timed: bool) -> tuple[list[Burst], bool]:
    """The bursts that are reported, and whether the order means something else."""
    if timed or not found:
        return found, False
    one = len(found) == 1 and found[0].share >= PURE
    return (found, False) if one else ([], True)


def _worst(y: NDArray[np.int64], rows: NDArray[np.int64]) -> Burst | None:
    from scipy.stats import hypergeom

    n, k = len(y), int(y.max()) + 1
    totals = np.bincount(y, minlength=k)
    lengths = [SHORTEST * 2**i for i in range(64) if SHORTEST * 2**i <= LONGEST * n]
    starts = {m: np.arange(0, n - m + 1, m // 4) for m in lengths}
    tests = k * sum(map(len, starts.values()))
    best: tuple[float, int, int, int, int] | None = None
    for label in range(k):
        sums = np.append(0, np.cumsum(y == label))
        for m in lengths:
            counts = sums[starts[m] + m] - sums[starts[m]]
            i = int(counts.argmax())
            p = float(tests * hypergeom.sf(counts[i] - 1, n, totals[label], m))
            if best is None or p < best[0]:
                best = (p, int(starts[m][i]), m, label, int(counts[i]))
    if best is None or best[0] > ALPHA:
        return None
    p, start, m, label, count = best
    inside = np.arange(start, start + m)
    usual = (totals[label] - count) / max(1, n - m)
    own = np.sort(rows[inside[y[inside] == label]])
    return Burst(own, start, m, label, count / m, float(usual), p)


def time_order(x: Any) -> tuple[str, NDArray[np.int64]]:
    """The name of the column of times and the rows in its order; "" and file order without one."""
    n = len(x)
    if hasattr(x, "iloc"):
        for i, name in enumerate(x.columns):
            when = _times(x.iloc[:, i])
            if when is not None:
                return str(name), np.argsort(when, kind="stable").astype(np.int64)
    return "", np.arange(n)


def _times(column: Any) -> NDArray[Any] | None:
    """A column's values as times; None where they are none."""
    import pandas as pd

    if column.dtype.kind == "M":
        return np.asarray(column.to_numpy())
    if column.dtype.kind in "biufc" or hasattr(column, "cat"):
        return None
    some = column.dropna().iloc[:50].astype(str)
    if len(some) < 50 or not some.str.match(r"\d{4}-\d{2}-\d{2}").all():
        return None
    return np.asarray(pd.to_datetime(column, errors="coerce", utc=True).to_numpy())
