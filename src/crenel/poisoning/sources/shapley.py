"""What each training row, and each source, is worth to its nearest neighbours: Shapley values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import NotApplicable
from crenel.poisoning.labels.neighbours import numbers
from crenel.subject import join_rows

#: Distances held at once.
BLOCK = 4_000_000


def knn_shapley(
    train: tuple[Any, NDArray[np.int64]],
    test: tuple[Any, NDArray[np.int64]],
    k: int = 10,
    nearest: int | None = None,
) -> NDArray[np.float64]:
    """Shapley value of each training row to a k-nearest-neighbour classifier of the test rows.

    The game's worth of a set of rows is the share of the k nearest of them that have a test row's
    label (those that are missing count as wrong), as a mean over test rows. Its Shapley values
    follow from the order of distances alone (Jia et al., "Efficient task-specific data valuation
    for nearest neighbor algorithms", 2019): O(n log n) for each test row; with ``nearest`` only
    the rows that are so near are sorted, and every value is off by less than 1 / ``nearest``.

    Parameters
    ----------
    train, test : tuple of rows and labels
        Frames or arrays of n and m rows, and their classes, (n,) and (m,) int64. Numbers are
        standardised and categories one-hot, as in `crenel.poisoning.labels.neighbours.numbers`.
    k : int
        At least 1.
    nearest : int or None
        At least k; all rows where it is None.

    Returns
    -------
    ndarray, shape (n,), float64
        Below 0 a row does harm. They add up to the classifier's mean share of right neighbours.
        The values of a source's rows, summed, are what it is worth.

    Raises
    ------
    NotApplicable
        Where all columns are texts or categories of many values.
    """
    x, y = train
    both = numbers(join_rows([x, test[0]]))
    if not both.shape[1]:
        raise NotApplicable("no column of the rows gives a distance")
    a, b = both[: len(y)], both[len(y) :]
    n = len(y)
    sorted_rows = n if nearest is None else min(n, max(k, nearest))
    lengths = (a**2).sum(axis=1)
    weights = _weights(n, k)
    values = np.zeros(n)
    for first in range(0, len(b), max(1, BLOCK // n)):
        part = slice(first, first + max(1, BLOCK // n))
        distance = lengths - 2 * b[part] @ a.T
        order = _nearest(distance, sorted_rows)
        right = (y[order] == test[1][part][:, None]).astype(np.float64)
        values += np.bincount(order.ravel(), _recursion(right, weights, n).ravel(), minlength=n)
    return values / len(b)


def source_values(
    values: NDArray[np.float64], codes: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean value of each source's rows, and its upper 95 % bound for that many sources.

    Parameters
    ----------
    values : ndarray, shape (n,), float64
    codes : ndarray, shape (n,), int64
        Sources in [0, s), each with a row.

    Returns
    -------
    mean, high : ndarray, shape (s,), float64
        Normal bound with the spread of the source's own rows, Bonferroni-corrected; infinite for
        a single row.
    """
    from scipy.special import ndtri

    rows = np.bincount(codes)
    mean = np.bincount(codes, weights=values) / rows
    squares = np.bincount(codes, weights=(values - mean[codes]) ** 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(squares / (rows - 1) / rows)
    bound = float(ndtri(1 - 0.025 / len(rows)))
    return mean, np.where(rows > 1, mean + bound * error, np.inf)


def _nearest(distance: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Column numbers of the nearest (b, count), nearest first."""
    if count == distance.shape[1]:
        return np.argsort(distance, axis=1, kind="stable")
    found = np.argpartition(distance, count - 1, axis=1)[:, :count]
    near = np.take_along_axis(distance, found, axis=1)
    return np.take_along_axis(found, np.argsort(near, axis=1, kind="stable"), axis=1)


def _weights(n: int, k: int) -> NDArray[np.float64]:
    """What one right row at place i (from 1) adds to all before it: min(k, i) / (k i), (n,)."""
    place = np.arange(1, n + 1)
    return np.asarray(np.minimum(k, place) / (k * place))


def _recursion(
    right: NDArray[np.float64], weights: NDArray[np.float64], n: int
) -> NDArray[np.float64]:
    """Values (b, c) of the nearest c of n rows, from whether their labels are right."""
    c = right.shape[1]
    steps = np.empty_like(right)
    steps[:, :-1] = (right[:, :-1] - right[:, 1:]) * weights[: c - 1]
    # Of all rows the last one has this value; of the nearest the next one's is taken for none.
    steps[:, -1] = right[:, -1] * weights[n - 1] if c == n else 0.0
    return np.asarray(steps[:, ::-1].cumsum(axis=1)[:, ::-1])
