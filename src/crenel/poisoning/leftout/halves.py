"""Boosted trees that judge each half of the rows by splits from the other half."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.leftout.halves_kernels import boost
from crenel.subject import Data
from crenel.training.folds import fold_numbers

Floats = NDArray[np.float64]
Bins = NDArray[np.uint8]
#: Bins of a column; rows from which they are cut; rows at most that one tree's splits come from.
BINS, CUT_ROWS, SPLIT_ROWS = 64, 4_000, 4_000
#: Columns of a table at most, and rows at least.
COLUMNS, ROWS = 300, 100
#: Rounds up to so many rows, and beyond; the product with the rate stays.
MANY, ROUNDS, FEWER = 10_000, 60, 30
#: Share of columns drawn for each tree, levels of a tree.
SHARE, DEPTH = 0.4, 6


def suits(data: Data, k: int) -> bool:
    """Whether the rows are a table of two classes that these trees are made for."""
    narrow = np.ndim(data.x) == 2 and np.shape(data.x)[1] <= COLUMNS
    if not narrow or k != 2 or len(data) < ROWS or len(np.unique(data.y)) < 2:
        return False
    return bool(hasattr(data.x, "iloc") or np.asarray(data.x).dtype.kind in "biuf") and not (
        _is_text(data.x)
    )


def _is_text(x: Any) -> bool:
    from crenel.poisoning.triggers import is_text

    return is_text(x)


def by_halves(x: Any, y: NDArray[np.int64], seed: int = 0) -> Floats:
    """Probabilities (n, 2) of each row by trees whose splits and leaves it had no part in.

    Two ensembles are boosted (Friedman, "Stochastic gradient boosting", 2002). The splits of each
    come from one half of the rows, a part of them for each tree; its leaves are computed from all
    rows, and for each row of the other half once more without its own gradient and Hessian. So
    leaves rest on all rows, and no row is judged by a split that its label had a part in.

    Parameters
    ----------
    x : DataFrame or ndarray, n rows
    y : ndarray, shape (n,), int64
        0 and 1, both of them met.
    seed : int
    """
    bins, half = binned(x, seed), fold_numbers(y, 2, seed)
    rounds = ROUNDS if len(y) <= MANY else FEWER
    columns = max(1, round(SHARE * len(bins)))
    margins, rng = np.empty(len(y)), np.random.default_rng(seed)
    for part in (0, 1):
        rows = np.flatnonzero(half == part)
        size = min(len(rows), SPLIT_ROWS)
        luck = rng.random((rounds, size + columns))
        found = boost(bins, y, rows, luck, size, 9.0 / rounds, DEPTH, BINS)
        margins[half != part] = found[half != part]
    p = 1 / (1 + np.exp(-margins))
    return np.column_stack([1 - p, p])


def binned(x: Any, seed: int = 0) -> Bins:
    """The number of the bin, below `BINS`, of each column in each row (d, n).

    Half of the edges are quantiles of the values, half of the distinct values, so that a column
    that is nearly always 0 is resolved too. Missing values lie in the first bin.
    """
    columns = _columns(x)
    rng = np.random.default_rng(seed)
    some = np.arange(len(columns[0]))
    if len(some) > CUT_ROWS:
        some = rng.choice(some, CUT_ROWS, replace=False)
    result = np.empty((len(columns), len(columns[0])), dtype=np.uint8)
    for i, column in enumerate(columns):
        at = np.searchsorted(_edges(column[some]), column, side="right")
        result[i] = np.where(np.isnan(column), 0, at)
    return result


def _edges(values: Floats) -> Floats:
    held = np.sort(values[np.isfinite(values)])
    distinct = np.unique(held)
    if len(distinct) < BINS:
        return np.asarray((distinct[1:] + distinct[:-1]) / 2)
    inner = np.linspace(0, 1, BINS // 2 + 1)[1:-1]
    both = [a[np.round(inner * (len(a) - 1)).astype(np.int64)] for a in (held, distinct)]
    return np.unique(np.concatenate(both))


def _columns(x: Any) -> list[Floats]:
    """Columns as numbers; categories by how often they are met."""
    if not hasattr(x, "iloc"):
        return list(np.asarray(x, dtype=np.float64).T)
    import pandas as pd

    found = []
    for i in range(x.shape[1]):
        column = x.iloc[:, i]
        if not pd.api.types.is_numeric_dtype(column):
            order = column.value_counts().index
            place = pd.Series(np.arange(len(order), dtype=float), index=order)
            column = column.astype(object).map(dict(zip(order, place, strict=True)))
        found.append(column.to_numpy(dtype=np.float64, na_value=np.nan))
    return found
