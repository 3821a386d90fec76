"""What the compiled search knows of an ensemble and a row, and who wins at a row of cells.

Kernels take arrays packed in named tuples, so that one call carries a whole search.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.trees.compiled import compiled, inner
from crenel.evasion.trees.ensemble import Floats, Ints

LENIENT, STRICT, EMULATE = 0, 1, 2
FEATURE, LEFT, RIGHT = 0, 1, 2
LARGEST = np.finfo(np.float64).max
ALWAYS_LEFT = np.iinfo(np.int32).max


class Trees(NamedTuple):
    """The ensemble's arrays (see `TreeEnsemble`) and the cells of its columns (see `Grid`).

    ``nodes`` (m, 3) is feature, left, right.  Margins within ``tolerance`` are those that float
    sums could turn; ``whole`` says that all sums are exact.  ``mode`` decides such margins.
    ``matters`` (trees, k) says whether a tree adds to a class at all.
    """

    nodes: Ints
    cut: Ints
    missing_left: NDArray[np.bool_]
    value: Floats
    roots: Ints
    base: Floats
    divisor: float
    single: bool
    link_tolerance: float
    tolerance: float
    whole: bool
    mode: int
    start: NDArray[np.int64]
    from_below: Floats
    from_above: Floats
    category: Ints
    matters: NDArray[np.bool_]


class Place(NamedTuple):
    """One row under attack, in cells.

    ``start[f]`` is where column f begins in ``distance``, the scaled distance of each of its
    cells from the row (inf where it is not allowed).  Node n sends a row left when its cell is
    below ``cut[n]``.
    """

    cut: Ints
    cell: Ints
    start: NDArray[np.int64]
    distance: Floats


class Pair(NamedTuple):
    """The row's class and one other; boxes whose bound is at most ``prune`` are dropped."""

    label: int
    target: int
    prune: float


@compiled
def pair_of(label: int, target: int, trees: Trees) -> Pair:
    """The pair, with the largest margin that certainly leaves the row in its class."""
    prune = np.nextafter(-trees.tolerance, -np.inf)
    if trees.mode == STRICT:
        prune = trees.tolerance
    elif trees.whole and trees.mode == EMULATE and target > label:
        prune = 0.0
    return Pair(label, target, prune)


@inner
def leaf_of(root: int, cells: Ints, cut: Ints, nodes: Ints) -> int:
    """The leaf that a row of cells reaches."""
    node = root
    while nodes[node, FEATURE] >= 0:
        node = nodes[node, LEFT if cells[nodes[node, FEATURE]] < cut[node] else RIGHT]
    return node


@inner
def library_margin(cells: Ints, cut: Ints, trees: Trees, pair: Pair) -> float:
    """Margin of a row of cells as the library sums it: in its order and precision."""
    up, down = trees.base[pair.target], trees.base[pair.label]
    up32, down32 = np.float32(up), np.float32(down)
    for root in trees.roots:
        leaf = leaf_of(root, cells, cut, trees.nodes)
        up += trees.value[leaf, pair.target]
        down += trees.value[leaf, pair.label]
        up32 = np.float32(up32 + np.float32(trees.value[leaf, pair.target]))
        down32 = np.float32(down32 + np.float32(trees.value[leaf, pair.label]))
    if trees.single:
        return float(up32) - float(down32)
    return float(up / trees.divisor - down / trees.divisor)


@inner
def flips(margin: float, cells: Ints, cut: Ints, trees: Trees, pair: Pair) -> bool:
    """Whether a row of cells with this float64 margin is decided for the other class."""
    if margin > trees.tolerance:
        return True
    if margin < -trees.tolerance or trees.mode == STRICT:
        return False
    if trees.mode == LENIENT:
        return True
    exact = library_margin(cells, cut, trees, pair)
    if abs(exact) <= trees.link_tolerance:
        return trees.link_tolerance > 0 or pair.target < pair.label
    return exact > 0


@inner
def wins(cells: Ints, cut: Ints, trees: Trees, pair: Pair) -> bool:
    """Whether a row of cells is decided for the other class, asking every tree."""
    margin = trees.base[pair.target] - trees.base[pair.label]
    for t in range(len(trees.roots)):
        if not (trees.matters[t, pair.target] or trees.matters[t, pair.label]):
            continue
        leaf = leaf_of(trees.roots[t], cells, cut, trees.nodes)
        margin += trees.value[leaf, pair.target] - trees.value[leaf, pair.label]
    return flips(margin, cells, cut, trees, pair)


@inner
def reached(cells: Ints, p: Place, norm: int) -> float:
    """Scaled distance of a row of cells, to the power of ``norm`` (0 for L-inf)."""
    total = 0.0
    for f in range(len(cells)):
        step = p.distance[p.start[f] + cells[f]]
        total = max(total, step) if norm == 0 else total + step**norm
    return total


@inner
def rooted(power: float, norm: int) -> float:
    """A distance from its power (see `reached`)."""
    return np.sqrt(power) if norm == 2 else power


@inner
def box_within(radius: float, p: Place, box: Ints) -> None:
    """Write the lowest and highest cell of each column within ``radius`` to ``box`` (2, d)."""
    radius = min(radius, LARGEST)
    for f in range(len(p.cell)):
        first, last = p.start[f], p.start[f + 1] - 1
        low = high = p.start[f] + p.cell[f]
        while low > first and p.distance[low - 1] <= radius:
            low -= 1
        while high < last and p.distance[high + 1] <= radius:
            high += 1
        box[0, f], box[1, f] = low - first, high - first


@compiled
def place(
    x: Floats, cell: Ints, low: Floats, high: Floats, scale: Floats, left: Floats, trees: Trees,
    distance: Floats, cut: Ints,
) -> Place:  # fmt: skip
    """One row in cells, written into ``distance`` and, where its routing is its own, ``cut``.

    ``left`` (categories,) says whether the row goes left at each node that splits by category.
    """
    missing = False
    for f in range(len(cell)):
        first = trees.start[f]
        own = first + cell[f]
        gone = np.isnan(x[f])
        missing |= gone
        free = low[f] < high[f] and not gone
        for c in range(first, trees.start[f + 1]):
            if c == own:
                distance[c] = 0.0
                continue
            number = trees.from_below[c] if c > own else trees.from_above[c]
            near = free and low[f] <= number <= high[f]
            distance[c] = abs(number - x[f]) / scale[f] if near else np.inf
    if not missing and not len(trees.category):
        return Place(trees.cut, cell, trees.start, distance)
    for n in range(len(cut)):
        cut[n] = trees.cut[n]
        f = trees.nodes[n, FEATURE]
        if missing and f >= 0 and np.isnan(x[f]):
            cut[n] = ALWAYS_LEFT if trees.missing_left[n] else 0
    for i in range(len(trees.category)):
        cut[trees.category[i]] = ALWAYS_LEFT if left[i] > 0 else 0
    return Place(cut, cell, trees.start, distance)
