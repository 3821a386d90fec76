"""Whether a suspect's rows belong where they are: by their other columns, and by their number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.mining.boxes import inside
from crenel.poisoning.mining.columns import Column
from crenel.poisoning.mining.suspects import Suspect
from crenel.statistics import Interval

#: Rows of a class that others are compared with at least, random draws of it, columns at most.
POOL, DRAWS, WIDEST = 20, 10, 100
#: Columns from which one is left out.
FEW = 4
#: Nothing is known of the rows.
UNKNOWN = Interval(0.5, -math.inf, math.inf)


def likeness(
    suspect: Suspect,
    columns: list[Column],
    y: NDArray[np.int64],
    parts: list[NDArray[np.float64]],
    logits: NDArray[np.float64],
) -> Interval:
    """How far the rows look like their label, by the main effects of the other columns.

    Parameters
    ----------
    suspect : Suspect
    columns : list of Column
    y : ndarray, shape (n,), int64
    parts : list of ndarray, shape (count_j, k)
        What each code of each column adds to the logits.
    logits : ndarray, shape (n, k)
        Of all columns together.

    Returns
    -------
    Interval
        1 as the label's other rows do, 0 as the rows of other classes do; two standard errors
        either side. Unbounded where the other columns say nothing of the label.
    """
    z = logits - sum(parts[j][columns[j].codes] for j in suspect.box)
    odds = z[:, suspect.label] - np.logaddexp.reduce(np.delete(z, suspect.label, axis=1), axis=1)
    apart = np.ones(len(y), dtype=bool)
    apart[suspect.rows] = False
    mine = odds[suspect.rows]
    like, unlike = odds[apart & (y == suspect.label)], odds[apart & (y != suspect.label)]
    if not (len(mine) and len(like) and len(unlike)):
        return UNKNOWN
    span = float(like.mean() - unlike.mean())
    if span <= 0:
        return UNKNOWN
    value = float(mine.mean() - unlike.mean()) / span
    error = max(mine.std(), like.std(), unlike.std()) / span / math.sqrt(len(mine))
    return Interval(value, value - 2 * error, value + 2 * error)


def surplus(suspect: Suspect, columns: list[Column], y: NDArray[np.int64]) -> float:
    """Rows over their expected number: see `crenel.poisoning.mining.mine.Mined`.

    Expected are the class's rows times the share of them that meets each condition, times the
    association of the conditions among the rows of other classes.
    """
    codes, own = [c.codes for c in columns], y == suspect.label
    free, others = float(own.sum()), float((~own).sum())
    for j, (low, high) in suspect.box.items():
        met = (codes[j] >= low) & (codes[j] <= high)
        free *= met[own].mean()
        others *= met[~own].mean() if (~own).any() else 0.0
    seen = int((inside(codes, suspect.box) & ~own).sum())
    expected = free * (seen + 1.0) / (others + 1.0)
    return len(suspect.rows) / max(expected, 1e-9)


def kinship(
    suspect: Suspect, columns: list[Column], y: NDArray[np.int64], k: int, rng: np.random.Generator
) -> Interval:
    """How much more alike the rows are, apart from the suspect's columns, than random ones.

    A pattern stamped on rows leaves their other columns as various as those of the rows that they
    were taken from; rows that belong together by nature are alike in most. For each other column,
    a hundred at most, the total variation distance between the rows and a class is taken, less the
    distance of as many random rows of that class; the mean of it over the columns, from the
    nearest class, or from all other classes together. Of four columns or more the one that differs
    most is left out: it may belong to the pattern, though the model does not need it.

    Returns
    -------
    Interval
        In [-1, 1]; about 0 for rows drawn at random, two standard errors either side. Infinite
        where no class has twenty rows, 0 where there is no other column.
    """
    others = [j for j in range(len(columns)) if j not in suspect.box]
    if not others:
        return Interval(0.0, 0.0, 0.0)
    codes = [_coarse(columns[j]) for j in rng.permutation(others)[:WIDEST]]
    apart = np.ones(len(y), dtype=bool)
    apart[suspect.rows] = False
    pools = [apart & (y == c) for c in range(k)] + [apart & (y != suspect.label)]
    rows = [np.flatnonzero(p) for p in pools]
    found = [_excess(codes, suspect.rows, r, rng) for r in rows if len(r) >= POOL]
    return min(found, key=lambda i: i.value, default=Interval(math.inf, math.inf, math.inf))


def _coarse(column: Column) -> NDArray[np.integer[Any]]:
    return column.wide[0][column.codes] if column.wide else column.codes


def _excess(
    columns: list[NDArray[np.integer[Any]]],
    rows: NDArray[np.int64],
    pool: NDArray[np.int64],
    rng: np.random.Generator,
) -> Interval:
    """Mean distance of the rows' columns from the pool's, less that of random rows of it."""
    drawn = [rows, *(rng.choice(pool, len(rows)) for _ in range(DRAWS))]
    apart = np.empty((len(drawn), len(columns)))
    for j, codes in enumerate(columns):
        base = _shares(codes, pool, count := int(codes.max()) + 1)
        apart[:, j] = [0.5 * np.abs(_shares(codes, r, count) - base).sum() for r in drawn]
    excess = np.sort(apart - apart[1:].mean(axis=0), axis=1)
    excess = excess[:, : -1 if len(columns) >= FEW else None].mean(axis=1)
    value, error = float(excess[0] - excess[1:].mean()), float(excess[1:].std(ddof=1))
    return Interval(value, value - 2 * error, value + 2 * error)


def _shares(
    codes: NDArray[np.integer[Any]], rows: NDArray[np.int64], count: int
) -> NDArray[np.float64]:
    return np.bincount(codes[rows], minlength=count) / len(rows)
