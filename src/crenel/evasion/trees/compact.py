"""The trees of a pair restricted to a box and merged in groups, compiled.

Trees whose paths exclude each other make the sum of their best leaves a loose bound.  A group
of trees merged into one (each leaf of the first continues with the second inside the leaf's own
box) has the bound of their best joint leaf (Chen et al., 2019, merge pairs of leaves likewise).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.trees.compiled import compiled, inner
from crenel.evasion.trees.ensemble import Floats, Ints
from crenel.evasion.trees.kernels import FEATURE, LEFT, RIGHT, Pair, Place, Trees

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


class Room(NamedTuple):
    """Work space for a `Compact` and for growing it.

    ``nodes``, ``value``, ``mask`` and ``roots`` are filled.  ``box`` (2, d) is the box on the way
    down, ``trail`` (depth, 3) the column and bounds of each change of it.  ``pending`` (depth, 6)
    holds nodes to come: node, parent, place in the group, length of the trail, and the column
    and cut that it is right of; ``carried`` the sum of the group's leaves above it.
    """

    nodes: Ints
    value: Floats
    mask: NDArray[np.uint64]
    roots: Ints
    box: Ints
    trail: Ints
    pending: Ints
    carried: Floats


@compiled
def room_for(size: int, trees: int, width: int, depth: int) -> Room:
    """Work space for ``size`` nodes; memory that is not touched costs nothing."""
    return Room(
        np.empty((size, 3), dtype=np.int32),
        np.empty(size),
        np.empty(size, dtype=np.uint64),
        np.empty(trees, dtype=np.int32),
        np.empty((2, width), dtype=np.int32),
        np.empty((depth, 3), dtype=np.int32),
        np.empty((depth, 6), dtype=np.int32),
        np.empty(depth),
    )


@inner
def step_down(node: int, cut: Ints, nodes: Ints, box: Ints) -> int:
    """First of the ensemble's nodes at or under ``node`` that splits the box, or a leaf."""
    while nodes[node, FEATURE] >= 0:
        f = nodes[node, FEATURE]
        if box[1, f] < cut[node]:
            node = nodes[node, LEFT]
        elif box[0, f] >= cut[node]:
            node = nodes[node, RIGHT]
        else:
            break
    return node


@inner
def advance(node: int, nodes: Ints, box: Ints) -> int:
    """First compact node at or under ``node`` where the box still splits, or a leaf."""
    while nodes[node, COLUMN] >= 0:
        f = nodes[node, COLUMN]
        if box[1, f] < nodes[node, CUT]:
            node = node + 1
        elif box[0, f] >= nodes[node, CUT]:
            node = nodes[node, OTHER]
        else:
            break
    return node


@inner
def narrow(box: Ints, trail: Ints, length: int, f: int, side: int, bound: int) -> int:
    """Set one bound of column f of the box and put the old ones on the trail; its length."""
    trail[length, 0], trail[length, 1], trail[length, 2] = f, box[0, f], box[1, f]
    box[side, f] = bound
    return length + 1


@inner
def widen(box: Ints, trail: Ints, length: int, to: int) -> int:
    """Take back the changes of the box above position ``to`` of the trail; its length."""
    for i in range(length - 1, to - 1, -1):
        f = trail[i, 0]
        box[0, f], box[1, f] = trail[i, 1], trail[i, 2]
    return to


@inner
def restrict(
    root: int, size: int, label: int, target: int, tree_nodes: Ints, tree_cut: Ints,
    leaves: Floats, nodes: Ints, value: Floats, box: Ints, trail: Ints, pending: Ints,
) -> int:  # fmt: skip
    """Write one tree of the ensemble inside the box from position ``size``; the new size."""
    node, parent, top, length = root, -1, 0, 0
    while True:
        node = step_down(node, tree_cut, tree_nodes, box)
        f = tree_nodes[node, FEATURE]
        if parent >= 0:
            nodes[parent, OTHER] = size
            parent = -1
        nodes[size, COLUMN] = f
        if f >= 0:
            nodes[size, CUT] = tree_cut[node]
            pending[top, 0], pending[top, 1] = tree_nodes[node, RIGHT], size
            pending[top, 3] = length
            top, size = top + 1, size + 1
            length = narrow(box, trail, length, f, 1, tree_cut[node] - 1)
            node = tree_nodes[node, LEFT]
            continue
        value[size] = leaves[node, target] - leaves[node, label]
        size += 1
        if top == 0:
            widen(box, trail, length, 0)
            return size
        top -= 1
        node, parent = pending[top, 0], pending[top, 1]
        length = widen(box, trail, length, pending[top, 3])
        length = narrow(box, trail, length, nodes[parent, COLUMN], 0, nodes[parent, CUT])


@inner
def graft(
    order: Ints, first: int, last: int, size: int, cap: int, old: Ints, old_value: Floats,
    nodes: Ints, value: Floats, box: Ints, trail: Ints, pending: Ints, carried: Floats,
) -> int:  # fmt: skip
    """Write the merged trees of ``order[first:last]`` from position ``size``; the new size.

    Returns -1 when there are more than ``cap`` leaves.
    """
    leaves = top = length = 0
    at, node, parent, total = first, order[first], -1, 0.0
    while True:
        node = advance(node, old, box)
        f = old[node, COLUMN]
        if f < 0:
            total += old_value[node]
            at += 1
            if at < last:
                node = order[at]
                continue
        if parent >= 0:
            nodes[parent, OTHER] = size
            parent = -1
        nodes[size, COLUMN] = f
        size += 1
        if f >= 0:
            cut = old[node, CUT]
            nodes[size - 1, CUT] = cut
            pending[top, 0], pending[top, 1] = old[node, OTHER], size - 1
            pending[top, 2], pending[top, 3] = at, length
            carried[top] = total
            top += 1
            length = narrow(box, trail, length, f, 1, cut - 1)
            node = node + 1
            continue
        value[size - 1] = total
        leaves += 1
        if top == 0 or leaves > cap:
            widen(box, trail, length, 0)
            return size if leaves <= cap else -1
        top -= 1
        node, parent = pending[top, 0], pending[top, 1]
        at, total = pending[top, 2], carried[top]
        length = widen(box, trail, length, pending[top, 3])
        length = narrow(box, trail, length, nodes[parent, COLUMN], 0, nodes[parent, CUT])


@compiled
def summarise(size: int, kept: int, constant: float, g: Room) -> Compact:
    """Fill in the largest leaf and the columns under each node, from the last node up."""
    nodes, value, mask = g.nodes, g.value, g.mask
    for node in range(size - 1, -1, -1):
        mask[node] = np.uint64(0)
        if nodes[node, COLUMN] >= 0:
            left, right = node + 1, nodes[node, OTHER]
            value[node] = max(value[left], value[right])
            bit = np.uint64(1) << np.uint64(nodes[node, COLUMN] & 63)
            mask[node] = bit | mask[left] | mask[right]
    return Compact(g.nodes[:size], g.value[:size], g.mask[:size], g.roots[:kept], constant)


@inner
def set_box(box: Ints, g: Room) -> None:
    """Copy the box (2, d) to where it is narrowed on the way down."""
    for f in range(box.shape[1]):
        g.box[0, f], g.box[1, f] = box[0, f], box[1, f]


@compiled
def extract(p: Place, trees: Trees, pair: Pair, box: Ints, g: Room) -> Compact:
    """The margin of a pair over a box: its trees restricted, those that are constant summed."""
    size, kept = int(np.int64(0)), 0  # not a literal, for which Numba would compile twice
    constant = trees.base[pair.target] - trees.base[pair.label]
    set_box(box, g)
    nodes, value = g.nodes, g.value
    for t in range(len(trees.roots)):
        if not (trees.matters[t, pair.target] or trees.matters[t, pair.label]):
            continue
        begin = size
        size = restrict(
            trees.roots[t], begin, pair.label, pair.target, trees.nodes, p.cut, trees.value,
            nodes, value, g.box, g.trail, g.pending,
        )  # fmt: skip
        least = most = value[size - 1]
        for n in range(begin, size - 1):
            if nodes[n, COLUMN] < 0:
                least, most = min(least, value[n]), max(most, value[n])
        if least == most:
            constant += most
            size = begin
        else:
            g.roots[kept] = begin
            kept += 1
    return summarise(size, kept, constant, g)


@compiled
def alike(c: Compact, box: Ints) -> Ints:
    """The trees in order of the column and cut on which they split the box first."""
    order = c.roots.copy()
    first = np.empty(len(order), dtype=np.int64)
    for t in range(len(order)):
        n = advance(c.roots[t], c.nodes, box)
        key = (np.int64(c.nodes[n, COLUMN]) << 32) + c.nodes[n, CUT]
        at = t
        while at > 0 and first[at - 1] > key:
            first[at], order[at] = first[at - 1], order[at - 1]
            at -= 1
        first[at], order[at] = key, c.roots[t]
    return order


@compiled
def merge(c: Compact, box: Ints, cap: int, g: Room) -> Compact:
    """Compact trees inside a smaller box, merged up to ``cap`` leaves (1: not merged).

    Trees that split alike first are merged with each other, because their leaves exclude each
    other the most.
    """
    size, kept, i = int(np.int64(0)), 0, 0  # not a literal, for which Numba would compile twice
    constant, unlimited = c.constant, len(g.value)
    set_box(box, g)
    order = alike(c, box) if cap > 1 else c.roots
    while i < len(order):
        begin, end = size, i + 1
        size = graft(
            order, i, end, begin, unlimited, c.nodes, c.value, g.nodes, g.value, g.box, g.trail,
            g.pending, g.carried,
        )  # fmt: skip
        if size == begin + 1:
            constant += g.value[begin]
            size, i = begin, end
            continue
        while cap > 1 and end < len(order):
            grown = graft(
                order, i, end + 1, begin, cap, c.nodes, c.value, g.nodes, g.value, g.box, g.trail,
                g.pending, g.carried,
            )  # fmt: skip
            if grown < 0:
                size = graft(
                    order, i, end, begin, unlimited, c.nodes, c.value, g.nodes, g.value, g.box,
                    g.trail, g.pending, g.carried,
                )  # fmt: skip
                break
            size, end = grown, end + 1
        g.roots[kept] = begin
        kept, i = kept + 1, end
    return summarise(size, kept, constant, g)
