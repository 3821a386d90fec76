"""Rows as cells: the intervals between neighbouring thresholds of each column.

A tree ensemble is constant on a product of such intervals, so the search for a nearest
adversarial row is a search over whole numbers.  The one row of a cell that matters is the one
nearest to the row under attack, written in the user's dtype.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.trees.ensemble import Floats, Ints, TreeEnsemble

ALWAYS_LEFT = np.iinfo(np.int32).max


class Row(NamedTuple):
    """One row under attack, in cells (flat arrays for the kernels).

    ``start[f]`` is where column f begins in ``distance``; a column with t thresholds has
    t + 1 cells.  Node n sends a row left when its cell is below ``cut[n]``.
    """

    cut: Ints
    cell: Ints
    low: Ints
    high: Ints
    start: NDArray[np.int64]
    distance: Floats
    value: Floats


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
    cut = np.zeros(len(ensemble.feature), dtype=np.int32)
    pieces, below, begin = [], [], [0]
    for column in range(width):
        nodes = np.flatnonzero(numeric & (ensemble.feature == column))
        raised, lower = on_lattice(ensemble.threshold[nodes], single, bool(integer[column]))
        finite = np.isfinite(raised)
        levels, first, rank = np.unique(raised[finite], return_index=True, return_inverse=True)
        cut[nodes[finite]] = rank + 1
        cut[nodes[~finite]] = np.where(raised[~finite] > 0, ALWAYS_LEFT, 0)
        pieces.append(levels)
        below.append(lower[finite][first])
        begin.append(begin[-1] + len(levels))
    return Grid(np.concatenate(pieces), np.concatenate(below), np.array(begin), cut)


def on_lattice(threshold: Floats, single: bool, integer: bool) -> tuple[Floats, Floats]:
    """Smallest allowed number at or above each threshold, and the one before it.

    For allowed numbers, ``x < threshold`` is the same as ``x < raised``.
    """
    if integer:
        raised = np.ceil(threshold)
        return raised, raised - 1
    if not single:
        return threshold, np.nextafter(threshold, -np.inf)
    with np.errstate(over="ignore"):
        up = threshold.astype(np.float32)
    up = np.where(up < threshold, np.nextafter(up, np.float32(np.inf)), up)
    lower = np.nextafter(up, np.float32(-np.inf))
    return up.astype(np.float64), lower.astype(np.float64)


def fixed_cut(grid: Grid, ensemble: TreeEnsemble, x: Floats) -> Ints:
    """Node cuts for one row, with its missing values and categories routed for good."""
    missing = np.flatnonzero(np.isnan(x))
    if not len(missing) and not ensemble.categories:
        return grid.cut
    cut = grid.cut.copy()
    nodes = np.flatnonzero(np.isin(ensemble.feature, missing))
    cut[nodes] = np.where(ensemble.missing_left[nodes], ALWAYS_LEFT, 0)
    for node in ensemble.categories:
        left = ensemble.goes_left(node, x[ensemble.feature[node]][None])[0]
        cut[node] = ALWAYS_LEFT if left else 0
    return cut


def place(
    grid: Grid, ensemble: TreeEnsemble, x: Floats, low: Floats, high: Floats, scale: Floats
) -> Row:
    """One row (d,) with the nearest value and scaled distance of every cell it may move to.

    Parameters
    ----------
    grid, ensemble
        The model.
    x : (d,) float64
        The row; NaN stays missing.
    low, high : (d,) float64
        Allowed values; equal for a column that must not change.
    scale : (d,) float64
        Positive; distance is ``|change| / scale``.
    """
    width = len(x)
    cell = grid.cells(x[None])[0]
    start = grid.begin + np.arange(width + 1)
    value = np.repeat(x, np.diff(start))
    where = np.arange(len(value)) - np.repeat(start[:-1], np.diff(start))
    own = np.repeat(cell, np.diff(start))
    threshold = np.arange(len(value)) - np.repeat(np.arange(width), np.diff(start))
    up, down = where > own, where < own
    value[up] = grid.thresholds[threshold[up] - 1]
    value[down] = grid.below[threshold[down]]
    free = (low < high) & ~np.isnan(x)
    column = np.repeat(np.arange(width), np.diff(start))
    allowed = (value >= low[column]) & (value <= high[column]) & free[column]
    with np.errstate(invalid="ignore"):
        distance = np.abs(value - x[column]) / scale[column]
    distance = np.where(where == own, 0.0, np.where(allowed, distance, np.inf))
    counts_down = np.add.reduceat(np.isfinite(distance) & down, start[:-1])
    counts_up = np.add.reduceat(np.isfinite(distance) & up, start[:-1])
    return Row(
        cut=fixed_cut(grid, ensemble, x),
        cell=cell,
        low=(cell - counts_down).astype(np.int32),
        high=(cell + counts_up).astype(np.int32),
        start=start,
        distance=distance,
        value=value,
    )
