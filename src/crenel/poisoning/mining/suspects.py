"""What the training data suggest: boxes where a class's label is unexplained."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.mining.boxes import Box, Ground, fitted, inside, rows_inside
from crenel.poisoning.mining.columns import Column, stacked
from crenel.poisoning.mining.overlap_kernels import unexplained
from crenel.poisoning.mining.pairs import Pairs, cells, outstanding, poisson_gain
from crenel.poisoning.mining.tally_kernels import counted

T = TypeVar("T")
R = TypeVar("R")
#: Cells kept for each class; boxes fitted in all, for each of the two ways.
CELLS, FITTED = 800, 160
#: Gain below which a cell, or what earlier boxes leave of it, is chance.
CHANCE = 6.0
#: Rows of a class, and of comparison, that a box is fitted to.
GROUND = 10_000
#: Rows of a class that are compared with its honest ones at most, and at least.
COMPARED, FEWEST = 50_000, 20
#: Share of the rows above which a box of rows whose label fits is a matter of fact, not of poison.
MATTER_OF_FACT = 0.1
#: Columns of a trigger that is offered whole; rows that share more are a kind of record.
WIDTH = 5
#: A column is constant among rows where this share of them lies in so small a part of the others.
CONSTANT, PART = 0.95, 0.35
#: Share of a suspect's rows that are most of them; share of a class's other rows that hold a value
#: at most where it is a rare one.
MOST, RARE = 0.6, 0.1


@dataclass(frozen=True)
class Suspect:
    """A box whose rows one class's label does not fit.

    Attributes
    ----------
    box : dict
        Conditions, by position of the column.
    label : int
    rows : ndarray, shape (m,), int64
        Training rows inside, with that label.
    others : int
        Training rows inside, with another label.
    fitting : bool
        Whether it was sought among all rows of the label (clean-label poison), rather than among
        those that the label does not fit.
    """

    box: Box
    label: int
    rows: NDArray[np.int64]
    others: int
    fitting: bool

    def within(self, box: Box, columns: list[Column], y: NDArray[np.int64]) -> Suspect:
        """The suspect with another box, and the rows inside that."""
        match = rows_inside(columns, box)
        rows = match[y[match] == self.label]
        return replace(self, box=box, rows=rows, others=len(match) - len(rows))


@dataclass(frozen=True)
class Honest:
    """Held-out rows, by the codes of the training rows' columns.

    Attributes
    ----------
    codes : list of ndarray, shape (h,), float64
        By column; half way between two codes for a number between their values, one beyond the
        last code for a value that has none.
    y : ndarray, shape (h,), int64
    """

    codes: list[NDArray[np.float64]]
    y: NDArray[np.int64]

    def carry(self, suspect: Suspect) -> int:
        """How many of them are in a suspect's box and of its class."""
        return int((inside(self.codes, suspect.box) & (self.y == suspect.label)).sum())

    def beside(
        self, columns: list[Column], rows: NDArray[np.int64], label: int
    ) -> tuple[list[Column], NDArray[np.bool_]]:
        """Columns of some training rows and, below, of the class's honest rows; which are first.

        Of numbers between two codes every other one gets the upper code.
        """
        held = np.flatnonzero(self.y == label)
        held = held[:: max(1, len(held) // COMPARED)]
        joined = []
        for column, codes in zip(columns, self.codes, strict=True):
            near = np.floor(codes[held] + np.arange(len(held)) % 2 / 2)
            both = np.concatenate([column.codes[rows], near])
            wide = tuple(np.append(w, w.max() + 1).astype(np.uint16) for w in column.wide)
            more = replace(column, codes=both.astype(np.uint16), count=column.count + 1, wide=wide)
            joined.append(more)
        return joined, np.arange(len(rows) + len(held)) < len(rows)


@dataclass(frozen=True)
class _Way:
    """Cells of one way to look at the rows, and what the boxes around them are fitted to.

    Attributes
    ----------
    pairs : Pairs
    own : ndarray, shape (n,), bool
        Rows that the cells count.
    ground : callable
        From a label to the ground of a box.
    again : callable or None
        The same, for a second fit.
    fitting : bool
    """

    pairs: Pairs
    own: NDArray[np.bool_]
    ground: Callable[[int], Ground]
    again: Callable[[int], Ground] | None
    fitting: bool


def suspects(
    columns: list[Column],
    y: NDArray[np.int64],
    k: int,
    odd: NDArray[np.bool_],
    rng: np.random.Generator,
    honest: Honest | None = None,
    jobs: int = 1,
) -> list[Suspect]:
    """Boxes in which rows of a class gather that it does not fit, or that others do not share.

    Parameters
    ----------
    columns : list of Column
    y : ndarray, shape (n,), int64
    k : int
    odd : ndarray, shape (n,), bool
        Rows whose label the main effects speak against.
    rng : numpy.random.Generator
        Draws the rows that boxes are fitted to where there are many.
    honest : Honest or None
        Boxes are sought, too, whose rows are more than those of the same class among these.
    jobs : int
        Threads, each of which looks in one way at a time; what is found does not depend on them.
    """
    among = np.ones(len(y), dtype=bool)

    def ground(
        draw: np.random.Generator, own: NDArray[np.bool_], rest: NDArray[np.bool_] | None
    ) -> Callable[[int], Ground]:
        @cache
        def of(label: int) -> Ground:
            others = y != label if rest is None else rest
            return Ground.of(columns, some_of(own & (y == label), draw), some_of(others, draw))

        return of

    def unfit(draw: np.random.Generator) -> list[Suspect]:
        pairs = outstanding(columns, y, k, odd, CELLS, len(y))
        first, again = ground(draw, odd, ~odd), ground(draw, among, None)
        return _of(columns, y, k, _Way(pairs, odd, first, again, False))

    def fitting(draw: np.random.Generator) -> list[Suspect]:
        pairs = outstanding(columns, y, k, None, CELLS, int(MATTER_OF_FACT * len(y)))
        return _of(columns, y, k, _Way(pairs, among, ground(draw, among, None), None, True))

    def beyond(label: int, held: Honest) -> Callable[[np.random.Generator], list[Suspect]]:
        return lambda draw: _beyond(columns, y, k, label, held, draw)

    ways: list[Callable[[np.random.Generator], list[Suspect]]] = [unfit, fitting]
    if honest is not None:
        ways += [beyond(label, honest) for label in range(k)]
    found = each(lambda way: way[0](way[1]), list(zip(ways, rng.spawn(len(ways)))), jobs)
    return [suspect for of_way in found for suspect in of_way]


def each(judged: Callable[[T], R], items: list[T], jobs: int) -> list[R]:
    """What is judged of each item, on threads: most of it is compiled."""
    if jobs < 2:
        return [judged(item) for item in items]
    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(judged, items))


def _beyond(
    columns: list[Column],
    y: NDArray[np.int64],
    k: int,
    label: int,
    honest: Honest,
    rng: np.random.Generator,
) -> list[Suspect]:
    """Boxes of one class that its honest rows do not fill: what is so by nature is there too."""
    rows = some_of(y == label, rng, COMPARED)
    if min(len(rows), int((honest.y == label).sum())) < FEWEST:
        return []
    joined, first = honest.beside(columns, rows, label)
    most = int(MATTER_OF_FACT * len(y))
    pairs = outstanding(joined, np.zeros(len(first), dtype=np.int64), 1, first, CELLS, most)
    pairs = replace(pairs, label=np.full(len(pairs), label))

    @cache
    def ground(_: int) -> Ground:
        own = some_of(first, rng)
        return Ground.of(joined, own, np.flatnonzero(~first), half=0.0)

    return _of(columns, y, k, _Way(pairs, np.ones(len(y), dtype=bool), ground, None, True))


def _of(columns: list[Column], y: NDArray[np.int64], k: int, way: _Way) -> list[Suspect]:
    of_class = [way.own & (y == c) for c in range(k)]
    codes = stacked(columns)
    explained: defaultdict[int, Explained] = defaultdict(Explained)
    found: dict[tuple[object, ...], Suspect] = {}
    tally = tallies(columns, y, k)
    for expected, label, box in cells(way.pairs):
        if way.fitting and len(box) < 2:
            continue
        if explained[label].covers(expected, box, codes, of_class[label]):
            continue
        empty = Suspect({}, label, np.zeros(0, dtype=np.int64), 0, way.fitting)
        if len(box) > 1:
            sharp = sharpened(empty.within(box, columns, y), columns, y, tally)
            if len(sharp.box) > 2:
                found.setdefault((label, *sorted(sharp.box.items())), sharp)
        best, gain = fitted(box, way.ground(label))
        if not best or gain < CHANCE / 2:
            continue
        suspect = empty.within(best, columns, y)
        explained[label].add(suspect.rows)
        found.setdefault((label, *sorted(best.items())), suspect)
        if way.again is not None:
            # Among the odd rows alone some of the poison is missing: once more among all.
            wider, _ = fitted(best, way.again(label))
            found.setdefault((label, *sorted(wider.items())), empty.within(wider, columns, y))
        if len(found) >= FITTED:
            break
    return [s for s in found.values() if s.box]


class Explained:
    """Rows of the boxes that were found for one class."""

    def __init__(self) -> None:
        # with room for more: boxes are added by the hundred
        self.rows, self.starts = np.zeros(1024, dtype=np.int64), [0]

    def add(self, rows: NDArray[np.int64]) -> None:
        """A box's rows."""
        end = self.starts[-1] + len(rows)
        if end > len(self.rows):
            self.rows = np.resize(self.rows, 2 * end)
        self.rows[self.starts[-1] : end] = rows
        self.starts.append(end)

    def covers(
        self, expected: float, box: Box, codes: NDArray[np.uint16], of_class: NDArray[np.bool_]
    ) -> bool:
        """Whether boxes that lie mostly within a cell's rows leave nothing of it to explain."""
        low, high = np.array(list(box.values())).T.copy()
        left = unexplained(
            codes, of_class, np.array(list(box)), low, high, self.rows, np.array(self.starts),
            len(self.starts) - 1,
        )  # fmt: skip
        return bool(poisson_gain(np.array([float(left)]), np.array([expected]))[0] < CHANCE)


def some_of(
    mask: NDArray[np.bool_], rng: np.random.Generator, most: int = GROUND
) -> NDArray[np.int64]:
    """Rows under a mask, or as many of them at random."""
    rows = np.flatnonzero(mask)
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))


def closed(suspect: Suspect, columns: list[Column], tally: NDArray[np.int64]) -> Suspect:
    """The suspect with conditions on every further column that is constant among its rows."""
    if not len(suspect.rows):
        return suspect
    own = counted(stacked(columns), suspect.rows, tally.shape[1])
    others = tally[:, :, suspect.label] - own
    low, high, bounded = _bounds(columns, own)
    every = np.arange(len(columns))
    below = np.pad(others.cumsum(axis=1), ((0, 0), (1, 0)))
    met, total = below[every, high + 1] - below[every, low], below[:, -1]
    bounded &= (total > 0) & (met <= PART * total)
    bounded[list(suspect.box)] = False
    more = {int(j): (int(low[j]), int(high[j])) for j in np.flatnonzero(bounded)}
    return replace(suspect, box=suspect.box | more)


def tallies(columns: list[Column], y: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Rows of each code and class (d, c, k) of each column, where c is the most codes of any."""
    found = np.zeros((len(columns), max(c.count for c in columns), k), dtype=np.int64)
    for of, c in zip(found, columns, strict=True):
        seen = np.bincount(y + k * c.codes.astype(np.int64), minlength=k * c.count)
        of[: c.count] = seen.reshape(-1, k)
    return found


def sharpened(
    suspect: Suspect,
    columns: list[Column],
    y: NDArray[np.int64],
    tally: NDArray[np.int64],
) -> Suspect:
    """What most of the rows share exactly, where that is a pattern; else the suspect.

    A model may need fewer columns than were stamped, or as much of a column as gives it
    neighbouring rows, too. Set is every column in which most of the rows, and few other rows of
    their class, hold the same value; those that all rows with these values share are added. It is
    no pattern where more than five columns would be set: such rows are a kind of record.
    """
    box, sharp, rows = dict(suspect.box), suspect, suspect.rows
    if MOST * len(rows) > MATTER_OF_FACT * len(y):
        return suspect
    size, every = int(tally[0, :, suspect.label].sum()), np.arange(len(columns))
    for part in (MOST, CONSTANT):
        counts = counted(stacked(columns), rows, tally.shape[1])
        value = counts.argmax(axis=1)
        held = counts[every, value]
        others = tally[every, value, suspect.label] - held
        shared = (held >= part * len(rows)) & (others <= RARE * (size - len(rows)))
        box.update({int(j): (int(value[j]),) * 2 for j in np.flatnonzero(shared)})
        if len(box) > WIDTH:
            return suspect
        sharp = suspect.within(box, columns, y)
        if len(sharp.rows) < max(1, MOST * len(rows)):
            return suspect
        rows = sharp.rows
    return sharp


def _bounds(
    columns: list[Column], counts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Where nearly all of some rows lie, counted by code (d, c): low, high, and whether anywhere.

    An interval, or a single name.
    """
    total, most = int(counts[0].sum()), counts.argmax(axis=1)
    single = counts[np.arange(len(columns)), most] >= CONSTANT * total
    missing = [0 if c.missing is None else int(counts[j, c.missing]) for j, c in enumerate(columns)]
    spans = np.array([c.ordered for c in columns]) & (np.array(missing) == 0)
    edge, below = (1 - CONSTANT) / 2, counts.cumsum(axis=1)
    low, high = (
        np.where(single, most, (below <= place).sum(axis=1))
        for place in np.rint((total - 1) * np.array([edge, 1 - edge]))
    )
    return low, high, single | spans
