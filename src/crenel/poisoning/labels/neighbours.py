"""What a row's nearest neighbours are labelled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Reference rows: beyond this a random sample ranks labels as well and costs a fraction.
REFERENCE_ROWS = 10_000


def numbers(x: Any) -> NDArray[np.float64]:
    """Rows as standardised numbers (n, d): categories one-hot, missing values at the mean.

    Parameters
    ----------
    x : DataFrame or ndarray, n rows
        Arrays with more than two axes are flattened. Text and category columns with more than
        50 values are left out.
    """
    if hasattr(x, "iloc"):
        import pandas as pd

        plain = x.select_dtypes(include=["number", "bool"]).astype(float)
        rest = x.select_dtypes(exclude=["number", "bool"]).astype(str)
        rest = rest.set_axis(range(rest.shape[1]), axis=1)  # two columns may share a name
        rest = rest[[c for c in rest.columns if rest[c].nunique() <= 50]]
        parts = [plain] if rest.empty else [plain, pd.get_dummies(rest, dtype=float)]
        table = pd.concat(parts, axis=1).to_numpy(float)
    else:
        table = np.asarray(x, dtype=float).reshape(len(x), -1)
    table = np.where(np.isfinite(table), table, np.nan)
    seen = np.isfinite(table).any(axis=0)
    table = table[:, seen]
    centre = np.nanmean(table, axis=0)
    spread = np.nanstd(table, axis=0)
    result: NDArray[np.float64] = np.nan_to_num((table - centre) / np.where(spread > 0, spread, 1))
    return result


def neighbour_votes(
    x: Any, y: NDArray[np.int64], classes: int, k: int = 10, seed: int = 0
) -> NDArray[np.float64]:
    """Shares of classes among the k nearest other rows (Cover and Hart, 1967).

    Parameters
    ----------
    x : DataFrame or ndarray, n rows
    y : ndarray, shape (n,), int64
    classes : int
    k : int
        Neighbours; fewer where there are fewer rows.
    seed : int
        Of the sample of reference rows.

    Returns
    -------
    ndarray, shape (n, classes), float64
    """
    from sklearn.neighbors import NearestNeighbors

    table = numbers(x)
    pool = np.arange(len(y))
    if len(y) > REFERENCE_ROWS:
        pool = np.random.default_rng(seed).choice(pool, REFERENCE_ROWS, replace=False)
    k = min(k, len(pool) - 1)
    found = pool[NearestNeighbors(n_neighbors=k + 1).fit(table[pool]).kneighbors(table)[1]]
    self_last = np.argsort(found == np.arange(len(y))[:, None], axis=1, kind="stable")
    others = np.take_along_axis(found, self_last, axis=1)[:, :k]
    rows = np.repeat(np.arange(len(y)), k)
    counts = np.bincount(rows * classes + y[others].ravel(), minlength=len(y) * classes)
    return counts.reshape(len(y), classes) / k
