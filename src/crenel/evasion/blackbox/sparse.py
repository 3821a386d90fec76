"""Fewer and smaller changes: numbers go back to what they were as long as the decision stays."""

from __future__ import annotations

import math

import numpy as np

from crenel.evasion.blackbox.budget import Ledger, Rows


def restore(
    ledger: Ledger, rows: Rows, rng: np.random.Generator, *, queries: int | None = None
) -> None:
    """Put blocks of numbers back, large ones first, and keep what stays turned.

    After the pointwise attack (Schott et al., "Towards the first adversarially robust neural
    network model on MNIST", 2019), in blocks that are halved as in delta debugging (Zeller and
    Hildebrandt, 2002). Shortens a change in L0, L1 and L2, by decisions alone; in L1 and L2 the
    numbers that cannot go back go half the way.

    Parameters
    ----------
    ledger : Ledger
    rows : ndarray of int64
    rng : Generator
    queries : int, optional
        For each row; by default all that are left.
    """
    d = ledger.origin.shape[1]
    end = ledger.asked[rows] + (ledger.most if queries is None else queries)
    rows, end = (a[np.isfinite(ledger.best[rows])] for a in (rows, end))
    if not len(rows):
        return
    order = _order(ledger, rows)
    for level in range(1, math.ceil(math.log2(max(d, 2))) + 1):
        for block in np.array_split(np.arange(d), min(2**level, d)):
            live = np.flatnonzero((ledger.left(rows) > 0) & (ledger.asked[rows] < end))
            if not live.size:
                return
            _put_back(ledger, rows[live], order[live][:, block], 1.0)
    if ledger.norm > 0:
        for share in (0.5, 0.25):
            for j in range(d):
                live = np.flatnonzero((ledger.left(rows) > 0) & (ledger.asked[rows] < end))
                if not live.size:
                    return
                _put_back(ledger, rows[live], order[live][:, d - 1 - j : d - j], share)


def _order(ledger: Ledger, rows: Rows) -> Rows:
    """Positions of each row's numbers, the least changed first."""
    found: Rows = np.argsort(np.abs(ledger.point[rows] - ledger.origin[rows]), axis=1)
    return found


def _put_back(ledger: Ledger, rows: Rows, columns: Rows, share: float) -> None:
    """Ask for the best points with some numbers moved back by a share, where that changes them."""
    at = np.arange(len(rows))[:, None]
    point, own = ledger.point[rows].copy(), ledger.origin[rows]
    part = own[at, columns]
    if share < 1:  # a whole step back must end exactly where the number was
        part = point[at, columns] + share * (part - point[at, columns])
    point[at, columns] = part
    changed = np.flatnonzero((point != ledger.point[rows]).any(axis=1))
    if changed.size:
        ledger.ask(rows[changed], point[changed])


def one_by_one(ledger: Ledger, rows: Rows, rng: np.random.Generator, *, queries: int) -> None:
    """Set single numbers to an end of their range, in random order, where the margin falls.

    After Guo et al., "Simple black-box adversarial attacks" (SimBA), 2019, with the largest step.

    Parameters
    ----------
    ledger : Ledger
        Sees scores.
    rows : ndarray of int64
    rng : Generator
    queries : int
        For each row.
    """
    d = ledger.origin.shape[1]
    point, margin = ledger.origin[rows].copy(), np.full(len(rows), np.inf)
    _, margin = ledger.ask(rows, point)
    order = np.argsort(rng.random((len(rows), d)), axis=1)
    standing = np.ones(len(rows), dtype=bool)
    for k in range(min(queries - 1, 2 * d)):
        live = np.flatnonzero(standing & (ledger.left(rows) > 0))
        if not live.size:
            return
        column = order[live, k // 2]
        ends = ledger.low if k % 2 else ledger.high
        trial = point[live].copy()
        trial[np.arange(len(live)), column] = ends[rows[live], column]
        turned, found = ledger.ask(rows[live], trial)
        better = turned | (found < margin[live])
        point[live[better]], margin[live[better]] = trial[better], found[better]
        standing[live[turned]] = False
