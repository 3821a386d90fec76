"""Branch and bound inside a box of cells, compiled.

A box is bounded by the sum over trees of the largest leaf that it can still reach.  Of all
rows in a box the one nearest to the row under attack, its corner, is scored; where neither
settles the box it is split where the paths of the corner and of the best leaf part, in the tree
whose bound exceeds the corner's leaf the most.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from crenel.evasion.trees.compact import COLUMN, CUT, OTHER, Compact, advance
from crenel.evasion.trees.compiled import compiled, inner
from crenel.evasion.trees.ensemble import Floats, Ints
from crenel.evasion.trees.kernels import Pair, Place, Trees, flips

INFEASIBLE, FOUND, UNDECIDED = 0, 1, 2
OPEN, FIRST, SECOND, CLOSED = 0, 1, 2, 3
STATE, SPLIT, AT, LEFT_FIRST = 0, 1, 2, 3
NODE, BEST, HERE = 0, 1, 2
DEPTH = 1024


class Stack(NamedTuple):
    """Boxes from the first to the current one, one per level of the depth-first search.

    ``box`` (levels, 2, d) are the bounds.  ``trees`` (levels, 3, trees) are, per tree, the first
    node that still splits the box, the best leaf that it can reach and the leaf of its corner.
    ``split`` (levels, 4) is the state, the column and cut of the split and whether its left
    side comes first.  ``reach`` is the corner's norm to its power.
    """

    box: Ints
    trees: Ints
    split: Ints
    reach: Floats
    pending: Ints


@compiled
def new_stack(width: int, trees: int, pending: int) -> Stack:
    """Room for a search in ``width`` columns; memory that is not touched costs nothing."""
    return Stack(
        np.empty((DEPTH, 2, width), dtype=np.int32),
        np.empty((DEPTH, 3, trees), dtype=np.int32),
        np.empty((DEPTH, 4), dtype=np.int32),
        np.empty(DEPTH),
        np.empty(pending, dtype=np.int32),
    )


@inner
def begin_at(box: Ints, p: Place, c: Compact, s: Stack, norm: int) -> None:
    """Make the whole box (2, d) the first level of the stack."""
    s.reach[0] = 0.0
    for f in range(box.shape[1]):
        s.box[0, 0, f], s.box[0, 1, f] = box[0, f], box[1, f]
        if norm > 0:
            s.reach[0] += p.distance[p.start[f] + corner(f, p.cell, box)] ** norm
    for t in range(len(c.roots)):
        s.trees[0, NODE, t] = c.roots[t]
    s.split[0, STATE] = OPEN
    follow(0, ~np.uint64(0), True, p.cell, c, s)


@inner
def corner(f: int, cell: Ints, box: Ints) -> int:
    """The cell of column f in the box nearest to the row's own."""
    return int(min(max(cell[f], box[0, f]), box[1, f]))


@inner
def best_leaf(node: int, nodes: Ints, value: Floats, box: Ints, pending: Ints) -> int:
    """The reachable leaf of largest value under ``node`` within the box."""
    best, leaf, top = -np.inf, -1, 1
    pending[0] = node
    while top > 0:
        top -= 1
        n = pending[top]
        while value[n] > best:
            f = nodes[n, COLUMN]
            if f < 0:
                best, leaf = value[n], n
            elif box[1, f] < nodes[n, CUT]:
                n = n + 1
            elif box[0, f] >= nodes[n, CUT]:
                n = nodes[n, OTHER]
            else:
                left, right = n + 1, nodes[n, OTHER]
                n = left if value[left] >= value[right] else right
                pending[top] = right if n == left else left
                top += 1
    return leaf


@inner
def parting(node: int, leaf: int, nodes: Ints, cell: Ints, box: Ints) -> int:
    """Where the path of the corner leaves the path to ``leaf``; the corner's leaf for leaf -1."""
    while nodes[node, COLUMN] >= 0:
        f = nodes[node, COLUMN]
        to_left = corner(f, cell, box) < nodes[node, CUT]
        if leaf >= 0 and to_left != (leaf < nodes[node, OTHER]):
            break
        node = node + 1 if to_left else nodes[node, OTHER]
    return node


@inner
def choose(level: int, cell: Ints, c: Compact, s: Stack) -> None:
    """Choose the split of the box at ``level``; it stays closed where no tree splits it."""
    widest, slack = -1, -1.0
    for t in range(len(c.roots)):
        gap = c.value[s.trees[level, BEST, t]] - c.value[s.trees[level, HERE, t]]
        if gap > slack and c.nodes[s.trees[level, NODE, t], COLUMN] >= 0:
            slack, widest = gap, t
    if widest < 0:
        return
    first, leaf = s.trees[level, NODE, widest], s.trees[level, BEST, widest]
    n = parting(first, leaf, c.nodes, cell, s.box[level])
    if c.nodes[n, COLUMN] < 0:  # the corner is in the best leaf: any split will do
        n = first
    s.split[level, STATE] = FIRST
    s.split[level, SPLIT], s.split[level, AT] = c.nodes[n, COLUMN], c.nodes[n, CUT]
    s.split[level, LEFT_FIRST] = 1 if leaf < c.nodes[n, OTHER] else 0


@inner
def follow(level: int, bit: np.uint64, moved: bool, cell: Ints, c: Compact, s: Stack) -> None:
    """Bring the trees that split on a changed column up to date with the box at ``level``."""
    box = s.box[level]
    for t in range(len(c.roots)):
        n = s.trees[level, NODE, t]
        if c.mask[n] & bit != 0:
            n = advance(n, c.nodes, box)
            s.trees[level, NODE, t] = n
            s.trees[level, BEST, t] = best_leaf(n, c.nodes, c.value, box, s.pending)
            if moved:
                s.trees[level, HERE, t] = parting(n, -1, c.nodes, cell, box)


@inner
def halve(level: int, p: Place, c: Compact, s: Stack, norm: int) -> None:
    """Write the next half of the box at ``level`` to the next level."""
    f, child = s.split[level, SPLIT], level + 1
    for column in range(s.box.shape[2]):
        s.box[child, 0, column] = s.box[level, 0, column]
        s.box[child, 1, column] = s.box[level, 1, column]
    for what in range(3):
        for t in range(len(c.roots)):
            s.trees[child, what, t] = s.trees[level, what, t]
    s.reach[child] = s.reach[level]
    s.split[child, STATE] = OPEN
    before = corner(f, p.cell, s.box[level])
    if (s.split[level, STATE] == FIRST) == (s.split[level, LEFT_FIRST] == 1):
        s.box[child, 1, f] = s.split[level, AT] - 1
    else:
        s.box[child, 0, f] = s.split[level, AT]
    s.split[level, STATE] += 1
    after = corner(f, p.cell, s.box[child])
    if norm > 0:
        first, second = p.distance[p.start[f] + before], p.distance[p.start[f] + after]
        s.reach[child] += second**norm - first**norm
    follow(child, np.uint64(1) << np.uint64(f & 63), before != after, p.cell, c, s)


@compiled
def search(
    p: Place,
    trees: Trees,
    pair: Pair,
    c: Compact,
    s: Stack,
    box: Ints,
    norm: int,
    best: float,
    node_limit: int,
) -> tuple[int, int, float, Ints]:
    """Look for an adversarial row in a box (2, d) of cells.

    With ``norm`` 0 the first one found is returned.  With 1 or 2 the nearest is, whose norm (to
    the power of ``norm``) is below ``best``.

    Returns
    -------
    status : FOUND, INFEASIBLE or UNDECIDED
        UNDECIDED when ``node_limit`` or the depth of the stack was reached; a row may have been
        found even so (its norm is then below ``best``).
    nodes : int
        Boxes looked at.
    best : float
        Norm, to its power, of the row found (unchanged for ``norm`` 0).
    cells : (d,) int32
        The row found.
    """
    found, cells = p.cell.copy(), p.cell.copy()
    status, nodes, level = INFEASIBLE, 0, 0
    begin_at(box, p, c, s, norm)
    while level >= 0:
        if s.split[level, STATE] == OPEN:
            nodes += 1
            s.split[level, STATE] = CLOSED
            bound = margin = c.constant
            for t in range(len(c.roots)):
                bound += c.value[s.trees[level, BEST, t]]
                margin += c.value[s.trees[level, HERE, t]]
            if bound > pair.prune and not (norm > 0 and s.reach[level] >= best):
                wins = False
                if margin >= -trees.tolerance:
                    for f in range(len(cells)):
                        cells[f] = corner(f, p.cell, s.box[level])
                    wins = flips(margin, cells, p.cut, trees, pair)
                if wins:
                    for f in range(len(cells)):
                        found[f] = cells[f]
                    if norm == 0:
                        return FOUND, nodes, best, found
                    best = s.reach[level]
                    status = max(status, FOUND)
                elif nodes >= node_limit:
                    return UNDECIDED, nodes, best, found
                elif level + 1 >= DEPTH:
                    status = UNDECIDED
                else:
                    choose(level, p.cell, c, s)
        if s.split[level, STATE] == CLOSED:
            level -= 1
        else:
            halve(level, p, c, s, norm)
            level += 1
    return status, nodes, best, found
