"""Near rows that are decided otherwise, compiled: upper bounds in microseconds, no proof.

Rows of other classes are drawn towards the row under attack: one walk through the trees gives
the margin at every step of the way.  Then the radius is halved with a few boxes for each try
(see `bound`), on trees restricted to what is left between.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.trees.bound import FOUND, INFEASIBLE, Stack, new_stack, search
from crenel.evasion.trees.compact import (
    COLUMN,
    CUT,
    OTHER,
    Compact,
    Room,
    extract,
    merge,
    room_for,
)
from crenel.evasion.trees.compiled import compiled, inner
from crenel.evasion.trees.descent import clip, descend, farthest, holds
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
)
from crenel.evasion.trees.rows import Pool, Rows, State, nearest_starts

STARTS = 5  # rows of other classes that are drawn in
STEPS = 128  # of the way to each, at which the margin is known
PROBE = 25  # boxes for one radius,
PART = 8  # or this fraction of all, where that is more
CLOSE = 0.01  # relative gap at which the radius is left as it is


class Space(NamedTuple):
    """Work space: rooms and a stack for trees, cells, and what `leaves_along` needs."""

    whole: Room
    part: Room
    stack: Stack
    box: Ints
    cells: Ints
    best: Ints
    trial: Ints
    gain: Floats
    pending: Ints
    reach: Floats


@compiled
def space_for(trees: Trees, width: int) -> Space:
    """Work space for one thread."""
    count, size = len(trees.roots), len(trees.nodes) + 2
    return Space(
        room_for(size, count, width, size),
        room_for(size, count, width, size),
        new_stack(width, count, size),
        np.empty((2, width), dtype=np.int32),
        np.empty(width, dtype=np.int32),
        np.empty(width, dtype=np.int32),
        np.empty(width, dtype=np.int32),
        np.empty(STEPS + 1),
        np.empty(size, dtype=np.int32),
        np.empty((size, 2)),
    )


@inner
def leaves_along(
    root: int, nodes: Ints, value: Floats, cells: Ints, own: Ints, start: NDArray[np.int64],
    distance: Floats, scale: float, gain: Floats, pending: Ints, reach: Floats,
) -> None:  # fmt: skip
    """Add to ``gain`` the differences of one tree from step to step on the way to ``cells``.

    At step k every column has gone towards its cell as far as the radius ``k / scale`` lets it.
    """
    node, low, high, top = root, 0.0, np.inf, 0
    while True:
        f = nodes[node, COLUMN]
        if f < 0:
            gain[int(np.ceil(low * scale))] += value[node]
            if high * scale <= STEPS:
                gain[int(np.ceil(high * scale))] -= value[node]
            if top == 0:
                return
            top -= 1
            node, low, high = pending[top], reach[top, 0], reach[top, 1]
            continue
        cut = nodes[node, CUT]
        here, left = own[f] < cut, cells[f] < cut
        if here != left:
            change = distance[start[f] + (cut if here else cut - 1)]
            if change >= high:
                left = here
            elif change > low:
                pending[top] = node + 1 if here else nodes[node, OTHER]
                reach[top, 0], reach[top, 1] = low, change
                top += 1
                low = change
        node = node + 1 if left else nodes[node, OTHER]


@inner
def draw_in(w: Space, c: Compact, p: Place, trees: Trees, pair: Pair) -> float:
    """Clip ``w.cells`` to the first step at which they are adversarial; their radius, or inf."""
    radius = farthest(w.cells, p, np.inf)[0]
    scale, gain = STEPS * (1 - 1e-12) / radius, w.gain
    for k in range(STEPS + 1):
        gain[k] = 0.0
    for root in c.roots:
        leaves_along(
            root, c.nodes, c.value, w.cells, p.cell, p.start, p.distance, scale, gain, w.pending,
            w.reach,
        )  # fmt: skip
    margin = c.constant
    for k in range(STEPS + 1):
        margin += gain[k]
        if margin > pair.prune:
            clip(w.cells, p, k / scale, w.trial)
            if holds(w.trial, c, p, trees, pair):
                return farthest(w.trial, p, np.inf)[0]
    return np.inf


@inner
def towards(i: int, j: int, radius: float, p: Place, pool: Pool, cells: Ints) -> None:
    """The pool's row j as far as allowed and nearer to row i than ``radius``."""
    for f in range(len(cells)):
        k = p.cell[f] if np.isnan(pool.x[j, f]) else pool.cells[j, f]
        while k != p.cell[f] and not p.distance[p.start[f] + k] < radius:
            k += 1 if k < p.cell[f] else -1
        cells[f] = k


@inner
def keep(cells: Ints, best: Ints) -> None:
    """Copy cells."""
    for f in range(len(cells)):
        best[f] = cells[f]


@compiled
def try_radii(
    p: Place, trees: Trees, pair: Pair, c: Compact, w: Space, upper: float, own: bool,
    node_limit: int,
) -> tuple[float, float, int]:  # fmt: skip
    """Halve the radius ``upper`` within which there is a row, a few boxes for each try.

    Where that row is of another class than the pair's (not ``own``), the first try is just below
    its radius, and the last one if it fails.

    Returns
    -------
    lower, upper : float
        What is proven of the pair, and the radius of ``w.best``.
    nodes : int
        Boxes looked at.
    """
    lower, low, nodes = 0.0, 0.0, 0
    most = max(PROBE, node_limit // PART)
    while nodes < node_limit and low < (1 - CLOSE) * upper:
        radius = (low + upper) / 2 if own else np.nextafter(upper, 0.0)
        box_within(radius, p, w.box)
        share = min(most, node_limit - nodes)
        status, used, _, found = search(p, trees, pair, c, w.stack, w.box, 0, np.inf, share)
        nodes += used
        if status == FOUND:
            descend(found, c, p, trees, pair, 0)
            upper, own = reached(found, p, 0), True
            keep(found, w.best)
            continue
        if status == INFEASIBLE:
            lower = np.inf if np.isinf(upper) else max(lower, radius)
        if np.isinf(upper) or not own:
            break
        low = radius
    return lower, upper, nodes


@compiled
def near_row(
    i: int, p: Place, trees: Trees, pair: Pair, whole: Compact, rows: Rows, pool: Pool,
    starts: NDArray[np.int64], w: Space, radius: float, node_limit: int, state: State, norm: int,
) -> float:  # fmt: skip
    """Look for a nearer row of one other class; the least L-inf radius known then."""
    before, c = radius, whole
    if np.isfinite(radius):
        box_within(radius, p, w.box)
        c = merge(whole, w.box, 1, w.part)
    for j in starts:
        if j < 0 or pool.label[j] != pair.target:
            continue
        towards(i, j, radius, p, pool, w.cells)
        drawn = draw_in(w, c, p, trees, pair)
        if drawn < radius:
            first = np.isinf(radius)
            radius = drawn
            keep(w.trial, w.best)
            if first:
                box_within(radius, p, w.box)
                c = merge(whole, w.box, 1, w.part)
    lower, radius, nodes = try_radii(p, trees, pair, c, w, radius, radius < before, node_limit)
    state.nodes[i] += nodes
    # A row's other classes in any order: what counts is the least of what is proven of them.
    state.floor[i, pair.target - (1 if pair.target > pair.label else 0)] = lower
    if radius < before:
        if norm > 0:
            descend(w.best, c, p, trees, pair, norm)
        distance = rooted(reached(w.best, p, norm), norm)
        if distance < state.upper[i]:
            state.upper[i] = distance
            keep(w.best, state.cells[i])
    return radius


@inner
def drawn_from(target: int, starts: NDArray[np.int64], pool: Pool) -> bool:
    """Whether a class is among those of the starts."""
    drawn = False
    for j in starts:
        drawn |= j >= 0 and pool.label[j] == target
    return drawn


@compiled
def near_rows(
    chosen: NDArray[np.int64], trees: Trees, rows: Rows, pool: Pool, state: State, norm: int,
    node_limit: int,
) -> None:  # fmt: skip
    """Upper bounds of the chosen rows, with at most about ``node_limit`` boxes each.

    Rows are taken class by class, so that the trees are written as a pair's margin only once;
    first against the classes of the nearest rows, then against the others with what boxes are left.
    """
    width, classes = rows.x.shape[1], trees.value.shape[1]
    w = space_for(trees, width)
    distance, cut = np.empty(len(trees.from_below)), np.empty_like(trees.cut)
    starts, radius = np.full((len(chosen), STARTS), -1), np.full(len(chosen), np.inf)
    for at in range(len(chosen)):
        nearest_starts(chosen[at], rows, pool, starts[at])
    for turn in range(2 * classes * classes):
        label, target = turn // classes % classes, turn % classes
        pair, ready = pair_of(label, target, trees), False
        for at in range(len(chosen)):
            i = chosen[at]
            left = node_limit - state.nodes[i]
            early = turn < classes * classes
            if rows.label[i] != label or label == target or (left <= 0 and not early):
                continue
            if early != drawn_from(target, starts[at], pool):
                continue
            p = place(
                rows.x[i], rows.cells[i], rows.low[i], rows.high[i], rows.scale, rows.left[i],
                trees, distance, cut,
            )  # fmt: skip
            own = len(trees.category) > 0 or np.isnan(rows.x[i]).any()
            if own or not ready:
                for f in range(width):
                    w.box[0, f], w.box[1, f] = 0, p.start[f + 1] - p.start[f] - 1
                whole = extract(p, trees, pair, w.box, w.whole)
                ready = not own
            radius[at] = near_row(
                i, p, trees, pair, whole, rows, pool, starts[at], w, radius[at], left, state, norm
            )
