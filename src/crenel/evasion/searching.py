"""A search without gradients over the numbers of a row, for models that only answer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: From rows (m, …) to margins (m,), negative where the decision is wrong.
Margins = Callable[[NDArray[Any], NDArray[np.int64]], NDArray[np.float64]]


def margins_of(predict: Callable[[Any], Any], scores: Callable[[Any], Any] | None) -> Margins:
    """Margins by scores where they are seen, else 1 for right and -1 for wrong decisions."""

    def margins(x: NDArray[Any], y: NDArray[np.int64]) -> NDArray[np.float64]:
        wrong = np.asarray(predict(x)) != y
        if scores is None:
            return np.where(wrong, -1.0, 1.0)
        p = np.array(scores(x), dtype=np.float64)
        right = p[np.arange(len(y)), y].copy()
        p[np.arange(len(y)), y] = -np.inf
        return np.where(wrong, -1.0, np.maximum(right - p.max(axis=1), 0.0))

    return margins


def smallest_radius(
    margins: Margins,
    x: NDArray[Any],
    y: NDArray[np.int64],
    epsilons: NDArray[np.float64],
    *,
    norm: float,
    low: Any,
    high: Any,
    queries: int,
    seed: int,
) -> NDArray[np.float64]:
    """Smallest of the epsilons at which a random search turns each row; an upper bound.

    Blocks of features go to the rim of the ball and stay where the margin falls (after Square,
    Andriushchenko et al., 2020); what turned a row at one epsilon is within every larger one.

    Parameters
    ----------
    margins : callable
    x : ndarray, shape (n, …)
    y : ndarray of int64, shape (n,)
    epsilons : ndarray, increasing
    norm : float
        ``inf`` or 2.
    low, high : float or ndarray
        Legal range.
    queries : int
        For each row and epsilon.
    seed : int
    """
    rng = np.random.default_rng(seed)
    needed = np.full(len(x), np.inf)
    flat = x.reshape(len(x), -1).astype(np.float64)
    box = [np.broadcast_to(b, x.shape[1:]).ravel() for b in (low, high)]
    for epsilon in epsilons:
        rows = np.flatnonzero(np.isinf(needed))
        point = flat[rows].copy()
        value = margins(x[rows], y[rows])
        for k in range(queries):
            live = np.flatnonzero(value >= 0)
            if not live.size:
                break
            share = max(1.5 / flat.shape[1], 0.5 * (1 - k / queries) ** 2)
            own = flat[rows[live]]
            trial = _push(point[live], own, epsilon, norm, share, rng)
            trial = np.clip(trial, np.minimum(box[0], own), np.maximum(box[1], own))
            found = margins(trial.reshape(-1, *x.shape[1:]).astype(x.dtype), y[rows[live]])
            better = found < value[live]
            point[live[better]], value[live[better]] = trial[better], found[better]
        needed[rows[value < 0]] = epsilon
    return needed


def _push(
    point: NDArray[np.float64], own: NDArray[np.float64], epsilon: float, norm: float,
    share: float, rng: np.random.Generator,
) -> NDArray[np.float64]:  # fmt: skip
    """Points with a random share of features set to the rim of the ball."""
    mask = rng.random(point.shape) < share
    mask[np.arange(len(mask)), rng.integers(0, mask.shape[1], len(mask))] = True
    sign = rng.choice([-1.0, 1.0], point.shape)
    inside = epsilon * (1 - 1e-9)  # so that rounding does not leave the ball
    if norm == math.inf:
        return np.where(mask, own + inside * sign, point)
    width = np.sqrt(mask.sum(axis=1, keepdims=True))
    grown = point - own + mask * sign * inside / width
    size = np.linalg.norm(grown, axis=1, keepdims=True)
    near: NDArray[np.float64] = own + grown * inside / np.maximum(size, 1e-300)
    return near
