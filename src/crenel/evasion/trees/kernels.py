"""Compiled kernels: scores of cells, descent to an upper bound, branch and bound."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from crenel.evasion.trees.cells import Row
from crenel.evasion.trees.ensemble import Floats, Ints

LENIENT, STRICT, EMULATE = 0, 1, 2
INFEASIBLE, FOUND, UNDECIDED = 0, 1, 2


class Trees(NamedTuple):
    """The ensemble's arrays (see `TreeEnsemble`)."""

    feature: Ints
    left: Ints
    right: Ints
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


@njit(cache=True)
def margin_of(cells, row, trees, pair):
    """Margin of a row of cells (d,), in float64."""
    total = pair.base
    for root in pair.roots:
        node = root
        while trees.feature[node] >= 0:
            if cells[trees.feature[node]] < row.cut[node]:
                node = trees.left[node]
            else:
                node = trees.right[node]
        total += pair.value[node]
    return total


@njit(cache=True)
def library_margin(cells, row, trees, pair):
    """Margin of a row of cells as the library sums it: in its order and precision."""
    target, label = trees.base[pair.target], trees.base[pair.label]
    target32, label32 = np.float32(target), np.float32(label)
    for root in trees.roots:
        node = root
        while trees.feature[node] >= 0:
            if cells[trees.feature[node]] < row.cut[node]:
                node = trees.left[node]
            else:
                node = trees.right[node]
        if trees.single:
            target32 = np.float32(target32 + np.float32(trees.value[node, pair.target]))
            label32 = np.float32(label32 + np.float32(trees.value[node, pair.label]))
        else:
            target += trees.value[node, pair.target]
            label += trees.value[node, pair.label]
    if trees.single:
        return np.float64(target32) - np.float64(label32)
    return target / trees.divisor - label / trees.divisor


@njit(cache=True)
def flips(margin, cells, row, trees, pair):
    """Whether a row of cells is decided for the other class."""
    if margin > pair.tolerance:
        return True
    if margin < -pair.tolerance or pair.mode == STRICT:
        return False
    if pair.mode == LENIENT:
        return True
    exact = library_margin(cells, row, trees, pair)
    if abs(exact) <= trees.link_tolerance:
        return trees.link_tolerance > 0 or pair.target < pair.label
    return exact > 0


@njit(cache=True)
def norm_of(cells, row, norm):
    """Scaled distance of a row of cells; ``norm`` is 0 for L-inf, else 1 or 2."""
    total = 0.0
    for f in range(len(cells)):
        step = row.distance[row.start[f] + cells[f]]
        if norm == 0:
            total = max(total, step)
        else:
            total += step**norm
    return np.sqrt(total) if norm == 2 else total


@njit(cache=True)
def clip(cells, row, radius, out):
    """Move each column towards the row's own cell until it is within ``radius``."""
    for f in range(len(cells)):
        c = cells[f]
        while row.distance[row.start[f] + c] > radius:
            c += 1 if c < row.cell[f] else -1
        out[f] = c


@njit(cache=True)
def nearer(cells, f, row, trees, pair):
    """Move column f to its first cell, outwards from the row's own, that stays adversarial."""
    kept = cells[f]
    step = 1 if kept > row.cell[f] else -1
    c = row.cell[f]
    while c != kept:
        cells[f] = c
        if flips(margin_of(cells, row, trees, pair), cells, row, trees, pair):
            return
        c += step
    cells[f] = kept


@njit(cache=True)
def shrink_radius(cells, row, trees, pair):
    """Bisect on a radius to which adversarial ``cells`` can be clipped, in place."""
    steps = np.unique(np.array([row.distance[row.start[f] + cells[f]] for f in range(len(cells))]))
    low, high = 0, len(steps) - 1
    trial = np.empty_like(cells)
    while low < high:
        middle = (low + high) // 2
        clip(cells, row, steps[middle], trial)
        if flips(margin_of(trial, row, trees, pair), trial, row, trees, pair):
            high = middle
        else:
            low = middle + 1
    clip(cells, row, steps[high], trial)
    if flips(margin_of(trial, row, trees, pair), trial, row, trees, pair):
        cells[:] = trial


@njit(cache=True)
def descend(cells, row, trees, pair, norm):
    """Coordinate descent over thresholds from adversarial ``cells``, in place; the distance.

    Each move keeps the row adversarial and brings one column nearer; for L-inf only the
    farthest columns matter, so the descent stops when one of these is stuck.
    """
    width = len(cells)
    while True:
        before = norm_of(cells, row, norm)
        if norm == 0:
            shrink_radius(cells, row, trees, pair)
        steps = np.array([row.distance[row.start[f] + cells[f]] for f in range(width)])
        for f in np.argsort(-steps):
            if steps[f] == 0.0:
                break
            kept = cells[f]
            nearer(cells, f, row, trees, pair)
            if norm == 0 and cells[f] == kept:
                break
        after = norm_of(cells, row, norm)
        if not after < before:
            return after


@njit(cache=True)
def compact(row, trees, pair, low, high):
    """The pair's trees restricted to a box, in preorder: the left child follows its parent.

    Returns the arrays feature, cut, right child, value, largest leaf below, columns below (a
    64-bit mask), the roots of trees that still split, and the sum of those that do not.
    """
    size = 0
    feature = np.empty(len(trees.feature), dtype=np.int32)
    cut = np.empty(len(trees.feature), dtype=np.int32)
    right = np.empty(len(trees.feature), dtype=np.int32)
    value = np.empty(len(trees.feature))
    mask = np.empty(len(trees.feature), dtype=np.uint64)
    roots = np.empty(len(pair.roots), dtype=np.int32)
    split_trees = 0
    constant = pair.base
    pending = np.empty((len(trees.feature) + 2, 2), dtype=np.int32)
    for root in pair.roots:
        begin = size
        top = 1
        pending[0, 0], pending[0, 1] = root, -1
        while top > 0:
            top -= 1
            node, parent = pending[top, 0], pending[top, 1]
            while trees.feature[node] >= 0:
                f = trees.feature[node]
                if high[f] < row.cut[node]:
                    node = trees.left[node]
                elif low[f] >= row.cut[node]:
                    node = trees.right[node]
                else:
                    break
            if parent >= 0:
                right[parent] = size
            feature[size] = trees.feature[node]
            value[size] = pair.value[node]
            mask[size] = np.uint64(0)
            if trees.feature[node] >= 0:
                cut[size] = row.cut[node]
                mask[size] = np.uint64(1) << np.uint64(trees.feature[node] & 63)
                pending[top, 0], pending[top, 1] = trees.right[node], size
                pending[top + 1, 0], pending[top + 1, 1] = trees.left[node], -1
                top += 2
            size += 1
        if size == begin + 1:
            constant += value[begin]
            size = begin
        else:
            roots[split_trees] = begin
            split_trees += 1
    for node in range(size - 1, -1, -1):
        if feature[node] >= 0:
            value[node] = max(value[node + 1], value[right[node]])
            mask[node] |= mask[node + 1] | mask[right[node]]
    return feature, cut, right, value, mask, roots[:split_trees], constant


@njit(cache=True)
def best_leaf(node, feature, cut, right, value, low, high, pending):
    """The reachable leaf of largest value under ``node`` within the box."""
    best = -np.inf
    leaf = -1
    top = 1
    pending[0] = node
    while top > 0:
        top -= 1
        n = pending[top]
        while value[n] > best:
            f = feature[n]
            if f < 0:
                best = value[n]
                leaf = n
                break
            if high[f] < cut[n]:
                n = n + 1
            elif low[f] >= cut[n]:
                n = right[n]
            elif value[n + 1] >= value[right[n]]:
                pending[top] = right[n]
                top += 1
                n = n + 1
            else:
                pending[top] = n + 1
                top += 1
                n = right[n]
    return leaf
