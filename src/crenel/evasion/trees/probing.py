"""Bounds of one row against one other class, compiled: probes of boxes and bisection."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from crenel.evasion.trees.bound import (
    AT,
    FOUND,
    INFEASIBLE,
    LEFT_FIRST,
    SPLIT,
    UNDECIDED,
    Stack,
    search,
)
from crenel.evasion.trees.compact import Compact, Room, merge
from crenel.evasion.trees.compiled import compiled
from crenel.evasion.trees.descent import descend, polish
from crenel.evasion.trees.ensemble import Floats, Ints
from crenel.evasion.trees.kernels import Pair, Place, Trees, box_within, reached, rooted

FIRST_NODES = 200  # boxes before trees are merged, which costs about as much
INNER_NODES = 400  # boxes before a box is halved and its trees are merged anew
PATIENCE = 4  # a probe may use this fraction of what is left of the boxes
CLOSE = 0.02  # relative gap at which L1 and L2 turn from bisection to minimisation


class Work(NamedTuple):
    """Work space of one thread.

    ``whole`` holds the trees restricted to the reach of the upper bound, ``part`` those of a
    probe, ``stack`` its search, and ``boxes`` (levels, 2, d) the halves still to be searched.
    """

    whole: Room
    part: Room
    stack: Stack
    boxes: Ints
    box: Ints


class Known(NamedTuple):
    """What is known of a row: nothing below ``lower``, ``cells`` found at ``upper``."""

    lower: float
    upper: float
    nodes: int


@compiled
def halve_box(box: Ints, s: Stack, boxes: Ints, top: int) -> None:
    """Write the halves of a box, as the search split it first, the better one last."""
    f = s.split[0, SPLIT]
    for i in range(2):
        for column in range(box.shape[1]):
            boxes[top + i, 0, column] = box[0, column]
            boxes[top + i, 1, column] = box[1, column]
    left = 1 if s.split[0, LEFT_FIRST] == 1 else 0
    boxes[top + left, 1, f] = s.split[0, AT] - 1
    boxes[top + 1 - left, 0, f] = s.split[0, AT]


@compiled
def probe(
    p: Place,
    trees: Trees,
    pair: Pair,
    c: Compact,
    w: Work,
    norm: int,
    best: float,
    node_limit: int,
    cap: int,
) -> tuple[int, int, float, Ints]:
    """Search the box ``w.box`` inside that of ``c``: what `bound.search` returns.

    Where the bound of single trees does not settle it, the trees are merged up to ``cap``
    leaves; where that does not either, the box is halved, and merged anew in each half.
    """
    part = merge(c, w.box, min(cap, 1), w.part)
    first = min(node_limit, FIRST_NODES)
    status, nodes, best, found = search(p, trees, pair, part, w.stack, w.box, norm, best, first)
    if status != UNDECIDED or nodes >= node_limit:
        return status, nodes, best, found
    top = 1
    for f in range(w.box.shape[1]):
        w.boxes[0, 0, f], w.boxes[0, 1, f] = w.box[0, f], w.box[1, f]
    kept, won = found, False
    while top > 0:
        if nodes >= node_limit or top + 2 > len(w.boxes):
            return UNDECIDED, nodes, best, kept
        top -= 1
        for f in range(w.box.shape[1]):
            w.box[0, f], w.box[1, f] = w.boxes[top, 0, f], w.boxes[top, 1, f]
        part = merge(c, w.box, cap, w.part)
        before = best
        status, used, best, found = search(
            p, trees, pair, part, w.stack, w.box, norm, best, min(node_limit, INNER_NODES)
        )
        nodes += used
        if status == FOUND and norm == 0:
            return FOUND, nodes, best, found
        if best < before:
            kept, won = found, True
        if status == UNDECIDED:
            halve_box(w.box, w.stack, w.boxes, top)
            top += 2
    return FOUND if won else INFEASIBLE, nodes, best, kept


@compiled
def radii_between(p: Place, lower: float, upper: float) -> Floats:
    """Distances of cells from ``lower`` on and below ``upper``, sorted, none twice."""
    some = np.empty(len(p.distance))
    count = 0
    for distance in p.distance:
        if 0 < distance < upper and distance >= lower:
            some[count] = distance
            count += 1
    some = np.sort(some[:count])
    kept = 0
    for i in range(count):
        if kept == 0 or some[i] > some[kept - 1]:
            some[kept] = some[i]
            kept += 1
    return some[:kept]


@compiled
def bisect(
    p: Place, trees: Trees, pair: Pair, c: Compact, w: Work, known: Known, cells: Ints, norm: int,
    node_limit: int, cap: int,
) -> Known:  # fmt: skip
    """Bring the L-inf bounds together with about ``node_limit`` boxes.

    A radius that runs out of boxes is treated as too large while the lower bound rises, then as
    too small while the upper bound falls.  ``cells`` is overwritten by what is found.
    """
    upper, nodes = known.upper, 0
    radii = radii_between(p, known.lower, upper)
    proven, ceiling = -1, len(radii)
    lowest, highest = ceiling, -1  # radii that ran out of boxes
    at = ceiling - 1
    while nodes < node_limit and proven + 1 < ceiling:
        box_within(radii[at], p, w.box)
        share = max(2 * FIRST_NODES, (node_limit - nodes) // PATIENCE)
        status, used, _, found = probe(p, trees, pair, c, w, norm, np.inf, share, cap)
        nodes += used
        if status == FOUND:
            descend(found, c, p, trees, pair, norm)
            upper = reached(found, p, norm)
            for f in range(len(cells)):
                cells[f] = found[f]
            ceiling = int(np.searchsorted(radii, upper))
        elif status == INFEASIBLE:
            proven = at
            lowest = lowest if lowest > at else len(radii)
        else:
            lowest, highest = min(lowest, at), max(highest, at)
        top = min(lowest, ceiling)
        if proven + 1 < top:
            at = max((proven + top) // 2, proven + 1)
        else:
            bottom = max(proven, highest)
            if bottom + 1 >= ceiling:
                break
            at = (bottom + ceiling) // 2
    lower = radii[proven + 1] if proven + 1 < len(radii) else upper
    return Known(min(max(lower, known.lower), upper), upper, nodes)


@compiled
def minimise(
    p: Place, trees: Trees, pair: Pair, c: Compact, w: Work, known: Known, cells: Ints, norm: int,
    node_limit: int, cap: int,
) -> Known:  # fmt: skip
    """Bring the bounds in L1 or L2 together with about ``node_limit`` boxes.

    Bisection over the distance, each time for the nearest row within it; a search that ends has
    proven its distance or found the nearest row of all.
    """
    lower, upper, nodes = known.lower, known.upper, 0
    reach = upper
    while lower < upper and nodes < node_limit:
        last = not np.isfinite(reach) or reach - lower <= CLOSE * reach
        radius = upper if last else (lower + reach) / 2
        box_within(radius, p, w.box)
        share = node_limit - nodes if last else (node_limit - nodes) // PATIENCE + 1
        before = radius**norm if np.isfinite(radius) else np.inf
        status, used, best, found = probe(
            p, trees, pair, c, w, norm, before, max(share, 2 * FIRST_NODES), cap
        )
        nodes += used
        if best < before:
            for f in range(len(cells)):
                cells[f] = found[f]
            if status == UNDECIDED:
                polish(cells, c, p, trees, pair, norm)
            upper = reach = rooted(reached(cells, p, norm), norm)
        if status != UNDECIDED:
            # A search that ends proves all below its radius, or below what it found.
            lower = min(radius * (1 - 1e-12), upper) if best >= before and not last else upper
        elif last:
            break
        elif best >= before:
            reach = radius
    return Known(min(lower, upper), upper, nodes)
