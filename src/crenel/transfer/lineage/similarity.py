"""How alike two arrays are, and how likely two unrelated ones would be as alike."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crenel.transfer.lineage.weights import Floats

#: Of an axis that is permuted; shorter ones have too few orders to tell chance from likeness.
SHORTEST = 16
#: Rows and columns of one test at most; a fixed choice of them is a test as valid as all.
ROWS, COLUMNS = 512, 2048
#: Decimal logarithm of the smallest chance that is told.
LEAST = -300.0
#: Distinct values below which an array is a mask, not weights.
FEW_VALUES = 16
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Likeness:
    """Two arrays of one shape.

    Attributes
    ----------
    cosine : float
        In [-1, 1]; 0 where one of them is all zero.
    change : float
        Norm of the difference over the norm of the first.
    identical : bool
    constant : bool
        Whether one of them holds a single value, so that its likeness says nothing.
    """

    cosine: float
    change: float
    identical: bool
    constant: bool


def likeness(a: Floats, b: Floats) -> Likeness:
    """Cosine, relative change and equality of two arrays of one shape, float32."""
    u, v = a.reshape(-1), b.reshape(-1)
    dot = aa = bb = dd = 0.0
    same = True
    for i in range(0, len(u), _CHUNK):
        p, q = u[i : i + _CHUNK], v[i : i + _CHUNK]
        d = q - p
        dot += float(np.dot(p, q))
        aa, bb = aa + float(np.dot(p, p)), bb + float(np.dot(q, q))
        dd += float(np.dot(d, d))
        same = same and not d.any()
    constant = bool(len(u) == 0 or (u == u[0]).all() or (v == v[0]).all())
    cosine = max(-1.0, min(1.0, dot / math.sqrt(aa * bb))) if aa and bb else 0.0
    change = math.sqrt(dd / aa) if aa else (0.0 if same else math.inf)
    return Likeness(cosine, change, same, constant)


def permutation_test(a: Floats, b: Floats) -> tuple[float, float] | None:
    """How unlikely unrelated weights are to be as alike: a test by permuting channels.

    Hidden channels of a network have no order of their own: permuting them gives a network that
    training would have given as often. So the inner product of two unrelated layers has the same
    law whatever the order of one layer's channels, and its mean and variance over all orders are
    known in closed form (Hoeffding, 1951). Channels are centred and of norm one. Unlike
    ±1/sqrt(n), which independent entries would give, this holds for layers with means, structure
    and norms of their own.

    Which axis is hidden is not known (the inputs of the first layer, the classes of the last, are
    not), so that the axis that says less counts.

    Parameters
    ----------
    a, b : ndarray of one shape with at least two axes, float32

    Returns
    -------
    (z, log10_p) or None
        Standard deviations above the mean of all orders, and the decimal logarithm of the chance
        (normal tail, but no less than one in all the orders); None where no axis is long enough.
    """
    found = [
        _along(a, b, axis)
        for axis in range(min(2, a.ndim))
        if a.shape[axis] >= SHORTEST and a.size > a.shape[axis]
    ]
    return min(found, key=lambda f: -f[1]) if found else None


def _along(a: Floats, b: Floats, axis: int) -> tuple[float, float]:
    from scipy.special import gammaln, log_ndtr

    rows = _spread(a.shape[axis], ROWS)
    p, q = (np.moveaxis(x, axis, 0)[rows].reshape(len(rows), -1) for x in (a, b))
    if p.shape[1] > COLUMNS:
        columns = np.random.default_rng(0).choice(p.shape[1], COLUMNS, replace=False)
        p, q = p[:, columns], q[:, columns]
    z = order_z(_channels(p) @ _channels(q).T)
    log_p = max(float(log_ndtr(-z)), -float(gammaln(len(rows) + 1)))
    return z, max(LEAST, log_p / math.log(10))


def _channels(rows: Floats) -> Floats:
    """Channels of norm one, without what all have in common: none outweighs the others.

    Else one channel far larger than all, at one place in both models by chance, would decide; so
    it would by its part in a mean, which is why norms are taken off before the mean, too.
    """
    unit = _unit(rows)
    return _unit(unit - unit.mean(axis=0))


def _unit(rows: Floats) -> Floats:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, 1e-30), dtype=np.float32)


def order_z(gram: NDArray[np.floating]) -> float:
    """Standard score of the trace of a square matrix among those of its rows permuted."""
    g = gram.astype(np.float64)
    d = g - g.mean(axis=0) - g.mean(axis=1)[:, None] + g.mean()
    variance = float((d**2).sum()) / max(len(g) - 1, 1)
    scale = float(np.abs(g).max()) if g.size else 0.0
    if variance <= (1e-9 * scale) ** 2:
        return 0.0
    return float(np.trace(d)) / math.sqrt(variance)


def is_table(a: Floats) -> bool:
    """Whether an array looks computed, not trained: unrelated models hold the same tables.

    Masks (few distinct values), banks of filters (nearly all zero), and Fourier bases (each row
    or column one frequency) are taken for tables.
    """
    flat = a.reshape(-1)[_spread(a.size, 1 << 16)]
    if len(np.unique(flat)) <= FEW_VALUES or np.mean(flat == 0) >= 0.95:
        return True
    return any(_is_periodic(a, axis) for axis in range(a.ndim) if a.shape[axis] >= 64)


def _is_periodic(a: Floats, axis: int) -> bool:
    moved = np.moveaxis(a, axis, -1)
    some = np.unravel_index(_spread(a.size // a.shape[axis], 64), moved.shape[:-1])
    power = np.abs(np.fft.rfft(moved[some], axis=1)[:, 1:]) ** 2
    total = np.maximum(power.sum(axis=1), 1e-30)
    # A window spreads one frequency over four bins.
    return bool(np.median(np.sort(power, axis=1)[:, -4:].sum(axis=1) / total) >= 0.95)


def _spread(n: int, most: int) -> NDArray[np.int64]:
    """Up to so many of n indices, evenly spread."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))


def low_rank_share(change: Floats, *, rank: int = 16, seed: int = 0) -> float:
    """Share of a change's squared norm in its largest singular directions.

    A merged low-rank adapter (LoRA; Hu et al., 2021) has all of it in a few.

    Parameters
    ----------
    change : ndarray, at least 2-D
        Taken as a matrix (first axis, all others).
    rank : int
        Directions; at most an eighth of the shorter side are looked at.

    Returns
    -------
    float
        In [0, 1]: a lower bound, by a randomised range with two power steps (Halko et al., 2011).
    """
    m = change.reshape(len(change), -1)
    rank = max(1, min(rank, min(m.shape) // 8))
    total = float(np.square(m, dtype=np.float64).sum())
    if total == 0:
        return 0.0
    draw = np.random.default_rng(seed)
    width = min(min(m.shape), rank + 8)
    y = m @ draw.standard_normal((m.shape[1], width)).astype(np.float32)
    for _ in range(2):
        q, _r = np.linalg.qr(y)
        y = m @ (m.T @ q)
    q, _r = np.linalg.qr(y)
    values = np.linalg.svd(q.T @ m, compute_uv=False)[:rank]
    return min(1.0, float(np.square(values, dtype=np.float64).sum()) / total)
