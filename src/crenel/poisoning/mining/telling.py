"""What boxes tell for their length: which of their conditions belong to a pattern."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.mining.boxes import Box
from crenel.poisoning.mining.columns import Column
from crenel.poisoning.mining.pairs import poisson_gain
from crenel.poisoning.mining.suspects import Honest, Suspect, some_of

#: Rows that an association of few must outweigh, lest conditions follow single rows.
FIRM = 4.0
#: Training rows by which conditions are judged at most.
ROWS = 40_000


@dataclass(frozen=True)
class Judge:
    """Judges suspects by some of the training rows, and by the honest ones.

    Attributes
    ----------
    columns, y : list of Column, ndarray of shape (n,)
        Of all training rows.
    some : tuple of the same
        Of those that are looked at.
    held : Honest or None
    """

    columns: list[Column]
    y: NDArray[np.int64]
    some: tuple[list[Column], NDArray[np.int64]]
    held: Honest | None

    @classmethod
    def of(cls, columns: list[Column], y: NDArray[np.int64], held: Honest | None) -> Judge:
        """By 40,000 random rows where there are more."""
        some = (columns, y)
        if len(y) > ROWS:
            rows = some_of(np.ones(len(y), dtype=bool), np.random.default_rng(0), ROWS)
            some = ([c.take(rows) for c in columns], y[rows])
        return cls(columns, y, some, held)

    def essential(self, suspect: Suspect, lack: bool = False) -> Suspect:
        """See the function; with all its training rows."""
        box = essential(suspect, *self.some, self.held, lack)
        return (
            suspect if len(box) == len(suspect.box) else suspect.within(box, self.columns, self.y)
        )

    def telling(self, suspect: Suspect) -> float:
        """See the function."""
        return telling(suspect, *self.some, self.held)

    def lacking(self, suspect: Suspect) -> float:
        """See the function; 0 without honest rows."""
        return 0.0 if self.held is None else lacking(suspect, *self.some, self.held)


def telling(
    suspect: Suspect, columns: list[Column], y: NDArray[np.int64], held: Honest | None = None
) -> float:
    """Logarithm of the likelihood ratio of the rows to their expected number, less its price.

    Every condition costs what it takes to name it: its column, and one value or both ends of an
    interval (minimum description length; Rissanen, 1978). Expected is what the class's other rows
    let, or those of other classes, times the association of the conditions in other classes; and
    of what is no conjunction of single values no less than the class's honest rows show: these
    may be poisoned, too.
    """
    return float(_Conditions.of(suspect, columns, y, held).telling()[0])


def lacking(suspect: Suspect, columns: list[Column], y: NDArray[np.int64], held: Honest) -> float:
    """The same against what the class's honest rows show alone.

    Where columns go together, their independence is no measure of anything.
    """
    return float(_Conditions.of(suspect, columns, y, held).lacking()[0])


def essential(
    suspect: Suspect,
    columns: list[Column],
    y: NDArray[np.int64],
    held: Honest | None = None,
    lack: bool = False,
) -> Box:
    """The suspect's box without the conditions that tell less than they cost, dropped one by one.

    With ``lack`` they tell what honest rows show alone: see `lacking`.
    """
    left = _Conditions.of(suspect, columns, y, held)
    while len(left.names) > 2:
        told = left.lacking() if lack else left.telling()
        i = int(np.argmax(told[1:]))
        if told[i + 1] < told[0]:
            break
        left = left.without(i)
    return {j: suspect.box[j] for j in left.names}


@dataclass(frozen=True)
class _Conditions:
    """Which rows fail which conditions of a box.

    Attributes
    ----------
    names : list of int
        Columns.
    prices : ndarray, shape (c,)
    missed : tuple of ndarray, shape (c, m), bool
        Failed conditions of the class's rows, of other classes', and of the class's honest rows.
    times : float
        The class's rows over its honest ones.
    exact : bool
        Whether all are single values.
    """

    names: list[int]
    prices: NDArray[np.float64]
    missed: tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]
    times: float
    exact: bool

    @classmethod
    def of(
        cls, suspect: Suspect, columns: list[Column], y: NDArray[np.int64], held: Honest | None
    ) -> _Conditions:
        names, own = list(suspect.box), y == suspect.label
        of_class = np.zeros(0, dtype=bool) if held is None else held.y == suspect.label
        missed = np.empty((len(names), len(y)), dtype=bool)
        honest = np.empty((len(names), int(of_class.sum())), dtype=bool)
        prices = []
        for i, j in enumerate(names):
            (low, high), codes = suspect.box[j], columns[j].codes
            missed[i] = (codes < low) | (codes > high)
            if held is not None:
                there = held.codes[j][of_class]
                honest[i] = (there < low) | (there > high)
            ends = 1 if low == high else 2
            prices.append(math.log(len(columns)) + ends * math.log(columns[j].count))
        exact = all(low == high for low, high in suspect.box.values())
        times = float(own.sum()) / max(1, honest.shape[1])
        parts = missed[:, own], missed[:, ~own], honest
        return cls(names, np.array(prices), parts, times, exact)

    def without(self, i: int) -> _Conditions:
        """The others."""
        keep = np.arange(len(self.names)) != i
        a, b, c = (m[keep] for m in self.missed)
        names = [n for j, n in enumerate(self.names) if j != i]
        return replace(self, names=names, prices=self.prices[keep], missed=(a, b, c))

    def telling(self) -> NDArray[np.float64]:
        """What they tell together, then what they do without each of them, shape (1 + c,)."""
        seen, elsewhere, honest = (_met(m) for m in self.missed)
        size = self.missed[0].shape[1]
        here = size - self.missed[0].sum(axis=1)
        share = (here - seen[:, None] + 0.5) / (size - seen[:, None] + 1.0)
        # What is usual in other classes is theirs: stamped rows may come from there.
        share = np.maximum(share, 1.0 - self.missed[1].mean(axis=1))
        free = size * _products(np.log(share.clip(1e-12)))
        expected = np.maximum(free, free * _association(self.missed[1], elsewhere))
        if not self.exact and self.missed[2].shape[1]:
            expected = np.maximum(expected, free * _association(self.missed[2], honest))
            expected = np.maximum(expected, honest * self.times)
        paid = self.prices.sum() - np.concatenate([[0.0], self.prices])
        told: NDArray[np.float64] = poisson_gain(seen.astype(float), expected) - paid
        return told

    def lacking(self) -> NDArray[np.float64]:
        """The same, of what the honest rows alone let expect."""
        seen, _, honest = (_met(m) for m in self.missed)
        paid = self.prices.sum() - np.concatenate([[0.0], self.prices])
        expected = ((honest + 0.5) * self.times).astype(np.float64)
        told: NDArray[np.float64] = poisson_gain(seen.astype(float), expected) - paid
        return told


def _association(missed: NDArray[np.bool_], met: NDArray[np.int64]) -> NDArray[np.float64]:
    """Rows that meet all conditions over those that would were they independent, (1 + c,)."""
    share = 1.0 - missed.sum(axis=1) / max(1, missed.shape[1])
    alone = np.tile(np.log(share.clip(1e-12)), (len(met), 1))
    result: NDArray[np.float64] = (met + FIRM) / (missed.shape[1] * _products(alone) + FIRM)
    return result


def _met(missed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Rows that fail none of some conditions (c, m), and none but each of them, shape (1 + c,)."""
    fails = missed.sum(axis=0, dtype=np.uint8)
    inside = int((fails == 0).sum())
    return np.concatenate([[inside], inside + missed[:, fails == 1].sum(axis=1)])


def _products(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Products of logarithms (1 + c, c): of all in the first row, in the others of all but one."""
    total: NDArray[np.float64] = logs.sum(axis=1)
    total[1:] -= np.diagonal(logs[1:])
    products: NDArray[np.float64] = np.exp(total)
    return products
