"""The trees of a pair restricted to a box and merged in groups, compiled.

Trees whose paths exclude each other make the sum of their best leaves a loose bound.  A group
of trees merged into one (each leaf of the first continues with the second inside the leaf's own
box) has the bound of their best joint leaf (Chen et al., 2019, merge pairs of leaves likewise).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.trees.compiled import compiled
from crenel.evasion.trees.ensemble import Floats, Ints
from crenel.evasion.trees.kernels import FEATURE, LEFT, RIGHT, Pair, Trees

COLUMN, CUT, OTHER = 0, 1, 2


class Compact(NamedTuple):
    """Restricted trees in preorder: a left child follows its parent.

    ``nodes`` (size, 3) is column (-1 for a leaf), cut and right child.  ``value`` is the largest
    leaf at or under a node, ``mask`` the columns split on there as 64 bits, ``roots`` the trees
    that still split and ``constant`` the sum of those that do not.
    """

    nodes: Ints
    value: Floats
    mask: NDArray[np.uint64]
    roots: Ints
    constant: float


class Growth(NamedTuple):
    """Work space of `graft`.

    ``nodes`` and ``value`` are being filled.  ``box`` (2, d) is the box on the way down,
    ``trail`` (depth, 3) the column and bounds of each change of it.  ``pending`` (depth, 6)
    holds nodes to come: node, parent, place in the group, length of the trail, and the column
    and cut that it is right of; ``carried`` the sum of the group's leaves above it.
    """

    nodes: Ints
    value: Floats
    box: Ints
    trail: Ints
    pending: Ints
    carried: Floats


@compiled
def step_down(node: int, cut: Ints, nodes: Ints, box: Ints) -> int:
    """First node at or under ``node`` that splits the box, or the leaf that the box is in."""
    while nodes[node, FEATURE] >= 0:
        f = nodes[node, FEATURE]
        if box[1, f] < cut[node]:
            node = nodes[node, LEFT]
        elif box[0, f] >= cut[node]:
            node = nodes[node, RIGHT]
        else:
            break
    return node


@compiled
def narrow(g: Growth, length: int, f: int, side: int, bound: int) -> int:
    """Set one bound of column f of the box and put the old ones on the trail; its length."""
    g.trail[length, 0], g.trail[length, 1], g.trail[length, 2] = f, g.box[0, f], g.box[1, f]
    g.box[side, f] = bound
    return length + 1


@compiled
def widen(g: Growth, length: int, to: int) -> int:
    """Take back the changes of the box above position ``to`` of the trail; its length."""
    for i in range(length - 1, to - 1, -1):
        f = g.trail[i, 0]
        g.box[0, f], g.box[1, f] = g.trail[i, 1], g.trail[i, 2]
    return to


@compiled
def graft(group: Ints, size: int, cap: int, cut: Ints, trees: Trees, pair: Pair, g: Growth) -> int:
    """Write the merged trees of ``group`` from position ``size``; the new size.

    Returns -1 when there are more than ``cap`` leaves.
    """
    leaves = top = length = at = 0
    node, parent, carried = group[0], -1, 0.0
    while True:
        node = step_down(node, cut, trees.nodes, g.box)
        f = trees.nodes[node, FEATURE]
        if f < 0:
            carried += pair.value[node]
            at += 1
            if at < len(group):
                node = group[at]
                continue
        if parent >= 0:
            g.nodes[parent, OTHER] = size
            parent = -1
        g.nodes[size, COLUMN] = f
        size += 1
        if f >= 0:
            g.nodes[size - 1, CUT] = cut[node]
            entry = g.pending[top]
            entry[0], entry[1], entry[2] = trees.nodes[node, RIGHT], size - 1, at
            entry[3], entry[4], entry[5] = length, f, cut[node]
            g.carried[top] = carried
            top += 1
            length = narrow(g, length, f, 1, cut[node] - 1)
            node = trees.nodes[node, LEFT]
            continue
        g.value[size - 1] = carried
        leaves += 1
        if top == 0 or leaves > cap:
            widen(g, length, 0)
            return size if leaves <= cap else -1
        top -= 1
        entry = g.pending[top]
        node, parent, at, carried = entry[0], entry[1], entry[2], g.carried[top]
        length = widen(g, length, entry[3])
        length = narrow(g, length, entry[4], 0, entry[5])


@compiled
def grouped(
    order: Ints, cut: Ints, trees: Trees, pair: Pair, g: Growth, cap: int, roots: Ints
) -> tuple[int, int, float]:
    """Graft all trees in ``order`` in groups: size, number of roots, sum of settled trees."""
    unlimited = max(cap, len(trees.nodes))
    size = kept = i = 0
    constant = pair.base
    while i < len(order):
        begin, end = size, i + 1
        size = graft(order[i:end], begin, unlimited, cut, trees, pair, g)
        if size == begin + 1:
            constant += g.value[begin]
            size, i = begin, end
            continue
        while cap > 1 and end < len(order):
            grown = graft(order[i : end + 1], begin, cap, cut, trees, pair, g)
            if grown < 0:
                size = graft(order[i:end], begin, unlimited, cut, trees, pair, g)
                break
            size, end = grown, end + 1
        roots[kept] = begin
        kept, i = kept + 1, end
    return size, kept, constant


@compiled
def summarise(nodes: Ints, value: Floats, mask: NDArray[np.uint64]) -> None:
    """Fill in the largest leaf and the columns under each node, from the last node up."""
    for node in range(len(nodes) - 1, -1, -1):
        if nodes[node, COLUMN] >= 0:
            left, right = node + 1, nodes[node, OTHER]
            value[node] = max(value[left], value[right])
            bit = np.uint64(1) << np.uint64(nodes[node, COLUMN] & 63)
            mask[node] = bit | mask[left] | mask[right]


@compiled
def first_splits(cut: Ints, trees: Trees, pair: Pair, box: Ints) -> Ints:
    """The column that each of the pair's trees splits the box on first."""
    first = np.empty(len(pair.roots), dtype=np.int32)
    for i in range(len(first)):
        first[i] = trees.nodes[step_down(pair.roots[i], cut, trees.nodes, box), FEATURE]
    return first


def compact(cut: Ints, trees: Trees, pair: Pair, box: Ints, cap: int) -> Compact:
    """The pair's trees inside a box (2, d) of cells, merged up to ``cap`` leaves.

    With ``cap`` 1 they are not merged.  Trees that split on the same column first are merged
    with each other, because their leaves exclude each other the most.
    """
    order = pair.roots
    if cap > 1:
        order = order[np.argsort(first_splits(cut, trees, pair, box), kind="stable")]
    count, deep = len(order), len(trees.nodes) + 2
    room = 2 * deep + 2 * cap * (count + 1)  # untouched memory costs nothing
    g = Growth(
        nodes=np.empty((room, 3), dtype=np.int32),
        value=np.empty(room),
        box=box.copy(),
        trail=np.empty((deep, 3), dtype=np.int32),
        pending=np.empty((deep, 6), dtype=np.int32),
        carried=np.empty(deep),
    )
    roots = np.empty(count, dtype=np.int32)
    size, kept, constant = grouped(order, cut, trees, pair, g, cap, roots)
    nodes, value, mask = g.nodes[:size], g.value[:size], np.zeros(size, dtype=np.uint64)
    summarise(nodes, value, mask)
    return Compact(nodes, value, mask, roots[:kept], constant)
