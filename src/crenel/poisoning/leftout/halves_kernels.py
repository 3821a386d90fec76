"""Boosting on binned columns, compiled: splits from some rows, leaves from all but each row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.trees.compiled import compiled

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
Bins = NDArray[np.uint8]
#: Ridge on leaves, and Hessian that each side of a split must hold.
PENALTY, LEAST = 1.0, 1.0


@compiled
def boost(
    bins: Bins, y: Numbers, rows: Numbers, luck: Floats, size: int, rate: float, depth: int,
    width: int,
) -> Floats:  # fmt: skip
    """Left-out margins (n,) of every row by trees whose splits come from some rows alone.

    Each line of ``luck`` (rounds, size + columns), uniform in [0, 1), draws the rows and the
    columns that one tree is grown on.
    """
    d, n = bins.shape
    share = 0.0
    for i in range(n):
        share += y[i] / n
    margin, left_out = np.empty(n), np.empty(n)
    for i in range(n):
        margin[i] = left_out[i] = np.log(share / (1.0 - share))
    rows, order = rows.copy(), np.arange(d)
    feature, cut = np.empty(2**depth - 1, np.int64), np.empty(2**depth - 1, np.int64)
    leaf, p = np.empty(n, np.int64), np.empty(n)
    steep, curved = np.empty(2**depth), np.empty(2**depth)
    columns = luck.shape[1] - size
    for r in range(len(luck)):
        for i in range(n):
            p[i] = 1.0 / (1.0 + np.exp(-margin[i]))
        draw(rows, luck[r, :size])
        draw(order, luck[r, size:])
        grow(bins, y, p, rows[:size], order[:columns], depth, width, feature, cut)
        for at in range(2**depth):
            steep[at] = curved[at] = 0.0
        for i in range(n):
            node = 0
            for _level in range(depth):
                f = feature[node]
                right = f >= 0 and bins[f, i] > cut[node]
                node = 2 * node + (2 if right else 1)
            leaf[i] = node - (2**depth - 1)
            steep[leaf[i]] += p[i] - y[i]
            curved[leaf[i]] += p[i] * (1.0 - p[i])
        for i in range(n):
            g, h = steep[leaf[i]], curved[leaf[i]] + PENALTY
            margin[i] -= rate * g / h
            left_out[i] -= rate * (g - (p[i] - y[i])) / (h - p[i] * (1.0 - p[i]))
    return left_out


@compiled
def draw(pool: Numbers, luck: Floats) -> None:
    """Bring as many random entries to the front as there are numbers in [0, 1)."""
    for i in range(len(luck)):
        j = i + int(luck[i] * (len(pool) - i))
        pool[i], pool[j] = pool[j], pool[i]


@compiled
def grow(
    bins: Bins, y: Numbers, p: Floats, rows: Numbers, columns: Numbers, depth: int, width: int,
    feature: Numbers, cut: Numbers,
) -> None:  # fmt: skip
    """Write the splits of a complete tree, level by level: column (-1 for none) and last bin left.

    The children of node v are 2 v + 1 and 2 v + 2.
    """
    m = len(rows)
    node = np.zeros(m, dtype=np.int64)
    g, h = np.empty(m), np.empty(m)
    for i in range(m):
        g[i], h[i] = p[rows[i]] - y[rows[i]], p[rows[i]] * (1.0 - p[rows[i]])
    steep, curved = np.empty((2**depth, width)), np.empty((2**depth, width))
    best = np.empty(2**depth)
    for level in range(depth):
        nodes, first = 2**level, 2**level - 1
        for v in range(nodes):
            best[v], feature[first + v], cut[first + v] = 0.0, -1, 0
        for f in columns:
            for v in range(nodes):
                for b in range(width):
                    steep[v, b] = curved[v, b] = 0.0
            for i in range(m):
                b = bins[f, rows[i]]
                steep[node[i], b] += g[i]
                curved[node[i], b] += h[i]
            for v in range(nodes):
                gain, at = best_cut(steep[v], curved[v])
                if gain > best[v]:
                    best[v], feature[first + v], cut[first + v] = gain, f, at
        for i in range(m):
            v = first + node[i]
            f = feature[v]
            node[i] = 2 * node[i] + (1 if f >= 0 and bins[f, rows[i]] > cut[v] else 0)


@compiled
def best_cut(steep: Floats, curved: Floats) -> tuple[float, int]:
    """Gain in loss of the best cut of one node and column, and its last bin on the left."""
    all_steep, all_curved = 0.0, 0.0
    for b in range(len(steep)):
        all_steep += steep[b]
        all_curved += curved[b]
    before = all_steep * all_steep / (all_curved + PENALTY)
    gain, at, g, h = 0.0, 0, 0.0, 0.0
    for b in range(len(steep) - 1):
        g += steep[b]
        h += curved[b]
        rest = all_curved - h
        if h >= LEAST and rest >= LEAST:
            after = g * g / (h + PENALTY) + (all_steep - g) ** 2 / (rest + PENALTY)
            if after - before > gain:
                gain, at = after - before, b
    return gain, at
