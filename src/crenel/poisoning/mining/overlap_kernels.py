"""Which rows are in which boxes, and how many two have in common, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.trees.compiled import compiled

Numbers = NDArray[np.int64]
#: Share of a box's rows within a cell from which it explains the cell.
WITHIN = 0.4


@compiled
def unexplained(
    codes: NDArray[np.uint16], of_class: NDArray[np.bool_], columns: Numbers, low: Numbers,
    high: Numbers, rows: Numbers, starts: Numbers, boxes: int,
) -> int:  # fmt: skip
    """Rows of a cell that are left by boxes which lie mostly within its rows.

    Parameters
    ----------
    codes : ndarray, shape (d, n)
    of_class : ndarray, shape (n,)
        Rows that count.
    columns, low, high : ndarray, shape (c,)
        Conditions of the cell, both ends included.
    rows : ndarray
        Rows of the boxes, one box's after the other's.
    starts : ndarray
        Where those of each begin and, at the next place, end.
    boxes : int
    """
    at = np.empty(len(of_class), np.uint8)
    for r in range(len(at)):
        at[r] = of_class[r]
    for i in range(len(columns)):
        row, a, b = codes[columns[i]], np.uint16(low[i]), np.uint16(high[i])
        for r in range(len(at)):
            at[r] &= np.uint8((row[r] >= a) & (row[r] <= b))
    size = 0
    for r in range(len(at)):
        size += at[r]
    left = size
    for i in range(boxes):
        least = WITHIN * (starts[i + 1] - starts[i])
        if size < least:
            continue
        met = 0
        for r in range(starts[i], starts[i + 1]):
            met += at[rows[r]] > 0
        if met < least:
            continue
        for r in range(starts[i], starts[i + 1]):
            if at[rows[r]] == 1:  # 2 where an earlier box has it
                at[rows[r]] = 2
                left -= 1
    return left


@compiled
def first_of_each(
    rows: Numbers, starts: Numbers, label: Numbers, n: int, same: float
) -> NDArray[np.bool_]:
    """Mask of the sets of rows that share no more than so much with any earlier one of their label.

    Parameters
    ----------
    rows : ndarray
        In [0, n), of one set after the other.
    starts : ndarray, shape (m + 1,)
    label : ndarray, shape (m,)
    n : int
    same : float
        Rows that two have in common over those of either, above which they are one.
    """
    kept = np.zeros(len(label), np.bool_)
    mark = np.full(n, -1, np.int64)
    for i in range(len(label)):
        size = starts[i + 1] - starts[i]
        if size == 0:
            continue
        for r in range(starts[i], starts[i + 1]):
            mark[rows[r]] = i
        new = True
        for k in range(i):
            if not kept[k] or label[k] != label[i]:
                continue
            other = starts[k + 1] - starts[k]
            if min(size, other) <= same * max(size, other):
                continue
            both = 0
            for r in range(starts[k], starts[k + 1]):
                both += mark[rows[r]] == i
            if both / (size + other - both) > same:
                new = False
                break
        kept[i] = new
    return kept
