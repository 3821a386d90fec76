"""Descent from adversarial rows of cells to nearer ones, compiled: upper bounds."""

from __future__ import annotations

import numpy as np

from crenel.evasion.trees.compact import COLUMN, CUT, OTHER, Compact
from crenel.evasion.trees.compiled import compiled, inner
from crenel.evasion.trees.ensemble import Ints
from crenel.evasion.trees.kernels import Pair, Place, Trees, flips, reached

TRIALS = 3000  # exchanges tried before a row is left as it is


@inner
def holds(cells: Ints, c: Compact, p: Place, trees: Trees, pair: Pair) -> bool:
    """Whether a row of cells inside the box of ``c`` is decided for the other class."""
    margin = c.constant
    for root in c.roots:
        n = root
        while c.nodes[n, COLUMN] >= 0:
            n = n + 1 if cells[c.nodes[n, COLUMN]] < c.nodes[n, CUT] else c.nodes[n, OTHER]
        margin += c.value[n]
    return flips(margin, cells, p.cut, trees, pair)


@inner
def clip(cells: Ints, p: Place, radius: float, out: Ints) -> None:
    """Move each column towards the row's own cell until it is within ``radius``."""
    for f in range(len(cells)):
        c = cells[f]
        while p.distance[p.start[f] + c] > radius:
            c += 1 if c < p.cell[f] else -1
        out[f] = c


@inner
def farthest(cells: Ints, p: Place, below: float) -> tuple[float, int]:
    """Largest distance under ``below`` of any column, and that column."""
    step, column = 0.0, -1
    for f in range(len(cells)):
        distance = p.distance[p.start[f] + cells[f]]
        if step < distance < below:
            step, column = distance, f
    return step, column


@compiled
def shrink_radius(cells: Ints, c: Compact, p: Place, trees: Trees, pair: Pair) -> None:
    """Halve the radius to which adversarial ``cells`` are clipped while they stay so."""
    trial = np.empty_like(cells)
    low, high = 0.0, farthest(cells, p, np.inf)[0]
    while True:
        under = farthest(cells, p, high)[0]
        if under <= low:
            return
        middle = min(under, (low + high) / 2)
        clip(cells, p, middle, trial)
        if holds(trial, c, p, trees, pair):
            for f in range(len(cells)):
                cells[f] = trial[f]
            high = farthest(cells, p, np.inf)[0]
        else:
            low = middle


@inner
def nearer(cells: Ints, f: int, c: Compact, p: Place, trees: Trees, pair: Pair) -> bool:
    """Move column f to its first cell, outwards from the row's own, that stays adversarial."""
    kept = cells[f]
    cells[f] = p.cell[f]
    while cells[f] != kept:
        if holds(cells, c, p, trees, pair):
            return True
        cells[f] += 1 if kept > p.cell[f] else -1
    return False


@compiled
def descend(cells: Ints, c: Compact, p: Place, trees: Trees, pair: Pair, norm: int) -> None:
    """Coordinate descent over thresholds from adversarial ``cells`` in the box of ``c``.

    Each move keeps the row adversarial and brings one column nearer, the farthest first; for
    L-inf (``norm`` 0) only that one matters, so the descent stops when it is stuck.
    """
    moved = True
    while moved:
        moved = False
        if norm == 0:
            shrink_radius(cells, c, p, trees, pair)
        step, f = farthest(cells, p, np.inf)
        while f >= 0:
            if nearer(cells, f, c, p, trees, pair):
                moved = True
            elif norm == 0:
                return
            step, f = farthest(cells, p, step)


@inner
def exchange(cells: Ints, c: Compact, p: Place, trees: Trees, pair: Pair, norm: int) -> bool:
    """Put one column back and move another farther, where both together bring the row nearer.

    With `descend` a search over neighbouring tuples of leaves (Zhang et al., 2020).
    """
    best, trials = reached(cells, p, norm), 0
    for f in range(len(cells)):
        kept = cells[f]
        if kept == p.cell[f]:
            continue
        saved = p.distance[p.start[f] + kept] ** norm
        cells[f] = p.cell[f]
        for g in range(len(cells)):
            held = cells[g]
            most = saved + p.distance[p.start[g] + held] ** norm - 1e-9 * best
            for side in range(-1, 2, 2):
                cells[g] = held + side
                while 0 <= cells[g] < p.start[g + 1] - p.start[g]:
                    if g == f or p.distance[p.start[g] + cells[g]] ** norm >= most:
                        break
                    trials += 1
                    if holds(cells, c, p, trees, pair):
                        return True
                    if trials > TRIALS:
                        cells[f], cells[g] = kept, held
                        return False
                    cells[g] += side
            cells[g] = held
        cells[f] = kept
    return False


@compiled
def polish(cells: Ints, c: Compact, p: Place, trees: Trees, pair: Pair, norm: int) -> None:
    """Bring adversarial ``cells`` nearer in L1 or L2 until no single exchange does."""
    descend(cells, c, p, trees, pair, norm)
    while exchange(cells, c, p, trees, pair, norm):
        descend(cells, c, p, trees, pair, norm)
