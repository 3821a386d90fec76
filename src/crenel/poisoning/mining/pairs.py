"""Pairs of values that one class's odd rows share far more often than the two values explain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.mining.columns import Column, stacked
from crenel.poisoning.mining.pair_kernels import CHANCE, LEAST, LIFT, SATURATED, WIDTHS, all_pairs


@dataclass(frozen=True)
class Pairs:
    """Cells that stand out; all arrays have shape (m,).

    Attributes
    ----------
    expected : ndarray of float64
        Rows that were to be expected.
    label : ndarray of int64
        Class of the rows gathered.
    columns : ndarray, shape (m, 2), int64
        Positions; twice the same for a single value.
    low, high : ndarray, shape (m, 2), int64
        Codes of the cell on both columns, both ends included.
    """

    expected: NDArray[np.float64]
    label: NDArray[np.int64]
    columns: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.expected)

    def at(self, chosen: NDArray[np.int64]) -> Pairs:
        """Some of them."""
        return Pairs(
            self.expected[chosen],
            self.label[chosen],
            self.columns[chosen],
            self.low[chosen],
            self.high[chosen],
        )


def outstanding(
    columns: list[Column],
    y: NDArray[np.int64],
    k: int,
    odd: NDArray[np.bool_] | None,
    keep: int,
    most: int,
) -> Pairs:
    """Pairs of values, and single values, that are over-represented among some rows of a class.

    The count of a pair among a class's chosen rows is held against the product of its two values'
    counts there, times the association that the two values have among the rows of comparison.

    Parameters
    ----------
    columns : list of Column
    y : ndarray, shape (n,), int64
    k : int
    odd : ndarray, shape (n,), bool, or None
        Rows counted, under their label, and compared with the others; None for all rows of a
        class, compared with those of other classes.
    keep : int
        Cells kept for each class, those with the highest lift first, few rows counting less.
    most : int
        Rows of a cell at most.
    """
    among = odd is None
    slot = y if odd is None else np.where(odd, y, k)
    slots = k if among else k + 1
    bins, counts = _bins(columns)
    tables = [
        [_counted(c.codes, slot, slots, bins[j, w], counts[j, w]) for w in range(WIDTHS)]
        for j, c in enumerate(columns)
    ]
    whole = np.array(tables)
    mine = np.ascontiguousarray(whole[..., :k])
    rest = whole.sum(axis=-1, keepdims=True) - mine if among else whole[..., k:]
    rest = np.broadcast_to(rest, mine.shape).copy()  # one that is read-only is compiled for anew
    total = np.bincount(slot, minlength=slots).astype(float)
    sizes = total[:k]
    against = total.sum() - sizes if among else np.full(k, total[k])
    heap = np.tile(np.arange(keep), (k, 1))
    rank, expected = np.zeros((k, keep)), np.zeros((k, keep))
    number, cell = np.zeros((k, keep), np.int64), np.zeros((k, keep, 6), np.int64)
    all_pairs(
        stacked(columns), slot.astype(np.uint16), slots, bins, counts, among, sizes, against,
        mine, rest, most, heap, rank, number, cell, expected,
    )  # fmt: skip
    low, high = _edges(bins, counts)
    at = cell.reshape(-1, 6)
    pairs = Pairs(
        expected=expected.ravel(),
        label=np.repeat(np.arange(k), keep),
        columns=at[:, :2],
        low=np.stack([low[at[:, e], at[:, 2 + e], at[:, 4 + e]] for e in (0, 1)], axis=1),
        high=np.stack([high[at[:, e], at[:, 2 + e], at[:, 4 + e]] for e in (0, 1)], axis=1),
    )
    order = np.argsort(number.ravel(), kind="stable")
    order = order[rank.ravel()[order] > 0]
    alone, rank_alone = _singles(mine, rest, counts, (low, high), (sizes, against), most)
    return _best([(alone, rank_alone), (pairs.at(order), rank.ravel()[order])], k, keep)


def _bins(columns: list[Column]) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """From each code to its bin (d, widths, c), and bins of each width (d, widths)."""
    widest = max(c.count for c in columns)
    bins = np.zeros((len(columns), WIDTHS, widest), dtype=np.uint16)
    counts = np.zeros((len(columns), WIDTHS), dtype=np.int64)
    for j, column in enumerate(columns):
        bins[j, 0, : column.count], counts[j, 0] = np.arange(column.count), column.count
        for w, wide in enumerate(column.wide, 1):
            count = int(wide.max()) + 1
            if 2 < count < column.count:
                bins[j, w, : column.count], counts[j, w] = wide, count
    return bins, counts


def _edges(
    bins: NDArray[np.uint16], counts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last code of each bin (d, widths, c)."""
    low, high = np.zeros(bins.shape, np.int64), np.zeros(bins.shape, np.int64)
    for j, w in zip(*np.nonzero(counts), strict=True):
        of_code = bins[j, w, : counts[j, 0]]
        every = np.arange(counts[j, w])
        low[j, w, every] = np.searchsorted(of_code, every)
        high[j, w, every] = np.searchsorted(of_code, every, side="right") - 1
    return low, high


def _counted(
    codes: NDArray[np.integer],
    slot: NDArray[np.int64],
    slots: int,
    bins: NDArray[np.uint16],
    count: int,
) -> NDArray[np.float64]:
    """Rows in each bin (c, slots) of one column; none where the column has no such bins."""
    if not count:
        return np.zeros((len(bins), slots))
    seen = np.bincount(bins[codes].astype(np.int64) * slots + slot, minlength=len(bins) * slots)
    return seen.reshape(-1, slots).astype(float)


def _singles(
    mine: NDArray[np.float64],
    rest: NDArray[np.float64],
    counts: NDArray[np.int64],
    edges: tuple[NDArray[np.int64], NDArray[np.int64]],
    total: tuple[NDArray[np.float64], NDArray[np.float64]],
    most: int,
) -> tuple[Pairs, NDArray[np.float64]]:
    """Single values that stand out, and their ranks."""
    sizes, against = total
    expected = sizes * (rest + 0.5) / np.maximum(against + 0.5, 1.0)
    rank = _rank(mine, expected)
    good = (mine >= LEAST) & (mine <= most) & (mine >= LIFT * expected)
    good &= (rank > 0) & (poisson_gain(mine, expected) > CHANCE)
    j, w, cell, label = np.nonzero(good)
    low, high = (np.repeat(e[j, w, cell][:, None], 2, axis=1) for e in edges)
    found = Pairs(expected[good], label, np.stack([j, j], axis=1), low, high)
    return found, rank[good]


def _best(parts: list[tuple[Pairs, NDArray[np.float64]]], k: int, keep: int) -> Pairs:
    """The cells of highest rank of each class, the best of all first."""
    pairs = [p for p, _ in parts]
    joined = Pairs(
        *(
            np.concatenate([getattr(p, f) for p in pairs])
            for f in ("expected", "label", "columns", "low", "high")
        )
    )
    rank = np.concatenate([r for _, r in parts])
    order = np.argsort(-rank, kind="stable")
    place = np.zeros(len(order), dtype=np.int64)
    for c in range(k):
        own = joined.label[order] == c
        place[own] = np.arange(own.sum())
    return joined.at(order[place < keep])


def _rank(seen: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    lift = np.maximum(seen, 1e-9) / np.maximum(expected, 0.1)
    ranks: NDArray[np.float64] = np.minimum(seen, SATURATED) * np.log(lift)
    return ranks


def poisson_gain(seen: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of the likelihood ratio of counts to what was expected; 0 where fewer."""
    expected = np.maximum(expected, 1e-3)
    gain: NDArray[np.float64] = seen * np.log(np.maximum(seen, 1e-9) / expected)
    return np.where(seen > expected, gain - (seen - expected), 0.0)


def cells(pairs: Pairs) -> Iterator[tuple[float, int, dict[int, tuple[int, int]]]]:
    """Expected count, class and {column: (low, high)} of each cell, the best first."""
    for m in range(len(pairs)):
        box = {
            int(c): (int(lo), int(hi))
            for c, lo, hi in zip(pairs.columns[m], pairs.low[m], pairs.high[m], strict=True)
        }
        yield float(pairs.expected[m]), int(pairs.label[m]), box
