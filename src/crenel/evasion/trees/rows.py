"""The whole search for each of several rows in one compiled call."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.trees.bound import new_stack
from crenel.evasion.trees.compact import Compact, extract, room_for
from crenel.evasion.trees.compiled import compiled
from crenel.evasion.trees.descent import descend, polish
from crenel.evasion.trees.ensemble import Floats, Ints
from crenel.evasion.trees.kernels import (
    Pair,
    Place,
    Trees,
    box_within,
    pair_of,
    place,
    reached,
    rooted,
    wins,
)
from crenel.evasion.trees.probing import Known, Work, bisect, minimise

STARTS = 3
HALVES = 512
WIDEST = 4  # the fraction of the boxes that L1 and L2 spend on L-inf first


class Rows(NamedTuple):
    """Rows under attack, over the trees' own columns.

    ``x``, ``low``, ``high`` (n, d) are numbers and allowed numbers, ``scale`` (d,) divides
    distances, ``cells`` (n, d) are the rows' cells, ``left`` (n, categories) how nodes that split
    by category route them, ``label`` (n,) their classes and ``order`` (n, classes - 1) the
    others, likeliest first.
    """

    x: Floats
    low: Floats
    high: Floats
    scale: Floats
    cells: Ints
    left: Floats
    label: NDArray[np.int64]
    order: NDArray[np.int64]


class Pool(NamedTuple):
    """Rows (p, d) that serve as warm starts, their cells and the classes they are given."""

    x: Floats
    cells: Ints
    label: NDArray[np.int64]


class State(NamedTuple):
    """What is known of all rows; see `TreeDistances`.

    ``floor`` (n, classes - 1) is the lower bound for each other class in order, ``upper`` (n,)
    the size of the change to ``cells`` (n, d), ``nodes`` (n,) the boxes looked at.
    """

    floor: Floats
    upper: Floats
    cells: Ints
    nodes: NDArray[np.int64]


@compiled
def work_for(trees: Trees, width: int, cap: int) -> Work:
    """Work space for one thread."""
    count, size = len(trees.roots), len(trees.nodes)
    depth = size + cap + 2
    room = size + 2 * cap * (count + 1) + 2 if cap > 1 else size + 2
    return Work(
        room_for(size + 2, count, width, depth),
        room_for(room, count, width, depth),
        new_stack(width, count, room),
        np.empty((HALVES, 2, width), dtype=np.int32),
        np.empty((2, width), dtype=np.int32),
    )


@compiled
def nearest_starts(i: int, rows: Rows, pool: Pool, chosen: NDArray[np.int64]) -> int:
    """The pool's rows of other classes nearest to row i in scaled L-inf; how many there are."""
    far = np.full(len(chosen), np.inf)
    count = 0
    for j in range(len(pool.x)):
        if pool.label[j] == rows.label[i]:
            continue
        distance, limit = 0.0, far[len(far) - 1]
        for f in range(rows.x.shape[1]):
            if rows.low[i, f] < rows.high[i, f]:
                distance = max(distance, abs(pool.x[j, f] - rows.x[i, f]) / rows.scale[f])
                if distance >= limit:
                    break
        if distance < limit:
            at = len(far) - 1
            while at > 0 and far[at - 1] > distance:
                far[at], chosen[at] = far[at - 1], chosen[at - 1]
                at -= 1
            far[at], chosen[at] = distance, j
            count = min(count + 1, len(far))
    return count


@compiled
def span(cells: Ints, p: Place, box: Ints) -> None:
    """The smallest box that holds the row and ``cells``."""
    for f in range(len(cells)):
        box[0, f] = min(cells[f], p.cell[f])
        box[1, f] = max(cells[f], p.cell[f])


@compiled
def start(
    i: int, p: Place, trees: Trees, rows: Rows, pool: Pool, w: Work, norm: int, state: State
) -> None:
    """A first upper bound, by descent from the nearest rows of other classes."""
    chosen = np.empty(STARTS, dtype=np.int64)
    cells = np.empty_like(p.cell)
    for at in range(nearest_starts(i, rows, pool, chosen)):
        j = chosen[at]
        for f in range(len(cells)):
            cells[f] = p.cell[f] if np.isnan(pool.x[j, f]) else pool.cells[j, f]
            while np.isinf(p.distance[p.start[f] + cells[f]]):
                cells[f] += 1 if cells[f] < p.cell[f] else -1
        pair = pair_of(rows.label[i], pool.label[j], trees)
        if wins(cells, p.cut, trees, pair):
            span(cells, p, w.box)
            c = extract(p, trees, pair, w.box, w.whole)
            descend(cells, c, p, trees, pair, norm)
            distance = rooted(reached(cells, p, norm), norm)
            if distance < state.upper[i]:
                state.upper[i] = distance
                for f in range(len(cells)):
                    state.cells[i, f] = cells[f]


@compiled
def from_widest(
    p: Place, trees: Trees, pair: Pair, c: Compact, w: Work, known: Known, cells: Ints, norm: int,
    node_limit: int, cap: int,
) -> Known:  # fmt: skip
    """Bounds in L1 or L2 from those in L-inf, which are quickly had: a good start for both."""
    widest = norm * 0  # not a literal, for which Numba would compile twice
    near = cells.copy()
    far = reached(cells, p, widest) if np.isfinite(known.upper) else np.inf
    wide = Known(0.0, far, 0)
    wide = bisect(p, trees, pair, c, w, wide, near, widest, node_limit, cap)
    upper = known.upper
    if np.isfinite(wide.upper):
        polish(near, c, p, trees, pair, norm)
        distance = rooted(reached(near, p, norm), norm)
        if distance < upper:
            upper = distance
            for f in range(len(cells)):
                cells[f] = near[f]
    return Known(min(max(known.lower, wide.lower), upper), upper, wide.nodes)


@compiled
def narrow_pair(
    p: Place, trees: Trees, pair: Pair, w: Work, norm: int, known: Known, cells: Ints,
    node_limit: int, cap: int,
) -> Known:  # fmt: skip
    """Narrow the bounds of one row against one other class."""
    box_within(known.upper, p, w.box)
    c: Compact = extract(p, trees, pair, w.box, w.whole)
    if norm == 0:
        return bisect(p, trees, pair, c, w, known, cells, norm, node_limit, cap)
    if node_limit > 0:
        known = from_widest(p, trees, pair, c, w, known, cells, norm, node_limit // WIDEST, cap)
        box_within(known.upper, p, w.box)
        c = extract(p, trees, pair, w.box, w.whole)
    narrowed = minimise(p, trees, pair, c, w, known, cells, norm, node_limit - known.nodes, cap)
    return Known(narrowed.lower, narrowed.upper, known.nodes + narrowed.nodes)


@compiled
def narrow_rows(
    chosen: NDArray[np.int64],
    trees: Trees,
    rows: Rows,
    pool: Pool,
    state: State,
    norm: int,
    node_limit: int,
    cap: int,
) -> None:
    """Narrow the bounds of the chosen rows with at most about ``node_limit`` boxes each.

    Other classes are taken in order; each one's search is bounded by what was found before.
    """
    w = work_for(trees, rows.x.shape[1], cap)
    distance, cut = np.empty(len(trees.from_below)), np.empty_like(trees.cut)
    for i in chosen:
        p = place(
            rows.x[i], rows.cells[i], rows.low[i], rows.high[i], rows.scale, rows.left[i], trees,
            distance, cut,
        )  # fmt: skip
        if np.isinf(state.upper[i]):
            start(i, p, trees, rows, pool, w, norm, state)
        left = node_limit
        others = rows.order.shape[1]
        for at in range(others):
            if state.floor[i, at] >= state.upper[i] or left <= 0:
                continue
            pair = pair_of(rows.label[i], rows.order[i, at], trees)
            known = Known(state.floor[i, at], state.upper[i], 0)
            share = max(1, left // (others - at))
            known = narrow_pair(p, trees, pair, w, norm, known, state.cells[i], share, cap)
            state.floor[i, at], state.upper[i] = known.lower, known.upper
            state.nodes[i] += known.nodes
            left -= known.nodes
