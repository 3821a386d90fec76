"""Counts of all pairs of values, compiled: every pair of columns is counted once, at all widths."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.trees.compiled import compiled
from crenel.poisoning.mining.box_kernels import gain_of

Codes = NDArray[np.uint16]
Counts = NDArray[np.int32]
Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]

#: Rows that a pair must gather, and how many times what is expected: below that it is a matter
#: of how values go together in large groups.
LEAST, LIFT = 5, 2.0
#: Logarithm of the likelihood ratio below which it is chance.
CHANCE = 3.0
#: Rows above which a cell ranks no higher: planted ones are few, and what is so by nature is not.
SATURATED = 100
#: Widths of bins: a column's own codes, wide bins, and these shifted.
WIDTHS = 3


@compiled
def rank_of(seen: float, expected: float) -> float:
    """What cells are ordered by."""
    lift = np.log(seen / max(expected, 0.1))
    return float(min(seen, SATURATED) * lift)


@compiled
def replace_worst(heap: Numbers, rank: Floats, number: Numbers) -> None:
    """Sink the place on top of a heap of places, whose cell was just replaced.

    On top is the cell of the lowest rank, of equal ones the latest.
    """
    at = 0
    while 2 * at + 1 < len(heap):
        down = 2 * at + 1
        a, b = heap[down], heap[min(down + 1, len(heap) - 1)]
        if rank[b] < rank[a] or (rank[b] == rank[a] and number[b] > number[a]):
            down = min(down + 1, len(heap) - 1)
        a, b = heap[down], heap[at]
        if rank[b] < rank[a] or (rank[b] == rank[a] and number[b] > number[a]):
            break
        heap[at], heap[down] = a, b
        at = down


@compiled
def over_rows(table: Counts, bins: Codes, count: int, room: Counts) -> Counts:
    """A table (s, a, b) added up over the bins of its second axis."""
    s, a, b = table.shape
    out = room[: s * count * b].reshape((s, count, b))
    out[:] = 0
    for c in range(s):
        for i in range(a):
            add(table[c, i], out[c, bins[i]])
    return out


@compiled
def add(row: Counts, out: Counts) -> None:
    """Add one row to another."""
    for j in range(len(row)):
        out[j] += row[j]


@compiled
def over_columns(table: Counts, bins: Codes, count: int, room: Counts) -> Counts:
    """A table (s, a, b) added up over the bins of its last axis, which are runs of it."""
    s, a, b = table.shape
    out = room[: s * a * count].reshape((s, a, count))
    out[:] = 0
    for c in range(s):
        for i in range(a):
            row, here = table[c, i], out[c, i]
            # Added up apart from the array: one addition after the other to one place waits.
            now, total = bins[0], np.int32(0)
            for j in range(b):
                if bins[j] != now:
                    here[now], now, total = total, bins[j], np.int32(0)
                total += row[j]
            here[now] = total
    return out


@compiled
def highest(row: Counts) -> int:
    """The largest of some counts."""
    top = np.int32(0)
    for j in range(len(row)):
        top = max(top, row[j])
    return int(top)


@compiled
def stand_out(
    table: Counts, at: tuple[int, int, int, int], among: bool, sizes: Floats, against: Floats,
    mine: tuple[Floats, Floats], rest: tuple[Floats, Floats], most: int,
    heap: Numbers, rank: Floats, number: Numbers, cell: Numbers, expected: Floats, before: int,
) -> None:  # fmt: skip
    """Keep the cells of one table (s, a, b) that stand out.

    Its first axis has the classes of the rows counted and, unless these are compared ``among``
    themselves, with those of other classes, the number of rows of comparison. Cells are numbered
    on from ``before``, in the order of places and then classes.
    """
    k = len(sizes)
    for c in range(k):
        for i in range(table.shape[1]):
            if highest(table[c, i]) < LEAST:
                continue
            for j in range(table.shape[2]):
                if table[c, i, j] < LEAST or table[c, i, j] > most:
                    continue
                seen = float(table[c, i, j])
                free = mine[0][i, c] * mine[1][j, c] / sizes[c]
                # The gain is at most (seen - free)^2 / free.
                if seen <= free or (seen - free) ** 2 <= CHANCE * free:
                    continue
                met = 0.0
                if among:
                    for other in range(k):
                        met += table[other, i, j]
                    met -= seen
                else:
                    met += table[k, i, j]
                by_chance = rest[0][i, c] * rest[1][j, c] / max(against[c], 1.0)
                wanted = free * (met + 1.0) / (by_chance + 1.0)
                if seen < LIFT * wanted or gain_of(seen, free) <= CHANCE:
                    continue
                value, worst = rank_of(seen, wanted), heap[c, 0]
                if value <= rank[c, worst] or gain_of(seen, wanted) <= CHANCE:
                    continue
                rank[c, worst], expected[c, worst] = value, wanted
                number[c, worst] = before + (i * table.shape[2] + j) * k + c
                for f in range(4):
                    cell[c, worst, f] = at[f]
                cell[c, worst, 4], cell[c, worst, 5] = i, j
                replace_worst(heap[c], rank[c], number[c])


@compiled
def all_pairs(
    codes: Codes, slot: NDArray[np.uint16], slots: int, bins: Codes, counts: Numbers, among: bool,
    sizes: Floats, against: Floats, mine: Floats, rest: Floats, most: int,
    heap: Numbers, rank: Floats, number: Numbers, cell: Numbers, expected: Floats,
) -> None:  # fmt: skip
    """Count every pair of columns, and keep the cells that stand out at any widths of their bins.

    Parameters
    ----------
    codes : ndarray, shape (d, n)
    slot : ndarray, shape (n,)
        Where a row is counted: see `stand_out`.
    slots : int
    bins : ndarray, shape (d, 3, c)
        From a code to its bin, for each width.
    counts : ndarray, shape (d, 3)
        Bins of each width; 0 where there are none.
    among : bool
    sizes, against : ndarray, shape (k,)
        Rows counted, and rows of comparison, of each class.
    mine, rest : ndarray, shape (d, 3, c, k)
        The same of each bin.
    most : int
        Rows of a cell at most.
    heap, rank, number, cell, expected : ndarray, shape (k, keep), (k, keep, 6) for ``cell``
        Written: the cells kept, as columns, widths and bins.
    """
    d, n = codes.shape
    widest = counts.max()
    whole = widest * widest * slots
    room, before = np.zeros((4, whole), np.int32), 0
    for i in range(d):
        for j in range(i + 1, d):
            table = room[0, : counts[i, 0] * counts[j, 0] * slots]
            table = table.reshape((slots, counts[i, 0], counts[j, 0]))
            table[:] = 0
            for r in range(n):
                table[slot[r], codes[i, r], codes[j, r]] += 1
            # Rows are joined first, which is fast, and once for all widths of columns.
            one = two = table
            if counts[i, 1] > 0:
                one = over_rows(table, bins[i, 1], counts[i, 1], room[1])
            if counts[i, 2] > 0:
                two = over_rows(table, bins[i, 2], counts[i, 2], room[2])
            for b in range(WIDTHS):
                if counts[j, b] == 0:
                    continue
                for a in range(WIDTHS):
                    if counts[i, a] == 0:
                        continue
                    shown = table if a == 0 else (one if a == 1 else two)
                    if b > 0:
                        shown = over_columns(shown, bins[j, b], counts[j, b], room[3])
                    stand_out(
                        shown, (i, j, a, b), among, sizes, against,
                        (mine[i, a], mine[j, b]), (rest[i, a], rest[j, b]), most,
                        heap, rank, number, cell, expected, before,
                    )  # fmt: skip
                    before += whole
