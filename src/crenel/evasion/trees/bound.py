"""Branch and bound inside a box of cells, compiled.

A box is bounded by the sum over trees of the largest leaf that it can still reach.  Of all
rows in a box the one nearest to the row under attack, its corner, is scored; where neither
settles the box it is split where the paths of the corner and of the best leaf part, in the tree
whose bound exceeds the corner's leaf the most.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from crenel.evasion.trees.kernels import (
    FOUND,
    INFEASIBLE,
    UNDECIDED,
    best_leaf,
    compact,
    flips,
)

DEPTH = 1024


@njit(cache=True)
def corner(f, row, low, high):
    """The cell of column f in [low, high] nearest to the row's own."""
    return min(max(row.cell[f], low[f]), high[f])


@njit(cache=True)
def advance(node, feature, cut, right, low, high):
    """First node at or under ``node`` where the box still splits (or the leaf it is in)."""
    while feature[node] >= 0:
        if high[feature[node]] < cut[node]:
            node = node + 1
        elif low[feature[node]] >= cut[node]:
            node = right[node]
        else:
            break
    return node


@njit(cache=True)
def corner_leaf(node, feature, cut, right, row, low, high):
    """The leaf under ``node`` that holds the corner of the box."""
    while feature[node] >= 0:
        f = feature[node]
        node = node + 1 if corner(f, row, low, high) < cut[node] else right[node]
    return node


@njit(cache=True)
def parting(node, leaf, feature, cut, right, row, low, high):
    """The node where the corner's path leaves the path to ``leaf`` (or a leaf if it does not)."""
    while feature[node] >= 0:
        f = feature[node]
        if corner(f, row, low, high) < cut[node]:
            if leaf >= right[node]:
                break
            node = node + 1
        else:
            if leaf < right[node]:
                break
            node = right[node]
    return node


@njit(cache=True)
def search(row, trees, pair, box_low, box_high, norm, best, node_limit):
    """Look for an adversarial row in a box of cells.

    With ``norm`` 0 the first one found is returned.  With 1 or 2 the nearest in that norm below
    the distance ``best`` is returned.

    Returns
    -------
    status : FOUND, INFEASIBLE or UNDECIDED
        UNDECIDED when ``node_limit`` or the depth of the stack was reached; a row may have been
        found even so (its distance is then below ``best``).
    nodes : int
        Boxes looked at.
    best : float
        Distance of the row found (unchanged for ``norm`` 0).
    cells : (d,) int32
        The row found.
    """
    feature, cut, right, value, mask, roots, constant = compact(row, trees, pair, box_low, box_high)
    width, count = len(box_low), len(roots)
    low = np.empty((DEPTH, width), dtype=np.int32)
    high = np.empty((DEPTH, width), dtype=np.int32)
    place = np.empty((DEPTH, count), dtype=np.int32)
    top = np.empty((DEPTH, count), dtype=np.int32)
    here = np.empty((DEPTH, count), dtype=np.int32)
    reach = np.zeros(DEPTH)
    split_on = np.empty(DEPTH, dtype=np.int32)
    split_at = np.empty(DEPTH, dtype=np.int32)
    first_left = np.empty(DEPTH, dtype=np.bool_)
    state = np.zeros(DEPTH, dtype=np.int8)
    pending = np.empty(len(feature) + 2, dtype=np.int32)
    found = row.cell.copy()
    status = INFEASIBLE

    low[0], high[0] = box_low, box_high
    for t in range(count):
        place[0, t] = roots[t]
        top[0, t] = best_leaf(roots[t], feature, cut, right, value, box_low, box_high, pending)
        here[0, t] = corner_leaf(roots[t], feature, cut, right, row, box_low, box_high)
    level = 0
    nodes = 0
    while level >= 0:
        if state[level] == 0:
            nodes += 1
            bound, margin, widest, slack = constant, constant, -1, -1.0
            for t in range(count):
                gap = value[top[level, t]] - value[here[level, t]]
                bound += value[top[level, t]]
                margin += value[here[level, t]]
                if gap > slack and feature[place[level, t]] >= 0:
                    slack, widest = gap, t
            if bound <= pair.prune or (norm > 0 and reach[level] >= best):
                level -= 1
                continue
            if abs(margin) <= pair.tolerance or margin > 0:
                cells = row.cell.copy()
                for f in range(width):
                    cells[f] = corner(f, row, low[level], high[level])
                if flips(margin, cells, row, trees, pair):
                    found = cells
                    if norm == 0:
                        return FOUND, nodes, best, found
                    best = reach[level]
                    if status != UNDECIDED:
                        status = FOUND
                    level -= 1
                    continue
            if widest < 0:
                level -= 1
                continue
            if nodes >= node_limit or level + 1 >= DEPTH:
                status = UNDECIDED
                if nodes >= node_limit:
                    break
                level -= 1
                continue
            n = parting(
                place[level, widest],
                top[level, widest],
                feature,
                cut,
                right,
                row,
                low[level],
                high[level],
            )
            if feature[n] < 0:
                n = place[level, widest]
            f = feature[n]
            split_on[level], split_at[level] = f, cut[n]
            first_left[level] = top[level, widest] < right[n]
            state[level] = 1
        elif state[level] == 1:
            state[level] = 2
        else:
            level -= 1
            continue
        f = split_on[level]
        left = first_left[level] if state[level] == 1 else not first_left[level]
        child = level + 1
        low[child], high[child] = low[level], high[level]
        place[child], top[child], here[child] = place[level], top[level], here[level]
        reach[child] = reach[level]
        before = corner(f, row, low[level], high[level])
        if left:
            high[child, f] = split_at[level] - 1
        else:
            low[child, f] = split_at[level]
        after = corner(f, row, low[child], high[child])
        if norm > 0 and before != after:
            begin = row.start[f]
            reach[child] = (
                reach[level] ** norm
                - row.distance[begin + before] ** norm
                + row.distance[begin + after] ** norm
            ) ** (1.0 / norm)
        bit = np.uint64(1) << np.uint64(f & 63)
        for t in range(count):
            n = place[child, t]
            if mask[n] & bit == 0:
                continue
            n = advance(n, feature, cut, right, low[child], high[child])
            place[child, t] = n
            top[child, t] = best_leaf(
                n, feature, cut, right, value, low[child], high[child], pending
            )
            if before != after:
                here[child, t] = corner_leaf(n, feature, cut, right, row, low[child], high[child])
        level = child
        state[level] = 0
    return status, nodes, best, found
