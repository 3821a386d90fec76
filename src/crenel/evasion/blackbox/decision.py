"""Attacks that see decisions alone: from a row that is decided otherwise towards the boundary."""

from __future__ import annotations

import math

import numpy as np

from crenel.evasion.blackbox.budget import Floats, Ledger, Rows
from crenel.evasion.blackbox.windows import Layout

#: Nearest rows decided otherwise that are tried as starting points, and random points after them.
DONORS, RANDOM = 8, 8
#: Smallest side of an image whose probes are smooth; they have about so many grains on a side.
COARSE_FROM, GRAINS = 16, 14
#: Queries kept back for the arc after a normal.
ARC = 4


def start(ledger: Ledger, rows: Rows, pool: Floats, labels: Rows, rng: np.random.Generator) -> None:
    """A first point that is decided otherwise: the nearest known row of another class, or noise.

    In L0 each number goes to the end of its range first, beyond the known row.

    Parameters
    ----------
    ledger : Ledger
    rows : ndarray of int64
        Rows without a point yet.
    pool : ndarray, shape (p, d)
        Rows that the attacker holds, in units of the ledger.
    labels : ndarray of int64, shape (p,)
        Their classes, as far as the attacker knows.
    rng : Generator
    """
    nearest = nearest_of_another(ledger.origin[rows], ledger.y[rows], pool, labels, DONORS)
    for k in range(nearest.shape[1]):
        for ends in (True, False) if ledger.norm == 0 else (False,):
            open_ = np.flatnonzero(np.isinf(ledger.best[rows]) & (nearest[:, k] >= 0))
            goal = pool[nearest[open_, k]]
            if open_.size:
                ledger.ask(rows[open_], _to_the_ends(ledger, rows[open_], goal) if ends else goal)
    for _ in range(RANDOM):
        left = rows[np.isinf(ledger.best[rows]) & (ledger.left(rows) > 0)]
        if not left.size:
            return
        spread = rng.random((len(left), pool.shape[1]))
        ledger.ask(left, ledger.low[left] + spread * (ledger.high[left] - ledger.low[left]))


def _to_the_ends(ledger: Ledger, rows: Rows, goal: Floats) -> Floats:
    """As far as can be in the direction of a goal, where only the number of changes counts."""
    own = ledger.origin[rows]
    return np.where(goal > own, ledger.high[rows], np.where(goal < own, ledger.low[rows], own))


def nearest_of_another(x: Floats, y: Rows, pool: Floats, labels: Rows, count: int) -> Rows:
    """Indices (n, count) of the nearest pool rows of another class; -1 where there is none."""
    found = np.full((len(x), count), -1, dtype=np.int64)
    norms = np.sum(pool**2, axis=1)
    for begin in range(0, len(x), 256):
        part = slice(begin, begin + 256)
        gap = norms - 2 * x[part] @ pool.T
        gap[labels[None, :] == y[part, None]] = math.inf
        k = min(count, len(pool))
        order = np.argsort(gap, axis=1, kind="stable")[:, :k]
        known = np.isfinite(np.take_along_axis(gap, order, axis=1))
        found[part, :k] = np.where(known, order, -1)
    return found


def pull_in(ledger: Ledger, rows: Rows, steps: int = 8, precision: float = 0.02) -> None:
    """Bisect the way from each row to its best point; the nearest point that is turned stays."""
    goal = ledger.point[rows].copy()
    low, high = np.zeros(len(rows)), np.ones(len(rows))
    for _ in range(steps):
        live = np.flatnonzero(
            np.isfinite(ledger.best[rows]) & (high - low > precision * high)
            & (ledger.left(rows) > 0)
        )  # fmt: skip
        if not live.size:
            return
        own = ledger.origin[rows[live]]
        middle = (low[live] + high[live]) / 2
        turned, _ = ledger.ask(rows[live], own + middle[:, None] * (goal[live] - own))
        high[live] = np.where(turned, middle, high[live])
        low[live] = np.where(turned, low[live], middle)


def normals(
    ledger: Ledger, rows: Rows, counts: Rows, radius: Floats, rng: np.random.Generator
) -> Floats:
    """Directions from each row's best point into the other decision, of length one.

    The mean of random directions weighted by what the model answers along them, less the mean
    answer (Chen, Jordan and Wainwright, "HopSkipJumpAttack", 2020); margins, where they are
    seen, weigh more finely than decisions.

    Parameters
    ----------
    ledger : Ledger
    rows : ndarray of int64
    counts : ndarray of int64
        Queries for each row.
    radius : ndarray of float64
        Length of the probes for each row.
    rng : Generator
    """
    at = np.repeat(np.arange(len(rows)), counts)
    d = ledger.origin.shape[1]
    probes = noise(len(at), Layout.of(ledger.x.shape[1:]), rng)
    probes = unit(probes)
    near = np.clip(
        ledger.point[rows[at]] + radius[at, None] * probes,
        ledger.low[rows[at]], ledger.high[rows[at]],
    )  # fmt: skip
    moved = near - ledger.point[rows[at]]
    _, margin = ledger.ask(rows[at], near)
    value = np.where(np.isfinite(margin), -margin, 0.0)
    total = np.zeros(len(rows))
    np.add.at(total, at, value)
    centred = value - (total / np.maximum(counts, 1))[at]
    # where all answers agree their mean tells more than their differences
    spread = np.zeros(len(rows))
    np.maximum.at(spread, at, np.abs(centred))
    centred = np.where(spread[at] > 1e-12, centred, value)
    found = np.zeros((len(rows), d))
    np.add.at(found, at, centred[:, None] * moved)
    return unit(found)


def unit(z: Floats) -> Floats:
    """Rows (m, d) divided by their length in L2; zero rows stay zero."""
    found: Floats = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-300)
    return found


def noise(m: int, layout: Layout, rng: np.random.Generator) -> Floats:
    """Gaussian directions (m, d); of larger images smooth ones, which boundaries follow.

    Low frequencies as in Li et al., "QEBA", 2020: noise on a coarse grid, stretched.
    """
    if not layout.image or min(layout.height, layout.width) < COARSE_FROM:
        return rng.standard_normal((m, layout.channels * layout.height * layout.width))
    grain = max(2, min(layout.height, layout.width) // GRAINS)
    small = (-(-layout.height // grain), -(-layout.width // grain))
    coarse = rng.standard_normal((m, layout.channels, *small))
    fine = coarse.repeat(grain, axis=2).repeat(grain, axis=3)
    fine = np.roll(fine, rng.integers(0, grain, 2), axis=(2, 3))
    return layout.flat(fine[:, :, : layout.height, : layout.width])


def arcs(
    ledger: Ledger, rows: Rows, normal: Floats, *, steps: int = 7, precision: float = 0.02
) -> None:
    """Nearer points on the half circle between each row and its best point, towards the normal.

    Where the boundary is flat, the half circle over the way to the row crosses it at the nearest
    point of the boundary (Maho, Furon and Le Merrer, "SurFree", 2021; Reza et al., "CGBA", 2023).
    """
    own = ledger.origin[rows]
    way = ledger.point[rows] - own
    size = np.linalg.norm(way, axis=1, keepdims=True)
    u = unit(way)
    v = normal - np.sum(normal * u, axis=1, keepdims=True) * u
    v = unit(v)

    def on_arc(which: Rows, angle: Floats) -> Floats:
        c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
        point: Floats = own[which] + size[which] * c * (c * u[which] + s * v[which])
        return point

    # a flat boundary is crossed at the angle between the way and the normal
    guess = np.arccos(np.clip(np.sum(normal * u, axis=1), 0.05, 1.0))
    low, high, angle = np.zeros(len(rows)), np.full(len(rows), math.pi / 2), guess
    for _ in range(steps):
        live = np.flatnonzero((high - low > precision) & (ledger.left(rows) > 0))
        if not live.size:
            return
        turned, _ = ledger.ask(rows[live], on_arc(live, angle[live]))
        low[live] = np.where(turned, angle[live], low[live])
        high[live] = np.where(turned, high[live], angle[live])
        angle = (low + high) / 2


def walk(
    ledger: Ledger, rows: Rows, rng: np.random.Generator, *, first: int = 20, keep: int = 0
) -> None:
    """L2: normals and arcs in turn until the queries are spent.

    Parameters
    ----------
    ledger : Ledger
        Rows hold a point that is turned.
    rows : ndarray of int64
    rng : Generator
    first : int
        Queries for the first normal; the k-th takes the root of k times as many.
    keep : int
        Queries of each row to leave for later.
    """
    d, round_ = ledger.origin.shape[1], 0
    while True:
        live = rows[np.isfinite(ledger.best[rows]) & (ledger.left(rows) > ARC + keep)]
        if not live.size:
            return
        round_ += 1
        counts = np.minimum(round(first * math.sqrt(round_)), ledger.left(live) - ARC - keep)
        radius = np.maximum(ledger.best[live] / math.sqrt(d), ledger.coarseness)
        arcs(ledger, live, normals(ledger, live, counts, radius, rng))
