"""What the training data suggest: boxes where a class's label is unexplained."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.mining.boxes import Box, Ground, fitted, inside, rows_inside
from crenel.poisoning.mining.columns import Column, stacked
from crenel.poisoning.mining.pairs import cells, outstanding, poisson_gain
from crenel.poisoning.mining.tally_kernels import counted

#: Cells kept for each class; boxes fitted in all, for each of the two ways.
CELLS, FITTED = 800, 160
#: Gain below which a cell, or what earlier boxes leave of it, is chance.
CHANCE = 6.0
#: Rows of a class, and of comparison, that a box is fitted to.
GROUND = 10_000
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


def suspects(
    columns: list[Column],
    y: NDArray[np.int64],
    k: int,
    odd: NDArray[np.bool_],
    rng: np.random.Generator,
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
    """
    return [*_of(columns, y, k, odd, rng), *_of(columns, y, k, None, rng)]


def _of(
    columns: list[Column],
    y: NDArray[np.int64],
    k: int,
    odd: NDArray[np.bool_] | None,
    rng: np.random.Generator,
) -> list[Suspect]:
    fitting, everyone = odd is None, np.ones(len(y), dtype=bool)
    own, rest = (everyone, everyone) if odd is None else (odd, ~odd)
    of_class = [own & (y == c) for c in range(k)]
    most = int(MATTER_OF_FACT * len(y)) if fitting else len(y)
    pairs = outstanding(columns, y, k, odd, CELLS, most)
    codes = [c.codes for c in columns]
    grounds: dict[tuple[int, bool], Ground] = {}

    def ground(label: int, whole: bool) -> Ground:
        if (label, whole) not in grounds:
            mine = (y == label) & (everyone if whole else own)
            away = (y != label) if whole else rest
            grounds[label, whole] = Ground.of(columns, _some(mine, rng), _some(away, rng))
        return grounds[label, whole]

    explained: dict[int, list[NDArray[np.int64]]] = {}
    found: dict[tuple[object, ...], Suspect] = {}
    tally = tallies(columns, y, k)
    for expected, label, box in cells(pairs):
        if fitting and len(box) < 2:
            continue
        at = inside(codes, box) & of_class[label]
        if _known(at, expected, explained.setdefault(label, [])):
            continue
        empty = Suspect({}, label, np.zeros(0, dtype=np.int64), 0, fitting)
        if len(box) > 1:
            sharp = sharpened(empty.within(box, columns, y), columns, y, tally)
            if len(sharp.box) > 2:
                found.setdefault((label, *sorted(sharp.box.items())), sharp)
        best, gain = fitted(box, ground(label, fitting))
        if not best or gain < CHANCE / 2:
            continue
        suspect = empty.within(best, columns, y)
        explained[label].append(suspect.rows)
        found.setdefault((label, *sorted(best.items())), suspect)
        if not fitting:
            # Among the odd rows alone some of the poison is missing: once more among all.
            wider, _ = fitted(best, ground(label, True))
            found.setdefault((label, *sorted(wider.items())), empty.within(wider, columns, y))
        if len(found) >= FITTED:
            break
    return [s for s in found.values() if s.box]


def _known(at: NDArray[np.bool_], expected: float, boxes: list[NDArray[np.int64]]) -> bool:
    """Whether boxes that lie mostly within a cell's rows leave nothing of it to explain."""
    open_, size = at.copy(), int(at.sum())
    for rows in boxes:
        if size >= 0.4 * len(rows) and at[rows].sum() >= 0.4 * len(rows):
            open_[rows] = False
    left = float(open_.sum())
    return bool(poisson_gain(np.array([left]), np.array([expected]))[0] < CHANCE)


def _some(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int64]:
    rows = np.flatnonzero(mask)
    return rows if len(rows) <= GROUND else np.sort(rng.choice(rows, GROUND, replace=False))


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
