"""Boosting along given splits, compiled: with all rows once, and without a group's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.trees.compiled import compiled

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Places = NDArray[np.uint16]
Numbers = NDArray[np.int64]


@compiled
def step(steep: float, curved: float, rate: float, scale: float, penalty: float) -> float:
    """What a leaf adds; nothing where it holds no rows."""
    return -rate * steep / (scale * curved + penalty) if curved > 1e-9 else 0.0


@compiled
def expected(margins: Floats, out: Singles) -> None:
    """Write the probabilities (j, n) of margins (j, n); one line is that of two classes."""
    j, n = margins.shape
    for i in range(n):
        top, total = margins[0, i], 0.0
        if j == 1:
            out[0, i] = 1.0 / (1.0 + np.exp(-top))
            continue
        for c in range(j):
            top = max(top, margins[c, i])
        for c in range(j):
            total += np.exp(margins[c, i] - top)
        for c in range(j):
            out[c, i] = np.exp(margins[c, i] - top) / total


@compiled
def follow(
    leaf: Places, leaves: int, y: Numbers, weight: Floats, start: Floats, rate: float,
    scale: float, penalty: float, j: int,
) -> tuple[Floats, Floats, Floats, Singles]:  # fmt: skip
    """Boost with all rows along the trees' splits.

    Returns the gradients and Hessians of each leaf (trees, leaves), its value, and the
    probabilities (rounds, j, n) before each round.
    """
    trees, n = leaf.shape
    steep, curved = np.zeros((trees, leaves)), np.zeros((trees, leaves))
    value = np.zeros((trees, leaves))
    course = np.empty((trees // j, j, n), dtype=np.float32)
    margins = np.empty((j, n))
    for c in range(j):
        for i in range(n):
            margins[c, i] = start[c]
    for r in range(trees // j):
        expected(margins, course[r])
        for c in range(j):
            tree = r * j + c
            for i in range(n):
                p = np.float64(course[r, c, i])
                steep[tree, leaf[tree, i]] += weight[i] * (p - aim(y[i], c, j))
                curved[tree, leaf[tree, i]] += weight[i] * p * (1.0 - p)
            for at in range(leaves):
                value[tree, at] = step(steep[tree, at], curved[tree, at], rate, scale, penalty)
            for i in range(n):
                margins[c, i] += value[tree, leaf[tree, i]]
    return steep, curved, value, course


@compiled
def aim(y: int, c: int, j: int) -> float:
    """What line c of the probabilities should be for a row of class y."""
    return 1.0 if (y == c if j > 1 else y == 1) else 0.0


@compiled
def lift(p: Singles, d: Singles, out: Singles) -> None:
    """Write p exp(d) (n,), to 1e-6 for the small moves that matter, and saturating far out."""
    for i in range(len(p)):
        u = min(max(d[i], np.float32(-16.0)), np.float32(16.0)) * np.float32(0.0625)
        e = np.float32(0.041666668) * u + np.float32(0.16666667)
        e = (e * u + np.float32(0.5)) * u + np.float32(1.0)
        e = e * u + np.float32(1.0)
        e *= e
        e *= e
        e *= e
        out[i] = p[i] * e * e


@compiled
def moved(p: Singles, d: Singles, out: Singles) -> None:
    """Write the probabilities (j, n) whose margins are moved by d from where they give p."""
    j, n = p.shape
    for c in range(j):
        lift(p[c], d[c], out[c])
    if j == 1:
        for i in range(n):
            up = out[0, i]
            out[0, i] = up / (np.float32(1.0) - p[0, i] + up)
        return
    for i in range(n):
        total = np.float32(0.0)
        for c in range(j):
            total += out[c, i]
        for c in range(j):
            out[c, i] /= total


@compiled
def replay(
    paths: Places, some: Singles, kept: Singles, leaf: Places, course: Singles, y: Numbers,
    weight: Floats, first: int, last: int, shown: Places, steep: Floats, curved: Floats,
    value: Floats, move: Floats, rate: float, scale: float, penalty: float,
) -> Singles:  # fmt: skip
    """Change of the margins (j, m) of the shown rows without the rows from first to last.

    ``paths`` (trees, f), ``some`` (rounds, j, f) and ``kept`` (f,) are leaves, probabilities and
    weights of the rows whose gradients are followed; the group's own among them weigh nothing.
    ``move`` (j,) changes the margins before the first tree.
    """
    rounds, j, f = some.shape
    leaves, m = steep.shape[1], shown.shape[1]
    change = np.empty((j, m), dtype=np.float32)
    along = np.empty((j, f), dtype=np.float32)
    now = np.empty((j, f), dtype=np.float32)
    bend = np.empty(f, dtype=np.float32)
    for c in range(j):
        change[c] = np.float32(move[c])
        along[c] = np.float32(move[c])
    g, h, more = np.empty(leaves), np.empty(leaves), np.empty(leaves, dtype=np.float32)
    for r in range(rounds):
        moved(some[r], along, now)
        for c in range(j):
            tree = r * j + c
            for at in range(leaves):
                g[at], h[at] = steep[tree, at], curved[tree, at]
            for i in range(first, last):
                p = np.float64(course[r, c, i])
                g[leaf[tree, i]] -= weight[i] * (p - aim(y[i], c, j))
                h[leaf[tree, i]] -= weight[i] * p * (1.0 - p)
            away(some[r, c], now[c], kept, bend)
            for i in range(f):
                g[paths[tree, i]] += now[c, i]
                h[paths[tree, i]] += bend[i]
            for at in range(leaves):
                more[at] = step(g[at], h[at], rate, scale, penalty) - value[tree, at]
            for i in range(f):
                along[c, i] += more[paths[tree, i]]
            for i in range(m):
                change[c, i] += more[shown[tree, i]]
    return change


@compiled
def away(p: Singles, q: Singles, kept: Singles, bend: Singles) -> None:
    """Turn q into the weighted change of gradients, and write that of Hessians, (f,) each."""
    for i in range(len(p)):
        difference = kept[i] * (q[i] - p[i])
        bend[i] = difference * (np.float32(1.0) - q[i] - p[i])
        q[i] = difference
