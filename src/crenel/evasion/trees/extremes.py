"""The largest and smallest sum of trees inside a box, compiled: what is reached, and a bound.

Whether the sum can exceed a number is a question of branch and bound (see `bound`); the number
is bisected between what was reached and what was proven, until the two meet.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.trees.bound import FOUND, INFEASIBLE
from crenel.evasion.trees.compact import COLUMN, CUT, OTHER, Compact, extract
from crenel.evasion.trees.compiled import compiled
from crenel.evasion.trees.ensemble import Floats, Ints
from crenel.evasion.trees.kernels import Pair, Place, Trees, box_within, place
from crenel.evasion.trees.probing import FIRST_NODES, PATIENCE, Work, probe
from crenel.evasion.trees.rows import Rows, work_for

CLOSE = 0.02  # share of the first gap from which the reached sum itself is asked about


@compiled
def sum_at(cells: Ints, c: Compact) -> float:
    """Sum of the trees at a row of cells inside the box of ``c``."""
    total = c.constant
    for root in c.roots:
        n = root
        while c.nodes[n, COLUMN] >= 0:
            n = n + 1 if cells[c.nodes[n, COLUMN]] < c.nodes[n, CUT] else c.nodes[n, OTHER]
        total += c.value[n]
    return total


@compiled
def asked_next(best: float, bound: float, low: float, high: float, gap: float) -> float:
    """The number to ask about: below ``low``, to find; else above ``high``, to prove.

    ``low`` and ``high`` are the least and greatest number that ran out of boxes.
    """
    top = min(low, bound)
    if top - best > CLOSE * gap:
        return (best + top) / 2
    if top > best:
        return best
    bottom = max(best, high)
    return np.nan if bound - bottom <= CLOSE * gap else (bottom + bound) / 2


@compiled
def highest(
    p: Place, trees: Trees, pair: Pair, w: Work, radius: float, node_limit: int, cap: int,
    cells: Ints,
) -> tuple[float, float, int]:  # fmt: skip
    """The largest sum found in the box, a bound that no sum in it exceeds, and boxes looked at.

    ``cells`` is overwritten by where it was found.  Both numbers hold up to the rounding of
    ``trees.tolerance``, which the bound does not contain.
    """
    box_within(radius, p, w.box)
    outer = w.box.copy()
    c = extract(p, trees, pair, w.box, w.whole)
    best, bound, nodes = sum_at(p.cell, c), c.constant, 0
    for root in c.roots:
        bound += c.value[root]
    for f in range(len(cells)):
        cells[f] = p.cell[f]
    gap, low, high = bound - best, np.inf, -np.inf
    while nodes < node_limit and bound - best > 2 * trees.tolerance:
        number = asked_next(best, bound, low, high, gap)
        if np.isnan(number):
            break
        for f in range(outer.shape[1]):
            w.box[0, f], w.box[1, f] = outer[0, f], outer[1, f]
        part = Compact(c.nodes, c.value, c.mask, c.roots, c.constant - number)
        share = max(2 * FIRST_NODES, (node_limit - nodes) // PATIENCE)
        status, used, _, found = probe(p, trees, pair, part, w, 0, np.inf, share, cap)
        nodes += used + 1
        if status == FOUND:
            best = max(best, sum_at(found, c))
            for f in range(len(cells)):
                cells[f] = found[f]
            low = low if low > best else np.inf
        elif status == INFEASIBLE:
            bound = min(bound, number + trees.tolerance)
        else:
            low, high = min(low, number), max(high, number)
    return best, bound, nodes


@compiled
def range_rows(
    chosen: NDArray[np.int64], trees: Trees, rows: Rows, radius: float, node_limit: int, cap: int,
    best: Floats, bound: Floats, cells: Ints, nodes: NDArray[np.int64],
) -> None:  # fmt: skip
    """For chosen rows, the largest sum and the largest negative sum within a scaled radius.

    Written to ``best`` and ``bound`` (n, 2), ``cells`` (n, 2, d) and ``nodes`` (n,).
    """
    w = work_for(trees, rows.x.shape[1], cap)
    distance, cut = np.empty(len(trees.from_below)), np.empty_like(trees.cut)
    for i in chosen:
        p = place(
            rows.x[i], rows.cells[i], rows.low[i], rows.high[i], rows.scale, rows.left[i], trees,
            distance, cut,
        )  # fmt: skip
        for side in range(2):
            pair = Pair(side, 1 - side, trees.tolerance)
            best[i, side], bound[i, side], used = highest(
                p, trees, pair, w, radius, node_limit, cap, cells[i, side]
            )
            nodes[i] += used
