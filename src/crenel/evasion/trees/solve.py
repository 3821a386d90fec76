"""Distances of single rows: warm starts, targets in order, bisection."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.trees.bisection import Duel
from crenel.evasion.trees.cells import Grid, Row
from crenel.evasion.trees.ensemble import Floats, Ints, TreeEnsemble
from crenel.evasion.trees.kernels import (
    EMULATE,
    STRICT,
    Pair,
    Trees,
    descend,
    wins,
)

STARTS = 4


@dataclass(frozen=True)
class Pool:
    """Rows that serve as warm starts.

    Parameters
    ----------
    x : (p, d) float64
    cells : (p, d) int32
    label : (p,) class index that the model gives them
    """

    x: Floats
    cells: Ints
    label: NDArray[np.intp]

    def near(self, x: Floats, scale: Floats, label: int, count: int = STARTS) -> NDArray[np.intp]:
        """The ``count`` rows of other classes nearest to x (d,) in scaled L-inf."""
        others = np.flatnonzero(self.label != label)
        step = np.abs(self.x[others] - x) / scale
        far = np.max(np.where(np.isnan(step), 0.0, step), axis=1, initial=0.0)
        return others[np.argsort(far, kind="stable")[:count]]


@dataclass
class Bracket:
    """What is known of one row: no change below ``lower``, a change of ``upper`` at ``cells``."""

    lower: float
    upper: float
    cells: Ints | None
    nodes: int = 0

    @property
    def done(self) -> bool:
        """Whether the distance is known."""
        return self.lower >= self.upper


@dataclass(frozen=True)
class Solver:
    """An ensemble ready for search.

    Parameters
    ----------
    ensemble, grid
        The trees and their cells.
    norm : int
        0 for L-inf, 1 or 2.
    mode : int
        How margins within rounding are decided (see `kernels.flips`).
    """

    ensemble: TreeEnsemble
    grid: Grid
    norm: int
    mode: int
    trees: Trees = field(init=False)
    pairs: dict[tuple[int, int], Pair] = field(default_factory=dict)

    def __post_init__(self) -> None:
        e = self.ensemble
        nodes = np.stack([e.feature, e.left, e.right], axis=1)
        sizes = float(e.divisor), bool(e.single), float(e.link_tolerance)
        trees = Trees(nodes, e.value, e.roots, e.base, *sizes)
        object.__setattr__(self, "trees", trees)

    def pair(self, label: int, target: int) -> Pair:
        """The margin of class ``target`` over class ``label``."""
        if (label, target) not in self.pairs:
            self.pairs[label, target] = self.make_pair(label, target)
        return self.pairs[label, target]

    def make_pair(self, label: int, target: int) -> Pair:
        """Build the pair; margins that float sums could turn are within its tolerance."""
        e = self.ensemble
        value = e.value[:, target] - e.value[:, label]
        ends = np.append(e.roots[1:], len(value))
        largest = np.array([np.abs(value[a:b]).max() for a, b in zip(e.roots, ends)])
        base = float(e.base[target] - e.base[label])
        whole = not e.single and bool(np.all(e.value == np.round(e.value)) and not e.base.any())
        size = np.abs(e.value).max(axis=1)
        size = sum(size[a:b].max() for a, b in zip(e.roots, ends)) + np.abs(e.base).max()
        unit = float(np.finfo(np.float32 if e.single else np.float64).eps)
        # Sums of t terms err by at most t units in the last place of the sum of sizes.
        tolerance = 0.0 if whole else 2 * (len(e.roots) + 2) * unit * size + e.link_tolerance
        prune = np.nextafter(-tolerance, -np.inf)
        if self.mode == STRICT:
            prune = tolerance
        elif whole and self.mode == EMULATE and target > label:
            prune = 0.0
        return Pair(
            value, e.roots[largest > 0], base, label, target, tolerance, float(prune), self.mode
        )

    def start(self, row: Row, label: int, pool: Pool, x: Floats, scale: Floats) -> Bracket:
        """Upper bound by descent from the nearest rows of other classes."""
        best = Bracket(0.0, np.inf, None)
        limits = row.within(np.inf)
        for index in pool.near(x, scale, label):
            cells = np.clip(pool.cells[index], limits[0], limits[1])
            cells = np.where(np.isnan(pool.x[index]), row.place.cell, cells)
            pair = self.pair(label, int(pool.label[index]))
            if wins(cells, row.place.cut, self.trees, pair):
                descend(cells, row.place, self.trees, pair, self.norm)
                upper = row.norm(cells, self.norm)
                if upper < best.upper:
                    best = Bracket(0.0, upper, cells)
        return best

    def improve(
        self, bracket: Bracket, row: Row, label: int, order: NDArray[np.intp], node_limit: int
    ) -> Bracket:
        """Narrow a bracket with at most about ``node_limit`` boxes, classes in ``order``.

        In L-inf by bisection; in L1 and L2 exactly if the search ends, else the lower bound is
        that of L-inf.
        """
        cells = row.place.cell if bracket.cells is None else bracket.cells
        upper, lower, nodes, proven = bracket.upper, np.inf, 0, True
        radii = np.unique(row.place.distance[np.isfinite(row.place.distance)])
        for left, target in zip(range(len(order), 0, -1), order):
            pair = self.pair(label, int(target))
            duel = Duel(row, self.trees, pair, bracket.lower, upper, cells)
            budget = max(1, (node_limit - nodes) // left)
            if self.norm:
                proven = duel.nearest(self.norm, budget) and proven
            else:
                duel.bisect(radii, budget)
            lower = min(lower, duel.lower)
            upper, cells, nodes = duel.upper, duel.cells, nodes + duel.nodes
        if self.norm and proven:
            lower = upper
        elif self.norm:
            wide = Solver(self.ensemble, self.grid, 0, self.mode, pairs=self.pairs).improve(
                Bracket(bracket.lower, np.inf, None), row, label, order, node_limit
            )
            lower, nodes = wide.lower, nodes + wide.nodes
        lower = min(max(lower, bracket.lower), upper)
        return Bracket(lower, upper, cells if np.isfinite(upper) else None, bracket.nodes + nodes)
