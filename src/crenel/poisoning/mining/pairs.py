"""Pairs of values that one class's odd rows share far more often than the two values explain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.mining.columns import Column

#: Rows that a pair must gather, and how many times what is expected: below that it is a matter
#: of how values go together in large groups.
LEAST, LIFT = 5, 2.0
#: Logarithm of the likelihood ratio below which it is chance.
CHANCE = 3.0
#: Rows above which a cell ranks no higher: planted ones are few, and what is so by nature is not.
SATURATED = 100


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


@dataclass(frozen=True)
class _Level:
    """One column at one width of bins."""

    codes: NDArray[np.integer[Any]]
    count: int
    low: NDArray[np.int64]
    high: NDArray[np.int64]


def levels(column: Column) -> list[_Level]:
    """The column's codes, and its wide bins once and once more shifted."""
    every = np.arange(column.count)
    found = [_Level(column.codes, column.count, every, every)]
    for wide in column.wide:
        count = int(wide.max()) + 1
        if count > 2 and count < column.count:
            low = np.searchsorted(wide, np.arange(count))
            high = np.searchsorted(wide, np.arange(count), side="right") - 1
            found.append(_Level(wide[column.codes], count, low, high))
    return found


def outstanding(
    columns: list[Column],
    y: NDArray[np.int64],
    k: int,
    own: NDArray[np.bool_],
    rest: NDArray[np.bool_],
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
    own : ndarray, shape (n,), bool
        Rows counted, under their label.
    rest : ndarray, shape (n,), bool
        Rows of comparison: those that can carry no poison of this kind. A class's own rows are
        compared with those of them that have another label where ``own`` and ``rest`` overlap.
    keep : int
        Cells kept for each class, those with the highest lift first, few rows counting less.
    most : int
        Rows of a cell at most.
    """
    mine, other = np.flatnonzero(own), np.flatnonzero(rest)
    overlap = bool((own & rest).any())
    labels = y[mine].astype(np.int64)
    sizes = np.bincount(labels, minlength=k).astype(float)
    of_rest = np.bincount(y[other], minlength=k).astype(float)
    found = _Kept(k, keep, most)
    scale = [levels(c) for c in columns]
    singles = [
        [_Counted.of(level, mine, labels, other, y, k, overlap) for level in column]
        for column in scale
    ]
    for j, column in enumerate(scale):
        for level, counted in zip(column, singles[j], strict=True):
            found.add_single(j, level, counted, sizes, _against(of_rest, overlap))
    for i, j in combinations(range(len(columns)), 2):
        for a, first in enumerate(scale[i]):
            for b, second in enumerate(scale[j]):
                found.add_pair(
                    (i, j),
                    (first, second),
                    (singles[i][a], singles[j][b]),
                    (mine, labels, other, y),
                    (sizes, _against(of_rest, overlap)),
                    overlap,
                )
    return found.all()


def _against(of_rest: NDArray[np.float64], overlap: bool) -> NDArray[np.float64]:
    """Rows of comparison for each class: all of them, or those of other classes."""
    total = of_rest.sum()
    return total - of_rest if overlap else np.full(len(of_rest), total)


@dataclass(frozen=True)
class _Counted:
    """Counts of one level's bins: own rows by class (count, k), rows of comparison likewise."""

    mine: NDArray[np.float64]
    other: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        level: _Level,
        mine: NDArray[np.int64],
        labels: NDArray[np.int64],
        other: NDArray[np.int64],
        y: NDArray[np.int64],
        k: int,
        overlap: bool,
    ) -> _Counted:
        own = np.bincount(level.codes[mine] * k + labels, minlength=level.count * k)
        rest = np.bincount(level.codes[other] * k + y[other], minlength=level.count * k)
        rest = rest.reshape(-1, k).astype(float)
        compared = rest.sum(axis=1, keepdims=True) - (rest if overlap else 0.0)
        return cls(own.reshape(-1, k).astype(float), np.broadcast_to(compared, (level.count, k)))


class _Kept:
    """The best cells of each class so far."""

    def __init__(self, k: int, keep: int, most: int) -> None:
        self.k, self.keep, self.most = k, keep, most
        self.parts: list[tuple[NDArray[np.float64], NDArray[np.int64]]] = [
            (np.zeros((0, 2)), np.zeros((0, 7), dtype=np.int64))
        ]
        self.least = np.zeros(k)
        self.held = 0

    def add_single(
        self,
        j: int,
        level: _Level,
        counted: _Counted,
        sizes: NDArray[np.float64],
        against: NDArray[np.float64],
    ) -> None:
        expected = sizes * (counted.other + 0.5) / np.maximum(against + 0.5, 1.0)
        cell, label = np.nonzero(counted.mine >= LEAST)
        self._add(
            counted.mine[cell, label], expected[cell, label], label, (j, j),
            np.stack([level.low[cell], level.low[cell]], 1),
            np.stack([level.high[cell], level.high[cell]], 1),
        )  # fmt: skip

    def add_pair(
        self,
        at: tuple[int, int],
        level: tuple[_Level, _Level],
        single: tuple[_Counted, _Counted],
        rows: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
        total: tuple[NDArray[np.float64], NDArray[np.float64]],
        overlap: bool,
    ) -> None:
        (a, b), (mine, labels, other, y), k = level, rows, self.k
        joint = a.codes[mine].astype(np.int64) * b.count + b.codes[mine]
        counts = np.bincount(joint * k + labels, minlength=a.count * b.count * k)
        cells = np.flatnonzero(counts >= LEAST)
        cell, label = cells // k, cells % k
        at_a, at_b = cell // b.count, cell % b.count
        seen = counts[cells].astype(float)
        free = single[0].mine[at_a, label] * single[1].mine[at_b, label] / total[0][label]
        # A cell whose count the two values explain by themselves is not worth the comparison.
        chosen = (poisson_gain(seen, free) > CHANCE) & (_rank(seen, free) > self.least[label])
        if not chosen.any():
            return
        cell, label, at_a, at_b = (v[chosen] for v in (cell, label, at_a, at_b))
        seen, free = seen[chosen], free[chosen]
        joint = a.codes[other].astype(np.int64) * b.count + b.codes[other]
        if overlap:
            table = np.bincount(joint * k + y[other], minlength=a.count * b.count * k)
            by_class = table.reshape(-1, k)[cell]
            met = by_class.sum(axis=1) - by_class[np.arange(len(cell)), label]
        else:
            met = np.bincount(joint, minlength=a.count * b.count)[cell]
        by_chance = single[0].other[at_a, label] * single[1].other[at_b, label]
        by_chance = by_chance / np.maximum(total[1][label], 1.0)
        association = (met + 1.0) / (by_chance + 1.0)
        self._add(
            seen, free * association, label, at,
            np.stack([a.low[at_a], b.low[at_b]], 1), np.stack([a.high[at_a], b.high[at_b]], 1),
        )  # fmt: skip

    def _add(
        self,
        seen: NDArray[np.float64],
        expected: NDArray[np.float64],
        label: NDArray[np.int64],
        at: tuple[int, int],
        low: NDArray[np.int64],
        high: NDArray[np.int64],
    ) -> None:
        rank = _rank(seen, expected)
        good = (rank > self.least[label]) & (seen >= LIFT * expected) & (seen <= self.most)
        good &= poisson_gain(seen, expected) > CHANCE
        if not good.any():
            return
        place = np.tile(np.array(at), (int(good.sum()), 1))
        whole = np.column_stack([label[good], place, low[good], high[good]])
        self.parts.append((np.stack([rank[good], expected[good]], axis=1), whole))
        self.held += len(whole)
        if self.held > 20 * self.keep * self.k:
            self._shrink()

    def _shrink(self) -> None:
        ranks = np.concatenate([g for g, _ in self.parts])
        whole = np.concatenate([w for _, w in self.parts])
        rank = ranks[:, 0]
        best: list[NDArray[np.int64]] = []
        for c in range(self.k):
            own = np.flatnonzero(whole[:, 0] == c)
            own = own[np.argsort(-rank[own], kind="stable")[: self.keep]]
            if len(own) == self.keep:
                self.least[c] = rank[own[-1]]
            best.append(own)
        order = np.concatenate(best)
        self.parts = [(ranks[order], whole[order])]
        self.held = len(order)

    def all(self) -> Pairs:
        self._shrink()
        ranks, whole = self.parts[0]
        order = np.argsort(-ranks[:, 0], kind="stable")
        w = whole[order]
        return Pairs(ranks[order, 1], w[:, 0], w[:, 1:3], w[:, 3:5], w[:, 5:7])


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
