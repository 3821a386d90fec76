"""Compiled kernels: scores of rows of cells, and descent to an upper bound.

Kernels are called from Python one by one rather than from each other, arrays are packed and
sorting is left to NumPy: each of these halves the time that a first call spends compiling.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.trees.compiled import compiled
from crenel.evasion.trees.ensemble import Floats, Ints

LENIENT, STRICT, EMULATE = 0, 1, 2
FEATURE, LEFT, RIGHT = 0, 1, 2


class Trees(NamedTuple):
    """The ensemble's arrays (see `TreeEnsemble`); ``nodes`` (m, 3) is feature, left, right."""

    nodes: Ints
    value: Floats
    roots: Ints
    base: Floats
    divisor: float
    single: bool
    link_tolerance: float


class Pair(NamedTuple):
    """What decides between the row's class and one other.

    ``value`` (m,) is what a leaf adds to the margin, score of the other class minus score of
    the row's; ``roots`` are the trees where it is not zero throughout.  Margins within
    ``tolerance`` are decided by ``mode``; boxes whose bound is at most ``prune`` are dropped.
    """

    value: Floats
    roots: Ints
    base: float
    label: int
    target: int
    tolerance: float
    prune: float
    mode: int


class Place(NamedTuple):
    """One row under attack, in cells.

    ``start[f]`` is where column f begins in ``distance``, the scaled distance of each of its
    cells from the row.  Node n sends a row left when its cell is below ``cut[n]``.
    """

    cut: Ints
    cell: Ints
    start: NDArray[np.int64]
    distance: Floats


@compiled
def leaf_of(root: int, cells: Ints, cut: Ints, nodes: Ints) -> int:
    """The leaf that a row of cells reaches."""
    node = root
    while nodes[node, FEATURE] >= 0:
        node = nodes[node, LEFT if cells[nodes[node, FEATURE]] < cut[node] else RIGHT]
    return node


@compiled
def library_margin(cells: Ints, cut: Ints, trees: Trees, label: int, target: int) -> float:
    """Margin of a row of cells as the library sums it: in its order and precision."""
    up, down = trees.base[target], trees.base[label]
    up32, down32 = np.float32(up), np.float32(down)
    for root in trees.roots:
        leaf = leaf_of(root, cells, cut, trees.nodes)
        up += trees.value[leaf, target]
        down += trees.value[leaf, label]
        up32 = np.float32(up32 + np.float32(trees.value[leaf, target]))
        down32 = np.float32(down32 + np.float32(trees.value[leaf, label]))
    if trees.single:
        return float(up32) - float(down32)
    return float(up / trees.divisor - down / trees.divisor)


@compiled
def flips(margin: float, cells: Ints, cut: Ints, trees: Trees, pair: Pair) -> bool:
    """Whether a row of cells with this float64 margin is decided for the other class."""
    if margin > pair.tolerance:
        return True
    if margin < -pair.tolerance or pair.mode == STRICT:
        return False
    if pair.mode == LENIENT:
        return True
    exact = library_margin(cells, cut, trees, pair.label, pair.target)
    if abs(exact) <= trees.link_tolerance:
        return trees.link_tolerance > 0 or pair.target < pair.label
    return exact > 0


@compiled
def wins(cells: Ints, cut: Ints, trees: Trees, pair: Pair) -> bool:
    """Whether a row of cells is decided for the other class."""
    margin = pair.base
    for root in pair.roots:
        margin += pair.value[leaf_of(root, cells, cut, trees.nodes)]
    return flips(margin, cells, cut, trees, pair)


@compiled
def clip(cells: Ints, p: Place, radius: float, out: Ints) -> None:
    """Move each column towards the row's own cell until it is within ``radius``."""
    for f in range(len(cells)):
        c = cells[f]
        while p.distance[p.start[f] + c] > radius:
            c += 1 if c < p.cell[f] else -1
        out[f] = c


@compiled
def farthest(cells: Ints, p: Place, below: float) -> tuple[float, int]:
    """Largest distance under ``below`` of any column, and that column."""
    step, column = 0.0, -1
    for f in range(len(cells)):
        distance = p.distance[p.start[f] + cells[f]]
        if step < distance < below:
            step, column = distance, f
    return step, column


@compiled
def shrink_radius(cells: Ints, p: Place, trees: Trees, pair: Pair) -> None:
    """Halve the radius to which adversarial ``cells`` are clipped while they stay so."""
    trial = np.empty_like(cells)
    low, high = 0.0, farthest(cells, p, np.inf)[0]
    while True:
        under = farthest(cells, p, high)[0]
        if under <= low:
            return
        middle = min(under, (low + high) / 2)
        clip(cells, p, middle, trial)
        if wins(trial, p.cut, trees, pair):
            for f in range(len(cells)):
                cells[f] = trial[f]
            high = farthest(cells, p, np.inf)[0]
        else:
            low = middle


@compiled
def nearer(cells: Ints, f: int, p: Place, trees: Trees, pair: Pair) -> bool:
    """Move column f to its first cell, outwards from the row's own, that stays adversarial."""
    kept = cells[f]
    cells[f] = p.cell[f]
    while cells[f] != kept:
        if wins(cells, p.cut, trees, pair):
            return True
        cells[f] += 1 if kept > p.cell[f] else -1
    return False


@compiled
def descend(cells: Ints, p: Place, trees: Trees, pair: Pair, norm: int) -> None:
    """Coordinate descent over thresholds from adversarial ``cells``, in place.

    Each move keeps the row adversarial and brings one column nearer, the farthest first; for
    L-inf (``norm`` 0) only that one matters, so the descent stops when it is stuck.
    """
    moved = True
    while moved:
        moved = False
        if norm == 0:
            shrink_radius(cells, p, trees, pair)
        step, f = farthest(cells, p, np.inf)
        while f >= 0:
            if nearer(cells, f, p, trees, pair):
                moved = True
            elif norm == 0:
                return
            step, f = farthest(cells, p, step)
