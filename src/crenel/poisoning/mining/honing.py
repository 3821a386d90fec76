"""Honing: bounds and columns of a box moved to where its rows are, until it tells no more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.mining.boxes import Box, Ground, fitted, settled
from crenel.poisoning.mining.columns import Column
from crenel.poisoning.mining.suspects import COMPARED, FEWEST, Honest, Suspect, some_of
from crenel.poisoning.mining.telling import Judge

#: Rounds at most.
ROUNDS = 4


@dataclass(frozen=True)
class Hone:
    """Hones suspects against the honest rows of their class.

    Attributes
    ----------
    judge : Judge
    grounds : dict
        Of all columns, by class; filled as they are needed.
    grown : dict
        What boxes were grown into before.
    """

    judge: Judge
    grounds: dict[int, Ground] = field(default_factory=dict)
    grown: dict[Any, Box] = field(default_factory=dict)

    def honed(self, suspect: Suspect) -> Suspect:
        """The suspect's most telling form that can be reached from it.

        Boxes that grew around some of a pattern's rows have narrow bounds and conditions that
        follow those rows. Without what tells less than it costs the bounds move to where the
        other rows are, and columns that were hidden by the conditions are found.
        """
        best = self.judge.essential(suspect)
        told = self.judge.telling(best)
        for _ in range(ROUNDS):
            ways = (self.settled(best), self.fitted(best))
            offered = [self.judge.essential(s) for s in ways if len(s.rows)]
            scores = [self.judge.telling(s) for s in offered]
            if not scores or max(scores) <= told:
                break
            told = max(scores)
            best = offered[scores.index(told)]
        return best

    def settled(self, suspect: Suspect) -> Suspect:
        """The suspect's bounds moved to where its rows are, now that fewer columns narrow them."""
        columns, y = self.judge.columns, self.judge.y
        keep = sorted(suspect.box)
        tight = {i: _hull(columns[j], suspect.rows, suspect.box[j]) for i, j in enumerate(keep)}
        box = settled(tight, self.ground(suspect.label).of_columns(keep))
        return suspect.within({keep[i]: b for i, b in box.items()}, columns, y)

    def fitted(self, suspect: Suspect) -> Suspect:
        """The suspect grown over all columns that its rows share, from where it is."""
        key = suspect.label, *suspect.box.items()
        if key not in self.grown:
            self.grown[key] = fitted(suspect.box, self.ground(suspect.label))[0]
        box = self.grown[key]
        return suspect.within(box, self.judge.columns, self.judge.y) if box else suspect

    def ground(self, label: int) -> Ground:
        """A class's rows, and its honest ones or, where these are few, those of other classes."""
        if label not in self.grounds:
            self.grounds[label] = _ground(self.judge.columns, self.judge.y, self.judge.held, label)
        return self.grounds[label]


def _ground(columns: list[Column], y: NDArray[np.int64], held: Honest | None, label: int) -> Ground:
    if held is None or (held.y == label).sum() < FEWEST:
        return Ground.of(columns, np.flatnonzero(y == label), np.flatnonzero(y != label))
    rows = some_of(y == label, np.random.default_rng(0), COMPARED)
    joined, first = held.beside(columns, rows, label)
    return Ground.of(joined, np.flatnonzero(first), np.flatnonzero(~first), half=0.0)


def _hull(column: Column, rows: NDArray[np.int64], bounds: tuple[int, int]) -> tuple[int, int]:
    codes = column.codes[rows]
    codes = codes[(codes >= bounds[0]) & (codes <= bounds[1])]
    return (int(codes.min()), int(codes.max())) if len(codes) else bounds
