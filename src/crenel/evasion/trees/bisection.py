"""Bisection over the radii at which a box gains a cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crenel.evasion.trees.bound import FOUND, INFEASIBLE, UNDECIDED, new_stack, search
from crenel.evasion.trees.cells import Row
from crenel.evasion.trees.compact import compact
from crenel.evasion.trees.ensemble import Floats, Ints
from crenel.evasion.trees.kernels import Pair, Trees, descend

MERGED_LEAVES = 256
FIRST_NODES = 1000  # boxes before trees are merged, which costs about as much


@dataclass
class Duel:
    """A row against one other class: what is known and how much was spent.

    Parameters
    ----------
    row, trees, pair
        The row in cells, the ensemble, and the margin that decides.
    lower, upper : float
        Nothing nearer than ``lower`` is decided for the class; ``cells`` is at ``upper``, for
        this class or another.
    cells : (d,) int32
    nodes : int
        Boxes looked at.
    """

    row: Row
    trees: Trees
    pair: Pair
    lower: float
    upper: float
    cells: Ints
    nodes: int = 0

    def within(self, radius: float, node_limit: int) -> int:
        """Look for a row within ``radius`` (L-inf): a status of `bound.search`."""
        box = self.row.within(radius)
        status = UNDECIDED
        for cap, limit in ((1, min(node_limit, FIRST_NODES)), (MERGED_LEAVES, node_limit)):
            if status == UNDECIDED and limit > 0:
                c = compact(self.row.place.cut, self.trees, self.pair, box, cap)
                status, nodes, _, found = search(
                    self.row.place, self.trees, self.pair, c, new_stack(box, c), 0, np.inf, limit
                )
                self.nodes += nodes
                node_limit -= nodes
        if status == FOUND:
            self.cells = found
            descend(self.cells, self.row.place, self.trees, self.pair, 0)
            self.upper = self.row.norm(self.cells, 0)
        return int(status)

    def bisect(self, radii: Floats, node_limit: int) -> None:
        """Bring the L-inf bounds together with about ``node_limit`` boxes.

        ``radii`` (r,) are all finite cell distances, sorted.  A radius that runs out of boxes is
        treated as too large while the lower bound rises, then as too small while the upper
        bound falls.
        """
        proven = int(np.searchsorted(radii, self.lower)) - 1
        ceiling = undecided = int(np.searchsorted(radii, self.upper))
        probe = ceiling - 1
        while proven + 1 < ceiling and self.nodes < node_limit:
            status = self.within(radii[probe], max(256, (node_limit - self.nodes) // 4))
            if status == INFEASIBLE:
                proven = probe
            else:
                known = int(np.searchsorted(radii, self.upper))
                ceiling = min(probe, known)
                undecided = min(undecided, known) if status == FOUND else probe
            probe = max((proven + ceiling) // 2, proven + 1)
        self.lower = min(radii[proven + 1] if proven + 1 < len(radii) else np.inf, self.upper)
        ceiling = int(np.searchsorted(radii, self.upper))
        while undecided + 1 < ceiling and self.nodes < node_limit:
            probe = (undecided + ceiling) // 2
            status = self.within(radii[probe], max(256, (node_limit - self.nodes) // 2))
            if status == FOUND:
                ceiling = int(np.searchsorted(radii, self.upper))
            else:
                undecided = probe

    def nearest(self, norm: int, node_limit: int) -> bool:
        """Lower ``upper`` to the least distance in L1 or L2; whether that is proven."""
        box = self.row.within(self.upper)
        c = compact(self.row.place.cut, self.trees, self.pair, box, 1)
        status, nodes, best, found = search(
            self.row.place,
            self.trees,
            self.pair,
            c,
            new_stack(box, c),
            norm,
            self.upper**norm,
            node_limit,
        )
        self.nodes += nodes
        if best < self.upper**norm:
            self.cells = found
            self.upper = self.row.norm(found, norm)
        return bool(status != UNDECIDED)
