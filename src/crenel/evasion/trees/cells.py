"""Rows as cells: the intervals between neighbouring thresholds of each column.

A tree ensemble is constant on a product of such intervals, so the search for a nearest
adversarial row is a search over whole numbers.  The one row of a cell that matters is the one
nearest to the row under attack, written in the user's dtype.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.trees.ensemble import Floats, Ints, TreeEnsemble
from crenel.evasion.trees.kernels import ALWAYS_LEFT


@dataclass(frozen=True)
class Grid:
    """Thresholds of every column, and each node's place among them.

    Parameters
    ----------
    thresholds : (total,) float64
        Sorted distinct thresholds of all columns, one column after the other, rounded up to a
        number that the column can hold (float32, float64 or a whole number).
    below : (total,) float64
        The greatest such number under each threshold.
    begin : (d + 1,) int64
        Where each column's thresholds begin.
    cut : (m,) int32
        A row goes left at a node when its cell is below this.
    """

    thresholds: Floats
    below: Floats
    begin: NDArray[np.int64]
    cut: Ints

    @cached_property
    def start(self) -> NDArray[np.int64]:
        """Where each column's cells begin, (d + 1,); it has one more than thresholds."""
        return self.begin + np.arange(len(self.begin))

    @cached_property
    def column(self) -> NDArray[np.int64]:
        """Column of every cell."""
        return np.repeat(np.arange(len(self.begin) - 1), np.diff(self.start))

    @cached_property
    def rank(self) -> NDArray[np.int64]:
        """Number of every cell in its column."""
        return np.arange(len(self.column)) - self.start[self.column]

    @cached_property
    def from_below(self) -> Floats:
        """Number of every cell that is nearest from below: its lower threshold."""
        edge = np.append(self.thresholds, np.nan)[np.arange(len(self.column)) - self.column - 1]
        return np.where(self.rank > 0, edge, np.nan)

    @cached_property
    def from_above(self) -> Floats:
        """Number of every cell that is nearest from above: just under its upper threshold."""
        edge = np.append(self.below, np.nan)[np.arange(len(self.column)) - self.column]
        last = self.rank == np.diff(self.begin)[self.column]
        return np.where(last, np.nan, edge)

    def cells(self, x: Floats) -> Ints:
        """Cells (n, d) int32 of rows (n, d); a missing value has cell 0."""
        out = np.zeros(x.shape, dtype=np.int32)
        for column in range(x.shape[1]):
            out[:, column] = np.searchsorted(self.of(column), x[:, column], side="right")
        return np.where(np.isnan(x), np.int32(0), out)

    def of(self, column: int) -> Floats:
        """Thresholds of one column, sorted."""
        return self.thresholds[self.begin[column] : self.begin[column + 1]]


def grid_of(ensemble: TreeEnsemble, width: int, single: bool, integer: NDArray[np.bool_]) -> Grid:
    """The cells of an ensemble for rows of float32 (``single``) or float64.

    Parameters
    ----------
    ensemble : TreeEnsemble
    width : int
        Number of columns d.
    single : bool
        Whether rows are float32.
    integer : (d,) bool
        Columns that hold whole numbers only.
    """
    numeric = ensemble.feature >= 0
    numeric[list(ensemble.categories)] = False
    nodes = np.flatnonzero(numeric)
    column, threshold = ensemble.feature[nodes], ensemble.threshold[nodes]
    raised, lower = on_lattice(threshold, single, integer[column])
    cut = np.zeros(len(ensemble.feature), dtype=np.int32)
    cut[nodes] = np.where(raised > 0, ALWAYS_LEFT, 0)  # where the threshold is infinite
    finite = np.flatnonzero(np.isfinite(raised))
    order = finite[np.lexsort((raised[finite], column[finite]))]
    column, raised = column[order], raised[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (column[1:] != column[:-1]) | (raised[1:] != raised[:-1])
    begin = np.zeros(width + 1, dtype=np.int64)
    np.cumsum(np.bincount(column[new], minlength=width), out=begin[1:])
    cut[nodes[order]] = np.cumsum(new) - begin[column]
    return Grid(raised[new], lower[order][new], begin, cut)


def on_lattice(
    threshold: Floats, single: bool, integer: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Smallest allowed number at or above each threshold (m,), and the one before it.

    For allowed numbers, ``x < threshold`` is the same as ``x < raised``.
    """
    raised, lower = threshold, np.nextafter(threshold, -np.inf)
    if single:
        with np.errstate(over="ignore"):
            up = threshold.astype(np.float32)
        up = np.where(up < threshold, np.nextafter(up, np.float32(np.inf)), up)
        raised = up.astype(np.float64)
        lower = np.nextafter(up, np.float32(-np.inf)).astype(np.float64)
    whole = np.ceil(threshold)
    return np.where(integer, whole, raised), np.where(integer, whole - 1, lower)
