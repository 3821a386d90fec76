"""What an attacker, or chance, does to labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def relabel(
    y: NDArray[np.int64], rows: NDArray[np.int64], k: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Labels with those of some rows replaced by a random other class.

    Parameters
    ----------
    y : ndarray, shape (n,), int64
        Class indices in [0, k); unchanged.
    rows : ndarray, shape (m,), int64
        Distinct row numbers.

    Returns
    -------
    ndarray, shape (n,), int64
    """
    changed = y.copy()
    changed[rows] = (y[rows] + rng.integers(1, k, len(rows))) % k
    return changed


def draw_labels(p: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """One label for each row of probabilities (n, k)."""
    above = p.cumsum(axis=1) < rng.random((len(p), 1))
    labels: NDArray[np.int64] = above.sum(axis=1).clip(max=p.shape[1] - 1).astype(np.int64)
    return labels


def pick(pool: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """So many distinct entries of a pool, all of it where it is smaller."""
    return rng.choice(pool, min(count, len(pool)), replace=False)


def subset(n: int, rows: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """At most so many of n row numbers, ascending."""
    if n <= rows:
        return np.arange(n)
    return np.sort(rng.choice(n, rows, replace=False))
