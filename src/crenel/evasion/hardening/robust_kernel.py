"""Growing one tree whose splits hold against an attacker who moves every number a little.

Each row is a box: where the attacker can put it. A box on both sides of a threshold goes where it
does most harm. For two classes and the Gini impurity that place is known in closed form (Vos and
Verwer, "Efficient training of robust decision trees against adversarial examples" (GROOT), 2021;
the problem is that of Chen et al., "Robust decision trees against adversarial examples", 2019).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True)  # type: ignore[untyped-decorator]
def gini(zeros: float, ones: float) -> float:
    """Gini impurity times weight of a node with these class weights."""
    total = zeros + ones
    return 0.0 if total <= 0 else 2.0 * zeros * ones / total


@njit(cache=True)  # type: ignore[untyped-decorator]
def worst(
    left: tuple[float, float], right: tuple[float, float], both: tuple[float, float]
) -> tuple[float, int]:
    """Impurity after the worst placement of the boxes on both sides, and which one that is.

    Parameters
    ----------
    left, right, both : (zeros, ones)
        Weights of the classes that are on one side for sure, and on both.

    Returns
    -------
    impurity : float
    placement : int
        1: boxes of class 0 go left and those of class 1 right; 2: the other way; 0: they can be
        placed so that the split tells nothing.

    Notes
    -----
    Weighted Gini is concave in the weights that move, and greatest where both sides have the
    share of ones of their parent. Where the reachable shares lie on one side of that, the worst
    placement is the corner nearest to it.
    """
    zeros, ones = left[0] + right[0] + both[0], left[1] + right[1] + both[1]
    parent = gini(zeros, ones)
    share = ones / (zeros + ones)
    if left[0] + left[1] + both[0] <= 0 or left[0] + left[1] + both[1] <= 0:
        return parent, 0
    if right[0] + right[1] + both[0] <= 0 or right[0] + right[1] + both[1] <= 0:
        return parent, 0
    least = left[1] / (left[0] + left[1] + both[0])
    most = (left[1] + both[1]) / (left[0] + left[1] + both[1])
    if least > share:
        placed = gini(left[0] + both[0], left[1]) + gini(right[0], right[1] + both[1])
        return placed, 1
    if most < share:
        placed = gini(left[0], left[1] + both[1]) + gini(right[0] + both[0], right[1])
        return placed, 2
    return parent, 0


@njit(cache=True)  # type: ignore[untyped-decorator]
def best_split(
    low: NDArray[np.float64], high: NDArray[np.float64], y: NDArray[np.int64],
    weight: NDArray[np.float64], rows: NDArray[np.int64], j: int, leaf: float,
) -> tuple[float, float, int]:  # fmt: skip
    """The threshold on column j with the least impurity at worst: impurity, threshold, placement.

    Thresholds are tried between all places where a box begins or ends. The impurity is infinite
    where no threshold leaves at least ``leaf`` weight on each side at worst.
    """
    a, b = low[rows, j], high[rows, j]
    by_low, by_high = np.argsort(a), np.argsort(b)
    left, both, right = np.zeros(2), np.zeros(2), np.zeros(2)
    for i in rows:
        right[y[i]] += weight[i]
    best, cut, how = np.inf, 0.0, 0
    n, p, q = len(rows), 0, 0
    while p < n or q < n:
        at = min(a[by_low[p]] if p < n else np.inf, b[by_high[q]] if q < n else np.inf)
        while p < n and a[by_low[p]] <= at:  # no longer on the right for sure
            i = rows[by_low[p]]
            right[y[i]] -= weight[i]
            both[y[i]] += weight[i]
            p += 1
        while q < n and b[by_high[q]] <= at:  # on the left for sure
            i = rows[by_high[q]]
            both[y[i]] -= weight[i]
            left[y[i]] += weight[i]
            q += 1
        following = min(a[by_low[p]] if p < n else np.inf, b[by_high[q]] if q < n else np.inf)
        if not np.isfinite(following):
            break
        value, placement = worst((left[0], left[1]), (right[0], right[1]), (both[0], both[1]))
        if placement == 0 or value >= best:
            continue
        mine = left[0] + left[1] + (both[0] if placement == 1 else both[1])
        if mine < leaf or left.sum() + right.sum() + both.sum() - mine < leaf:
            continue
        best, cut, how = value, (at + following) / 2, placement
    return best, cut, how


@njit(cache=True)  # type: ignore[untyped-decorator]
def _next(state: int) -> int:
    """One step of a 31-bit linear congruential generator (Park and Miller, 1988)."""
    return (state * 48271) % 2147483647


@njit(cache=True)  # type: ignore[untyped-decorator]
def _choose(
    low: NDArray[np.float64], high: NDArray[np.float64], y: NDArray[np.int64],
    weight: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64], tried: int,
    leaf: float, least: float, state: int,
) -> tuple[int, float, int, int]:  # fmt: skip
    """Column (-1 where none is better than ``least``), threshold, placement, generator state."""
    best, cut, how, chosen, seen = least, 0.0, 0, -1, 0
    for k in range(len(columns)):
        if seen >= tried:
            break
        state = _next(state)
        other = k + state % (len(columns) - k)
        columns[k], columns[other] = columns[other], columns[k]
        j = columns[k]
        if low[rows, j].min() == low[rows, j].max() and high[rows, j].min() == high[rows, j].max():
            continue  # nothing to tell here: it does not count as tried
        seen += 1
        found, at, placement = best_split(low, high, y, weight, rows, j, leaf)
        if found < best:
            best, cut, how, chosen = found, at, placement, j
    return chosen, cut, how, state


@njit(cache=True)  # type: ignore[untyped-decorator]
def _send(
    low: NDArray[np.float64], high: NDArray[np.float64], y: NDArray[np.int64],
    rows: NDArray[np.int64], j: int, cut: float, how: int,
) -> NDArray[np.bool_]:  # fmt: skip
    """Which rows go left; where the attacker had a choice, what room is left is cut."""
    goes = np.empty(len(rows), dtype=np.bool_)
    for r in range(len(rows)):
        i = rows[r]
        if high[i, j] <= cut:
            goes[r] = True
        elif low[i, j] > cut:
            goes[r] = False
        else:
            goes[r] = (y[i] == 0) == (how == 1)
            if goes[r]:
                high[i, j] = cut
            else:
                low[i, j] = cut
    return goes


@njit(cache=True)  # type: ignore[untyped-decorator]
def grow(
    low: NDArray[np.float64], high: NDArray[np.float64], y: NDArray[np.int64],
    weight: NDArray[np.float64], depth: int, leaf: float, tried: int, seed: int,
) -> tuple[Any, ...]:  # fmt: skip
    """One tree over boxes.

    Parameters
    ----------
    low, high : ndarray, shape (n, d)
        The boxes; cut in place as rows go down.
    y : ndarray, shape (n,), 0 or 1
    weight : ndarray, shape (n,)
        Rows of weight 0 are left out.
    depth : int
        Greatest depth.
    leaf : float
        Least weight of a leaf, above 0.
    tried : int
        Columns tried at each node, drawn without replacement.
    seed : int
        In [1, 2**31 - 1).

    Returns
    -------
    feature, threshold, left, right, value : ndarray
        Of each node in depth-first order, children after parents; feature -2 and children -1
        for leaves; value (nodes, 2) holds the class weights under the worst placement.
    """
    own = np.flatnonzero(weight > 0)
    room = 2 * len(own) + 1
    feature, threshold = np.full(room, -2), np.full(room, -2.0)
    left, right = np.full(room, -1), np.full(room, -1)
    value = np.zeros((room, 2))
    columns = np.arange(low.shape[1])
    stack = [(own, 0, -1, False)]
    count, state = 0, seed
    while len(stack):
        rows, level, parent, is_right = stack.pop()
        node = count
        count += 1
        if parent >= 0:
            if is_right:
                right[parent] = node
            else:
                left[parent] = node
        for i in rows:
            value[node, y[i]] += weight[i]
        impurity = gini(value[node, 0], value[node, 1])
        if level >= depth or impurity <= 0:
            continue
        chosen, cut, how, state = _choose(
            low, high, y, weight, rows, columns, tried, leaf, impurity - 1e-9, state
        )
        if chosen < 0:
            continue
        goes = _send(low, high, y, rows, chosen, cut, how)
        feature[node], threshold[node] = chosen, cut
        stack.append((rows[~goes], level + 1, node, True))
        stack.append((rows[goes], level + 1, node, False))
    return feature[:count], threshold[:count], left[:count], right[:count], value[:count]
