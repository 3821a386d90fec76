"""Bisection over the radii at which a box gains a cell, compiled."""

from __future__ import annotations

import numpy as np
from numba import njit

from crenel.evasion.trees.bound import search
from crenel.evasion.trees.kernels import FOUND, INFEASIBLE, descend, norm_of


@njit(cache=True)
def box(row, radius):
    """Lowest and highest cell (d,) of each column within ``radius`` of the row."""
    low, high = row.cell.copy(), row.cell.copy()
    for f in range(len(low)):
        begin = row.start[f]
        while low[f] > row.low[f] and row.distance[begin + low[f] - 1] <= radius:
            low[f] -= 1
        while high[f] < row.high[f] and row.distance[begin + high[f] + 1] <= radius:
            high[f] += 1
    return low, high


@njit(cache=True)
def bisect(row, trees, pair, radii, lower, upper, cells, node_limit):
    """Bracket the least L-inf distance at which the pair's other class wins, up to ``upper``.

    Parameters
    ----------
    radii : (r,) float64
        All finite cell distances, sorted and distinct.
    lower : float
        A distance below which nothing is decided for the other class.
    upper : float
        A distance known to be enough (of any class), or inf.
    cells : (d,) int32
        A row at that distance; overwritten by a nearer one.
    node_limit : int
        Boxes to look at in all.

    Returns
    -------
    lower, upper : float
        Nothing nearer than ``lower`` is decided for the other class; ``cells`` is at ``upper``.
    nodes : int
    """
    proven = np.searchsorted(radii, lower) - 1  # index of the largest radius known to hold nothing
    ceiling = np.searchsorted(radii, upper)  # nothing at or above it is of interest
    undecided = len(radii) + 1  # the least radius that ran out of nodes
    nodes = 0
    probe = ceiling - 1
    while proven + 1 < ceiling and nodes < node_limit:
        low, high = box(row, radii[probe])
        slice_ = max(256, (node_limit - nodes) // 4)
        status, used, _, found = search(row, trees, pair, low, high, 0, np.inf, slice_)
        nodes += used
        if status == FOUND:
            cells[:] = found
            upper = descend(cells, row, trees, pair, 0)
            ceiling = min(ceiling, np.searchsorted(radii, upper))
        elif status == INFEASIBLE:
            proven = max(proven, probe)
        else:
            undecided = min(undecided, probe)
            ceiling = min(ceiling, probe)
        probe = (proven + ceiling) // 2
        probe = max(probe, proven + 1)
    lower = radii[proven + 1] if proven + 1 < len(radii) else np.inf
    lower = min(lower, upper)
    # What is left of the nodes goes to rows beyond the radii that could not be settled.
    floor, ceiling = undecided, np.searchsorted(radii, upper)
    while floor + 1 < ceiling and nodes < node_limit:
        probe = (floor + ceiling) // 2
        low, high = box(row, radii[probe])
        slice_ = max(256, (node_limit - nodes) // 2)
        status, used, _, found = search(row, trees, pair, low, high, 0, np.inf, slice_)
        nodes += used
        if status == FOUND:
            cells[:] = found
            upper = descend(cells, row, trees, pair, 0)
            ceiling = np.searchsorted(radii, upper)
        else:
            floor = probe
    return lower, upper, nodes


@njit(cache=True)
def nearest(row, trees, pair, upper, cells, norm, node_limit):
    """Least distance in L1 or L2 below ``upper``: whether it is proven, it, and nodes used."""
    low, high = box(row, upper)
    status, nodes, best, found = search(row, trees, pair, low, high, norm, upper, node_limit)
    if best < upper:
        cells[:] = found
        upper = norm_of(cells, row, norm)
    return status == FOUND or status == INFEASIBLE, upper, nodes
