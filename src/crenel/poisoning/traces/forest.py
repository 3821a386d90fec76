"""Nearest neighbours in near-linear time, by trees of random projections."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Rows up to which neighbours are exact.
EXACT = 4096
#: Rows of a leaf, within which all are compared.
LEAF = 48
#: Trees; each has its own directions.
TREES = 5
#: Distances computed at a time.
PAIRS = 4_000_000


def nearest(
    z: NDArray[np.float32], k: int, seed: int = 0, trees: int = TREES
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The k nearest other rows of each row.

    Up to 4,096 rows are all compared. More are split at the median of random projections, again
    and again, into leaves of about 48 rows, within which all are compared; several such trees
    (Dasgupta and Freund, 2008) find nearly every neighbour that is much nearer than the others,
    and rarely miss it by much otherwise. Time grows as n log n.

    Parameters
    ----------
    z : ndarray, shape (n, d), float32
        At least two rows.
    k : int
        Fewer where there are fewer rows.
    seed, trees : int

    Returns
    -------
    rows : ndarray, shape (n, k), int32
        Nearest first; -1 where a place is empty.
    distances : ndarray, shape (n, k), float32
        Infinite there.
    """
    n = len(z)
    k = min(k, n - 1)
    if n <= EXACT:
        return _exact(z, k)
    rng = np.random.default_rng(seed)
    rows = np.full((n, k), -1, dtype=np.int32)
    distances = np.full((n, k), np.inf, dtype=np.float32)
    for _ in range(trees):
        for leaf in _blocks(leaves(z, rng)):
            _compare(z, leaf, rows, distances)
    return rows, distances


def leaves(z: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.int32]:
    """Row numbers of the leaves of one tree, shape (leaves, size); -1 pads."""
    n = len(z)
    depth = max(0, int(np.ceil(np.log2(n / LEAF))))
    size = -(-n // 2**depth)
    order = np.full(size * 2**depth, -1, dtype=np.int32)
    order[:n] = rng.permutation(n)
    directions = rng.standard_normal((z.shape[1], max(1, depth))).astype(np.float32)
    projected = np.vstack([z @ directions, np.full((1, max(1, depth)), np.inf, np.float32)])
    for level in range(depth):
        # -1 is the last row, at infinity: the padding ends up together
        parts = order.reshape(2**level, -1)
        half = parts.shape[1] // 2
        at = np.argpartition(projected[parts, level], half, axis=1)
        order = np.take_along_axis(parts, at, axis=1).ravel()
    return order.reshape(-1, size)


def _blocks(found: NDArray[np.int32]) -> list[NDArray[np.int32]]:
    step = max(1, PAIRS // found.shape[1] ** 2)
    return [found[s : s + step] for s in range(0, len(found), step)]


def _compare(
    z: NDArray[np.float32],
    leaf: NDArray[np.int32],
    rows: NDArray[np.int32],
    distances: NDArray[np.float32],
) -> None:
    """Compare the rows of each leaf with each other; keep each row's nearest so far."""
    m, size = leaf.shape
    points = z[leaf]
    norms = np.einsum("mld,mld->ml", points, points)
    squares = norms[:, :, None] + norms[:, None, :] - 2 * points @ points.transpose(0, 2, 1)
    squares[:, np.arange(size), np.arange(size)] = np.inf
    squares[np.broadcast_to((leaf < 0)[:, None, :], squares.shape)] = np.inf
    k = min(rows.shape[1], size - 1)
    at = np.argpartition(squares, k - 1, axis=2)[:, :, :k]
    near = np.sqrt(np.maximum(np.take_along_axis(squares, at, axis=2), 0))
    who = np.take_along_axis(np.broadcast_to(leaf[:, None, :], squares.shape), at, axis=2)
    own = leaf.ravel()
    real = own >= 0
    own, near, who = own[real], near.reshape(m * size, k)[real], who.reshape(m * size, k)[real]
    _merge(own, who, near, rows, distances)


def _merge(
    own: NDArray[np.int32],
    who: NDArray[np.int32],
    near: NDArray[np.float32],
    rows: NDArray[np.int32],
    distances: NDArray[np.float32],
) -> None:
    """Keep the k nearest of the neighbours known before and those found now."""
    k = rows.shape[1]
    known = (who[:, :, None] == rows[own][:, None, :]).any(axis=2)
    near = np.where(known, np.float32(np.inf), near)
    both = np.concatenate([distances[own], near], axis=1)
    names = np.concatenate([rows[own], who], axis=1)
    at = np.argsort(both, axis=1, kind="stable")[:, :k]
    distances[own] = np.take_along_axis(both, at, axis=1)
    rows[own] = np.where(
        np.isfinite(distances[own]), np.take_along_axis(names, at, axis=1), np.int32(-1)
    )


def _exact(z: NDArray[np.float32], k: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    n = len(z)
    rows = np.empty((n, k), dtype=np.int32)
    distances = np.empty((n, k), dtype=np.float32)
    step = max(1, PAIRS // n)
    for start in range(0, n, step):
        own = np.arange(start, min(n, start + step))
        squares = squared(z[own], z)
        squares[np.arange(len(own)), own] = np.inf
        at = np.argsort(squares, axis=1, kind="stable")[:, :k]
        rows[own] = at
        distances[own] = np.sqrt(np.take_along_axis(squares, at, axis=1))
    return rows, distances


def squared(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared Euclidean distances, shape (len(a), len(b)), float32, never below 0."""
    products = a @ b.T
    products *= -2
    products += np.einsum("ij,ij->i", a, a)[:, None]
    products += np.einsum("ij,ij->i", b, b)[None]
    np.maximum(products, 0, out=products)
    return products
