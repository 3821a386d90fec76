"""Boxes: conjunctions of intervals and names, widened, narrowed and extended until they fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.mining.columns import Column
from crenel.poisoning.mining.pairs import poisson_gain

#: From a column's position to the codes that it may have, both ends included.
Box = dict[int, tuple[int, int]]
#: What one more condition must gain, for it was chosen among many.
PRICE = 5.0
#: Ends of intervals tried on one column at most.
ENDS = 40
#: Rounds over the conditions at most, after a first one over all columns.
ROUNDS = 4


@dataclass(frozen=True)
class Ground:
    """The rows that boxes are fitted to.

    Attributes
    ----------
    own : list of ndarray, shape (m,), int32
        Codes of a class's odd rows, by column.
    rest : list of ndarray, shape (r,), int32
        Codes of the rows of comparison.
    totals : list of ndarray
        Rows of ``own`` by code.
    counts : list of int
        Codes of each column.
    ordered : list of bool
    missing : list of int or None
    """

    own: list[NDArray[np.integer[Any]]]
    rest: list[NDArray[np.integer[Any]]]
    totals: list[NDArray[np.int64]]
    counts: list[int]
    ordered: list[bool]
    missing: list[int | None]

    @classmethod
    def of(cls, columns: list[Column], own: NDArray[np.int64], rest: NDArray[np.int64]) -> Ground:
        """The codes of some rows, and of others."""
        return cls(
            [c.codes[own] for c in columns],
            [c.codes[rest] for c in columns],
            [np.bincount(c.codes[own], minlength=c.count) for c in columns],
            [c.count for c in columns],
            [c.ordered for c in columns],
            [c.missing for c in columns],
        )


def inside(codes: list[NDArray[np.integer[Any]]], box: Box, skip: int = -1) -> NDArray[np.bool_]:
    """Rows that meet every condition, one of them left out."""
    mask = np.ones(len(codes[0]), dtype=bool)
    for j, (low, high) in box.items():
        if j != skip:
            mask &= (codes[j] >= low) & (codes[j] <= high)
    return mask


def fitted(box: Box, ground: Ground) -> tuple[Box, float]:
    """The box at a maximum of its likelihood ratio, one column after the other, and that maximum.

    A condition is added where it halves what is expected and keeps what was seen; an interval is
    moved to where the odd rows in it are densest; a condition that costs more than it tells goes,
    but for the last two of a conjunction: alone, any value that suits the class would gain more.
    """
    state = _State.of(box, ground)
    state.least = min(2, len(box))
    gain = -np.inf
    for j in range(len(ground.counts)):
        gain = state.along(j)
    for _ in range(ROUNDS):
        before = gain
        for j in list(state.box):
            gain = state.along(j)
        if gain <= before + 0.5:
            break
    return state.box, gain


def settled(box: Box, ground: Ground) -> Box:
    """The box with the same columns, its bounds moved to where the odd rows are densest."""
    state = _State.of(box, ground)
    for _ in range(ROUNDS):
        before = dict(state.box)
        for j in list(before):
            state.along(j, needed=True)
        if state.box == before:
            break
    return state.box


@dataclass
class _State:
    """A box with the number of its conditions that each row fails, and those kept at least."""

    ground: Ground
    box: Box
    own: NDArray[np.int16]
    rest: NDArray[np.int16]
    least: int = 1

    @classmethod
    def of(cls, box: Box, ground: Ground) -> _State:
        state = cls(
            ground,
            {},
            np.zeros(len(ground.own[0]), dtype=np.int16),
            np.zeros(len(ground.rest[0]), dtype=np.int16),
        )
        for j, bounds in box.items():
            state._put(j, bounds)
        return state

    def _put(self, j: int, bounds: tuple[int, int]) -> None:
        self.box[j] = bounds
        self.own += _outside(self.ground.own[j], bounds)
        self.rest += _outside(self.ground.rest[j], bounds)

    def _lift(self, j: int) -> None:
        bounds = self.box.pop(j)
        self.own -= _outside(self.ground.own[j], bounds)
        self.rest -= _outside(self.ground.rest[j], bounds)

    def along(self, j: int, needed: bool = False) -> float:
        """Move to the best condition on one column, or none unless needed, given the others."""
        ground = self.ground
        if j in self.box:
            bounds = self.box[j]
            self._lift(j)
            needed = needed or len(self.box) < self.least
        mine, met = self.own == 0, self.rest == 0
        seen, n = int(mine.sum()), ground.counts[j]
        background = len(mine) * _share(self.box, ground, mine)
        scale = len(mine) / max(1, len(met))
        here = np.bincount(ground.own[j][mine], minlength=n)
        away = ground.totals[j] - here + 0.5 / n
        there = np.bincount(ground.rest[j][met], minlength=n)
        low, high = _intervals(here, ground.ordered[j], ground.missing[j])
        o = _between(here, low, high)
        share = _between(away / away.sum(), low, high)
        expected = np.maximum(background * share, (_between(there, low, high) + 0.5) * scale)
        gains = poisson_gain(o, expected) - PRICE * (len(self.box) + 1)
        least = max(background, (int(met.sum()) + 0.5) * scale)
        free = float(poisson_gain(np.array([float(seen)]), np.array([least]))[0])
        free -= PRICE * len(self.box)
        if len(gains) == 0 or (self.box and free >= gains.max() and not needed):
            if needed:
                self._put(j, bounds)
            return free
        i = int(gains.argmax())
        self._put(j, (int(low[i]), int(high[i])))
        return float(gains[i])


def _outside(codes: NDArray[np.integer[Any]], bounds: tuple[int, int]) -> NDArray[np.bool_]:
    return (codes < bounds[0]) | (codes > bounds[1])


def _share(box: Box, ground: Ground, mine: NDArray[np.bool_]) -> float:
    """Share of a class's odd rows that conditions would leave if they were independent."""
    share, far = 1.0, ~mine
    for j, (low, high) in box.items():
        codes = ground.own[j][far]
        share *= (((codes >= low) & (codes <= high)).sum() + 0.5) / (len(codes) + 1.0)
    return share


def _intervals(
    here: NDArray[np.int64], ordered: bool, missing: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Intervals whose ends the gathered rows hold; single codes of names and missing values."""
    held = np.flatnonzero(here)
    alone = held if not ordered else held[held == (-1 if missing is None else missing)]
    if not ordered:
        return alone, alone
    ends = held[held != (-1 if missing is None else missing)]
    if len(ends) > ENDS:
        mass = np.cumsum(here[ends])
        at = np.searchsorted(mass, np.linspace(0, mass[-1], ENDS)).clip(max=len(ends) - 1)
        ends = ends[np.unique(at)]
    first, second = np.triu_indices(len(ends))
    return np.append(ends[first], alone), np.append(ends[second], alone)


def _between(
    counts: NDArray[np.float64] | NDArray[np.int64], low: NDArray[np.int64], high: NDArray[np.int64]
) -> NDArray[np.float64]:
    total = np.concatenate([[0.0], np.cumsum(counts)])
    result: NDArray[np.float64] = total[high + 1] - total[low]
    return result
