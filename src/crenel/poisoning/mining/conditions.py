"""How many rows fail which conditions of a box, and what that tells."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.mining.columns import Column
from crenel.poisoning.mining.pairs import poisson_gain
from crenel.poisoning.mining.suspects import Suspect
from crenel.poisoning.mining.telling_kernels import failed, given_up, met

#: Rows that an association of few must outweigh, lest conditions follow single rows.
FIRM = 4.0


@dataclass(frozen=True)
class Rows:
    """Codes of rows, those of one class side by side.

    Attributes
    ----------
    codes : ndarray, shape (d, n), uint16
        Times ``times``, for codes that may lie half way between two.
    y : ndarray, shape (n,), int64
        In rising order.
    times : int
    """

    codes: NDArray[np.uint16]
    y: NDArray[np.int64]
    times: int

    @classmethod
    def of(cls, codes: NDArray[np.generic], y: NDArray[np.int64], times: int = 1) -> Rows:
        """Of rows (d, n) in any order."""
        order = np.argsort(y, kind="stable")
        whole = np.empty(codes.shape, dtype=np.uint16)
        for line, of in zip(whole, codes, strict=True):
            line[:] = times * of[order]
        return cls(whole, y[order], times)

    def parts(self, label: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Where the rows of a class begin and end, and those of all others; none that are empty."""
        a, b = np.searchsorted(self.y, [label, label + 1]).tolist()
        others = [(0, a), (b, len(self.y))]
        return [(a, b)] if b > a else [], [(i, j) for i, j in others if j > i]


class _Part:
    """Rows of one kind, and which of a box's conditions they fail.

    Attributes
    ----------
    size : int
        Rows.
    missed : ndarray, shape (c,), int64
        Rows that fail each condition.
    """

    def __init__(
        self, box: tuple[NDArray[np.int64], NDArray[np.int64]], rows: Rows | None,
        where: list[tuple[int, int]],
    ) -> None:  # fmt: skip
        self.names, bounds = box
        self.rows, self.where = rows, where
        self.size, self.missed = 0, np.zeros(len(self.names), dtype=np.int64)
        self.of: list[tuple[NDArray[np.uint16], NDArray[np.uint16]]] = []
        if rows is None:
            return
        self.low, self.high = (rows.times * bounds).astype(np.uint16)
        for begin, end in where:
            fails, which = np.empty((2, end - begin), dtype=np.uint16)
            here = np.empty(len(self.names), dtype=np.int64)
            failed(rows.codes, begin, end, self.names, self.low, self.high, fails, which, here)
            self.of.append((fails, which))
            self.size, self.missed = self.size + end - begin, self.missed + here

    def without(self, i: int) -> None:
        """Give up a condition."""
        if self.rows is None:
            return
        name, low, high = int(self.names[i]), int(self.low[i]), int(self.high[i])
        for (begin, end), (fails, which) in zip(self.where, self.of, strict=True):
            given_up(self.rows.codes, begin, end, name, low, high, i, fails, which)

    def met(self, kept: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows that fail none of the conditions kept, and none but each of them, (1 + c,)."""
        found = np.zeros(1 + len(self.names), dtype=np.int64)
        for fails, which in self.of:
            found += met(fails, which, len(self.names))
        return np.concatenate([found[:1], found[0] + found[1 + kept]])


@dataclass
class Conditions:
    """Which rows fail which conditions of a box, and what that tells.

    Attributes
    ----------
    kept : ndarray, shape (c,), int64
        Numbers of the box's conditions that were not given up.
    prices : ndarray, float64
        Of all.
    parts : tuple of _Part
        The class's rows, those of other classes, and the class's honest ones.
    times : float
        The class's rows over its honest ones.
    exact : bool
        Whether all are single values.
    """

    kept: NDArray[np.int64]
    prices: NDArray[np.float64]
    parts: tuple[_Part, _Part, _Part]
    times: float
    exact: bool

    @classmethod
    def of(
        cls, suspect: Suspect, columns: list[Column], some: Rows, honest: Rows | None
    ) -> Conditions:
        """Of a suspect, by training rows and honest ones."""
        names = np.array(list(suspect.box), dtype=np.int64)
        bounds = np.array(list(suspect.box.values()), dtype=np.int64).reshape(-1, 2).T.copy()
        single, (own, others) = bounds[0] == bounds[1], some.parts(suspect.label)
        of_class = [] if honest is None else honest.parts(suspect.label)[0]
        box = names, bounds
        parts = (
            _Part(box, some, own),
            _Part(box, some, others),
            _Part(box, honest, of_class),
        )
        prices = [
            math.log(len(columns)) + ends * math.log(columns[j].count)
            for j, ends in zip(names, np.where(single, 1, 2).tolist(), strict=True)
        ]
        times = float(parts[0].size) / max(1, parts[2].size)
        return cls(np.arange(len(names)), np.array(prices), parts, times, bool(single.all()))

    def without(self, i: int) -> None:
        """Give up a condition, by its place among those kept."""
        for part in self.parts:
            part.without(int(self.kept[i]))
        self.kept = np.delete(self.kept, i)

    def telling(self) -> NDArray[np.float64]:
        """What they tell together, then what they do without each of them, shape (1 + c,)."""
        seen, elsewhere, honest = (p.met(self.kept) for p in self.parts)
        own, others, _ = self.parts
        here = own.size - own.missed[self.kept]
        share = (here - seen[:, None] + 0.5) / (own.size - seen[:, None] + 1.0)
        # What is usual in other classes is theirs: stamped rows may come from there.
        share = np.maximum(share, 1.0 - others.missed[self.kept] / max(1, others.size))
        free = own.size * _products(np.log(share.clip(1e-12)))
        expected = np.maximum(free, free * self._association(1, elsewhere))
        if not self.exact and self.parts[2].size:
            expected = np.maximum(expected, free * self._association(2, honest))
            expected = np.maximum(expected, honest * self.times)
        return self._gain(seen, expected)

    def lacking(self) -> NDArray[np.float64]:
        """The same, of what the honest rows alone let expect."""
        seen, honest = self.parts[0].met(self.kept), self.parts[2].met(self.kept)
        return self._gain(seen, ((honest + 0.5) * self.times).astype(np.float64))

    def _gain(self, seen: NDArray[np.int64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
        prices = self.prices[self.kept]
        paid = prices.sum() - np.concatenate([[0.0], prices])
        told: NDArray[np.float64] = poisson_gain(seen.astype(float), expected) - paid
        return told

    def _association(self, i: int, met: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of one part the rows that meet all over those that would were they independent."""
        part = self.parts[i]
        share = 1.0 - part.missed[self.kept] / max(1, part.size)
        alone = np.log(share.clip(1e-12))
        together = np.exp(alone.sum() - np.concatenate([[0.0], alone]))
        result: NDArray[np.float64] = (met + FIRM) / (part.size * together + FIRM)
        return result


def _products(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Products of logarithms (1 + c, c): of all in the first row, in the others of all but one."""
    total: NDArray[np.float64] = logs.sum(axis=1)
    total[1:] -= np.diagonal(logs[1:])
    products: NDArray[np.float64] = np.exp(total)
    return products
