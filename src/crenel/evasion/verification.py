"""Witnesses put back on the legal lattice and asked of the model once more."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.lattice import Lattice

#: A witness may leave its ball by so much, relatively: the rounding of single floats.
SLACK = 1e-5


def sizes(x0: NDArray[Any], x: NDArray[Any], norm: float) -> NDArray[np.float64]:
    """Size of each change, shape (n,), in L-p; in L0 the number of changed values."""
    change = (np.asarray(x, np.float64) - np.asarray(x0, np.float64)).reshape(len(x0), -1)
    if not change.shape[1]:
        return np.zeros(len(x0))
    if norm == 0:
        return np.asarray((change != 0).sum(axis=1), dtype=np.float64)
    return np.asarray(np.linalg.norm(change, ord=norm, axis=1), dtype=np.float64)


def majority(
    predict: Callable[[Any], NDArray[Any]], draws: int
) -> Callable[[Any], NDArray[np.int64]]:
    """Decisions as users get them; of a model that answers at random, the most frequent.

    Parameters
    ----------
    predict : callable
        Rows to class indices.
    draws : int
        Times that the model is asked, 1 or more.
    """

    def decide(x: Any) -> NDArray[np.int64]:
        asked = np.stack([np.asarray(predict(x)) for _ in range(draws)])
        if draws == 1 or not asked.size:
            return np.asarray(asked[0], dtype=np.int64)
        votes = np.stack([(asked == k).sum(axis=0) for k in range(int(asked.max()) + 1)])
        return np.asarray(votes.argmax(axis=0), dtype=np.int64)

    return decide


def verified(
    predict: Callable[[Any], NDArray[Any]],
    x0: NDArray[Any],
    y: NDArray[np.int64],
    x: NDArray[Any],
    lattice: Lattice,
    *,
    norm: float,
    within: NDArray[np.float64],
    goal: NDArray[np.int64] | None = None,
    radii: Any = (),
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Legal witnesses that the model itself decides otherwise, and their sizes.

    Parameters
    ----------
    predict : callable
        The user's own: rows in their dtype to class indices.
    x0, x : ndarray, shape (n, …)
        Rows as they were, in the user's dtype, and as an attack changed them.
    y : ndarray of int64, shape (n,)
        Decisions to be turned.
    lattice : Lattice
    norm : float
        0, 1, 2 or ``inf``.
    within : ndarray of float64, shape (n,)
        Radius that each change was made for; infinite where none was found.
    goal : ndarray of int64, shape (n,), optional
        The only decisions that count; by default every one but ``y`` does.
    radii : sequence of float, increasing
        Balls, to whose rim a change is drawn out where it does not hold once rounded, up from its
        own.

    Returns
    -------
    witness : ndarray, shape (n, …)
        In the user's dtype; as they were where nothing holds.
    size : ndarray of float64, shape (n,)
        Infinite there. Never above ``within``, or the larger radius that was needed, by more than
        the rounding of single floats, which is not counted.

    Notes
    -----
    A change is rounded to the nearest legal values, and if that does not hold, away from the row
    as far as the ball allows: the larger change is still the attacker's to make. What rounding
    undoes in its own ball is drawn out to the next larger ones.
    """
    witness, size = x0.copy(), np.full(len(x0), math.inf)

    def attempt(rows: NDArray[np.int64], x: NDArray[Any], limit: Any, outward: bool) -> None:
        legal = _rounded(x0[rows], x, lattice, norm, limit, outward)
        found = sizes(x0[rows], legal, norm)
        small = found <= limit * (1 + SLACK) + _rounding(x0[rows])
        decided = np.asarray(predict(legal))
        turned = small & (decided != y[rows] if goal is None else decided == goal[rows])
        witness[rows[turned]] = legal[turned]
        size[rows[turned]] = np.minimum(found, limit)[turned]

    for outward in (False, True):
        rows = np.flatnonzero(np.isfinite(within) & np.isinf(size))
        if rows.size and not (outward and lattice.free):
            attempt(rows, x[rows], within[rows], outward)
    for radius in radii if norm else ():
        rows = np.flatnonzero((within <= radius) & np.isinf(size))
        if rows.size:
            attempt(rows, _drawn_out(x0[rows], x[rows], norm, radius), np.full(len(rows), radius),
                    outward=False)  # fmt: skip
    return witness, size


def _drawn_out(
    x0: NDArray[Any], x: NDArray[Any], norm: float, radius: float
) -> NDArray[np.float64]:
    """Changes as they are, as long as a ball allows."""
    before = np.asarray(x0, dtype=np.float64)
    share = radius / np.maximum(sizes(x0, x, norm), 1e-300)
    return before + (x - before) * share.reshape(-1, *[1] * (x0.ndim - 1))


def _rounding(x0: NDArray[Any]) -> NDArray[np.float64]:
    """How far storing a row in its own dtype may move it, shape (n,)."""
    if x0.dtype.kind != "f" or not x0[0:1].size:
        return np.zeros(len(x0))
    largest = np.abs(x0.reshape(len(x0), -1)).max(axis=1)
    return np.asarray(np.spacing(largest), dtype=np.float64)


def _rounded(
    x0: NDArray[Any], x: NDArray[Any], lattice: Lattice, norm: float,
    within: NDArray[np.float64], outward: bool,
) -> NDArray[Any]:  # fmt: skip
    radius = within.reshape(-1, *[1] * (x0.ndim - 1))
    if outward:
        step = np.broadcast_to(np.asarray(lattice.step, dtype=np.float64), x0.shape)
        x = x + 0.5 * step * np.sign(np.asarray(x, np.float64) - x0)
    return lattice.project(x0, x, norm=norm, epsilon=radius if norm == math.inf else None)
