"""Rays: the smallest L-inf radius along a vector of signs, by decisions or by scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from crenel.evasion.blackbox.budget import Flags, Floats, Ledger, Rows
from crenel.evasion.blackbox.decision import nearest_of_another

#: A ray is bisected until its radius is known to this share.
PRECISION = 0.01
#: Rows of another class towards which rows that stand still begin again.
ELSEWHERE = 5
#: Where scores are seen, flips are tried at this share of the best radius.
AIM = 0.9


def rays(
    ledger: Ledger, rows: Rows, rng: np.random.Generator, *, goal: Floats | None = None,
    patience: float = math.inf, between: Callable[[], None] | None = None,
) -> None:  # fmt: skip
    """L-inf: flip the signs of ever smaller blocks and keep what is turned nearer.

    With decisions alone after Chen and Gu, "RayS", 2020: a flip is asked once, just below the
    best radius so far, and bisected where it is turned. With scores a flip stays where the margin
    falls at nine tenths of the best radius, so that every answer tells (after Al-Dujaili and
    O'Reilly, "Sign bits are all you need for black-box attacks", 2020). When blocks of all sizes
    are tried, the order of the numbers is drawn anew; a row that all of them brought no nearer is
    left alone.

    Parameters
    ----------
    ledger : Ledger
        Rows may hold a point that is turned already.
    rows : ndarray of int64
    rng : Generator
    goal : ndarray of float64, shape (m, d), optional
        Points that the first rays go towards; by default those that the rows hold.
    patience : float
        Flips in a row without a gain after which a row is left alone.
    between : callable, optional
        Called before each flip; what it finds stands in the ledger.
    """
    state = _State.towards(ledger, rows, goal)
    _aim(ledger, state, np.arange(len(rows)))
    order, going = np.arange(ledger.origin.shape[1]), np.ones(len(rows), dtype=bool)
    idle = np.zeros(len(rows))
    while True:
        before = state.radius.copy()
        for block in _blocks(order):
            if between is not None:
                between()
            live = np.flatnonzero(going & (idle < patience) & (ledger.left(rows) > 0))
            if not live.size:
                return
            better = _flip(ledger, state, live, block)
            idle[live] = np.where(better, 0, idle[live] + 1)
        going &= state.radius < before * (1 - PRECISION)
        order = rng.permutation(order)


def rays_from_elsewhere(
    ledger: Ledger, rows: Rows, rng: np.random.Generator, pool: Floats, labels: Rows, *,
    first: int = 0, between: Callable[[], None] | None = None,
) -> None:  # fmt: skip
    """Search again, towards the nearest rows of another class, with the queries that are left.

    Parameters
    ----------
    ledger : Ledger
    rows : ndarray of int64
    rng : Generator
    pool : ndarray, shape (p, d)
        Rows that the attacker holds, in units of the ledger.
    labels : ndarray, shape (p,)
        Their classes.
    first : int
        Nearest rows to pass over.
    between : callable, optional
        As in `rays`.
    """
    others = nearest_of_another(ledger.origin[rows], ledger.y[rows], pool, labels, ELSEWHERE)
    for k in range(first, ELSEWHERE):
        live = np.flatnonzero((ledger.left(rows) > 0) & (others[:, k] >= 0))
        if live.size:
            rays(ledger, rows[live], rng, goal=pool[others[live, k]], between=between)


@dataclass
class _State:
    """Signs of each row, the radius at which they are turned, and where flips are tried."""

    rows: Rows
    ray: Floats
    radius: Floats
    work: Floats
    margin: Floats

    @classmethod
    def towards(cls, ledger: Ledger, rows: Rows, goal: Floats | None) -> _State:
        """Rays towards points, by default those that rows hold."""
        way = (ledger.point[rows] if goal is None else goal) - ledger.origin[rows]
        ray, m = np.where(way < 0, -1.0, 1.0), len(rows)
        start = np.full(m, float((ledger.high - ledger.low).max()))
        if goal is None:
            start = np.where(np.isfinite(ledger.best[rows]), ledger.best[rows], start)
        radius = _shoot(ledger, rows, ray, start)
        return cls(rows, ray, np.where(np.isfinite(radius), radius, start), start, np.full(m, 1.0))


def _blocks(order: Rows) -> Iterator[Rows]:
    """All numbers, then halves, quarters … down to single ones."""
    d = len(order)
    for level in range(math.ceil(math.log2(max(d, 2))) + 1):
        yield from np.array_split(order, min(2**level, d))


def _aim(ledger: Ledger, s: _State, at: Rows) -> None:
    """Set where flips are tried, and the margin to beat there."""
    if ledger.scores is None:
        s.work[at], s.margin[at] = s.radius[at] * (1 - PRECISION), 0.0
        return
    s.work[at] = s.radius[at] * AIM
    turned, s.margin[at] = ledger.ask(s.rows[at], _at(ledger, s.rows[at], s.ray[at], s.work[at]))
    s.radius[at[turned]] = s.work[at[turned]]


def _flip(ledger: Ledger, s: _State, live: Rows, block: Rows) -> Flags:
    """Try the rays with one block of signs turned round."""
    trial = s.ray[live].copy()
    trial[:, block] *= -1
    rows = s.rows[live]
    turned, margin = ledger.ask(rows, _at(ledger, rows, trial, s.work[live]))
    better = turned | (margin < s.margin[live])
    s.ray[live[better]], s.margin[live[better]] = trial[better], margin[better]
    hit = live[turned]
    if hit.size:
        s.radius[hit] = _bisect(ledger, s.rows[hit], s.ray[hit], s.work[hit], 2 * PRECISION)
        _aim(ledger, s, hit)
    return better


def _at(ledger: Ledger, rows: Rows, ray: Floats, radius: Floats) -> Floats:
    point = ledger.origin[rows] + radius[:, None] * ray
    return np.clip(point, ledger.low[rows], ledger.high[rows])


def _shoot(ledger: Ledger, rows: Rows, ray: Floats, start: Floats) -> Floats:
    """The smallest radius up to ``start`` at which each ray is turned; infinite where none is."""
    turned, _ = ledger.ask(rows, _at(ledger, rows, ray, start))
    found = np.full(len(rows), math.inf)
    found[turned] = _bisect(ledger, rows[turned], ray[turned], start[turned])
    return found


def _bisect(ledger: Ledger, rows: Rows, ray: Floats, turned: Floats, gain: float = 1.0) -> Floats:
    """The smallest radius found at which each ray is turned, from one at which it is.

    Where little is to be gained, steps of that share come first, each twice the one before.
    """
    low, high, step = np.zeros(len(rows)), turned.copy(), np.full(len(rows), gain)
    while True:
        live = np.flatnonzero((high - low > PRECISION * high) & (ledger.left(rows) > 0))
        if not live.size:
            return high
        middle = np.maximum((low[live] + high[live]) / 2, high[live] * (1 - step[live]))
        hit: Flags = ledger.ask(rows[live], _at(ledger, rows[live], ray[live], middle))[0]
        high[live] = np.where(hit, middle, high[live])
        low[live] = np.where(hit, low[live], middle)
        step[live] *= 2
