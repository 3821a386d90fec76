"""Sparse changes first: all single fields, then beams of two, three… fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.fields.oracle import Answers, Oracle
from crenel.evasion.fields.space import Codes, Space

#: Candidates generated for one row and depth, before the most promising are asked.
WIDTH = 4096
#: Questions by which the latest rate of success is judged, at least.
LATEST = 20
#: Questions for each row up to which the surrogate is fitted anew.
GUIDED = 50


class Enough(Exception):
    """Further questions are expected to turn fewer rows than those asked so far did."""


@dataclass
class Best:
    """The best change known for each row, and what it took.

    Attributes
    ----------
    codes : ndarray of int64, shape (n, d)
        Own codes where nothing was found.
    fields : ndarray of float64, shape (n,)
        Number of changed fields; infinite where nothing was found.
    cost, first : ndarray of float64, shape (n,)
        Cost of the change; queries until the first one within the limit of fields.
    spent : ndarray of int64, shape (n,)
        Queries for each row.
    decision : ndarray of int64, shape (n,)
        What was decided on the change.
    margin : ndarray of float64, shape (n,)
        And by what margin; see `crenel.evasion.fields.oracle.Answers`.
    limit : int
        Fields within which a change counts for ``first``.
    shared : int or None
        Questions asked for all rows before; where given, `record` raises `Enough` once the
        latest questions turned fewer rows than all of them did on average.
    """

    codes: Codes
    fields: NDArray[np.float64]
    cost: NDArray[np.float64]
    first: NDArray[np.float64]
    spent: NDArray[np.int64]
    decision: NDArray[np.int64]
    margin: NDArray[np.float64]
    limit: int
    shared: int | None = None
    latest: tuple[int, int] = (0, 0)

    @classmethod
    def none(cls, n: int, d: int, limit: int, shared: int | None = None) -> Best:
        """Nothing found yet."""
        own = np.repeat(np.arange(n, dtype=np.int64)[:, None], d, axis=1)
        never = np.full(n, np.inf)
        spent = np.zeros(n, dtype=np.int64)
        costs = never.copy(), never.copy()
        return cls(own, never, *costs, spent, spent.copy(), np.zeros(n), limit, shared)

    def record(self, oracle: Oracle, rows: Codes, codes: Codes, answers: Answers) -> None:
        """Take note of answers, given in the order in which each row's questions were asked."""
        place = places(rows)
        hit = np.flatnonzero(answers.turned)
        fields = (codes[hit] != rows[hit, None]).sum(axis=1)
        within = fields <= self.limit
        np.minimum.at(self.first, rows[hit][within], (self.spent[rows] + place + 1)[hit][within])
        self.spent += np.bincount(rows, minlength=len(self.spent))
        cost = oracle.space.cost(rows[hit], codes[hit])
        best = np.lexsort([cost, fields, rows[hit]])
        lead = best[np.flatnonzero(np.diff(rows[hit][best], prepend=-1))]
        r = rows[hit][lead]
        better = (fields[lead] < self.fields[r]) | (
            (fields[lead] == self.fields[r]) & (cost[lead] < self.cost[r])
        )
        lead, r = lead[better], r[better]
        new = int(np.isinf(self.fields[r]).sum())
        self.codes[r], self.fields[r], self.cost[r] = codes[hit][lead], fields[lead], cost[lead]
        self.decision[r], self.margin[r] = answers.decision[hit][lead], answers.margin[hit][lead]
        if self.shared is not None:
            self._judge(len(rows), new)

    def _judge(self, asked: int, turned: int) -> None:
        """End where the rate falls below the mean one (Charnov's marginal value theorem, 1976)."""
        asked, turned = self.latest[0] + asked, self.latest[1] + turned
        self.latest = asked, turned
        standing = int(np.isinf(self.fields).sum())
        if asked < max(LATEST, standing):
            return
        self.latest = 0, 0
        hits, every = len(self.fields) - standing, int(self.spent.sum()) + (self.shared or 0)
        if turned * every < hits * asked:
            raise Enough


@dataclass(frozen=True)
class Beam:
    """Partial changes with their margins, for the rows still standing."""

    rows: Codes
    codes: Codes
    margin: NDArray[np.float64]

    @classmethod
    def joined(cls, parts: Sequence[Beam]) -> Beam:
        """All candidates of several beams."""
        every = zip(*((b.rows, b.codes, b.margin) for b in parts))
        return cls(*(np.concatenate(p) for p in every))


def singles(
    oracle: Oracle,
    best: Best,
    moves: Codes,
    rng: np.random.Generator,
    most: int,
    *,
    first: bool = False,
) -> tuple[Beam, NDArray[np.float64]]:
    """Ask single changes of every row, those first of which the surrogate expects most.

    Parameters
    ----------
    moves : ndarray, shape (m, 2)
        Columns and codes.
    most : int
        Questions for each row.
    first : bool
        Whether a row that has turned is asked no more.

    Returns
    -------
    beam : Beam
        The changes that did not turn their row.
    table : ndarray of float64, shape (n, m)
        Margin after each move, by which deeper levels choose; foretold for moves not asked (with
        others they may be legal), and infinite for moves that are none.
    """
    rows, codes, which, alone = candidates(oracle.space, moves, rng)
    table = np.full((len(best.fields), len(moves)), np.inf)
    waiting = alone.copy()
    kept: list[tuple[Codes, Codes, NDArray[np.float64]]] = []
    for upto in _chunks(most):
        if oracle.guide is not None and upto <= GUIDED:
            oracle.guide.refit()
            at = np.flatnonzero(waiting)
            table[rows[at], which[at]] = oracle.guide.margin(rows[at], codes[at])
        open_rows = ~(first & np.isfinite(best.fields))
        at = np.flatnonzero(waiting & open_rows[rows])
        at = at[np.lexsort([table[rows[at], which[at]], rows[at]])]  # stable: ties stay shuffled
        at = at[best.spent[rows[at]] + places(rows[at]) < upto]
        answers = oracle.ask(rows[at], codes[at])
        best.record(oracle, rows[at], codes[at], answers)
        turned, margin = answers.turned, answers.margin
        waiting[at] = False
        table[rows[at], which[at]] = margin
        kept.append((rows[at][~turned], codes[at][~turned], margin[~turned]))
    if oracle.guide is not None and (oracle.scores is None or not alone.all()):
        known = alone & (oracle.scores is not None)
        at = np.flatnonzero(np.isinf(best.fields)[rows] & ~known)
        oracle.guide.refit()
        table[rows[at], which[at]] = oracle.guide.margin(rows[at], codes[at])
    return Beam(*(np.concatenate(p) for p in zip(*kept))), table


def _chunks(most: int) -> list[int]:
    """Questions for each row after which the surrogate is fitted anew."""
    return [*(c for c in (1, 3, 8, 20, GUIDED) if c < most), most]


def candidates(
    space: Space, moves: Codes, rng: np.random.Generator
) -> tuple[Codes, Codes, Codes, NDArray[np.bool_]]:
    """Every single change of every row, in random order for each.

    Returns
    -------
    rows, codes, which : ndarray of int64
        Rows, candidates, and which moves they are.
    alone : ndarray of bool
        Whether the change is legal by itself; others may be together with a second one.
    """
    n, m = space.n, len(moves)
    shuffled = np.argsort(rng.random((n, m)), axis=1)
    rows = np.repeat(np.arange(n, dtype=np.int64), m)
    which = shuffled.ravel()
    codes = np.repeat(rows[:, None], space.d, axis=1)
    codes[np.arange(len(rows)), moves[which, 0]] = moves[which, 1]
    codes = space.tidy(rows, codes)
    real = (codes != rows[:, None]).any(axis=1)
    rows, codes, which = rows[real], codes[real], which[real]
    return rows, codes, which, space.legal(rows, codes)


def deepen(
    oracle: Oracle,
    best: Best,
    beam: Beam,
    moves: Codes,
    table: NDArray[np.float64],
    quota: int,
    *,
    first: bool = False,
) -> Beam:
    """One field more: ask the ``quota`` most promising changes of each row that still stands."""
    standing = np.isinf(best.fields)
    parents = top(beam, standing, max(4, WIDTH // max(1, len(moves))))
    grown = grow(parents, moves, table)
    if not len(grown.rows):
        return grown
    if oracle.scores is None and oracle.guide is not None:
        grown = top(distinct(grown), standing, 8 * quota)
        grown = Beam(grown.rows, grown.codes, oracle.guide.margin(grown.rows, grown.codes))
    grown = top(distinct(grown), standing, quota)
    codes, keep = tidied(oracle.space, grown.rows, grown.codes)
    grown = Beam(grown.rows[keep], codes[keep], grown.margin[keep])
    stood: list[tuple[Codes, Codes, NDArray[np.float64]]] = []
    for some in _in_turn(grown.rows, first):
        some = some[np.isinf(best.fields)[grown.rows[some]]] if first else some
        rows, codes = grown.rows[some], grown.codes[some]
        answers = oracle.ask(rows, codes)
        best.record(oracle, rows, codes, answers)
        turned, margin = answers.turned, answers.margin
        margin = grown.margin[some] if oracle.scores is None else margin
        stood.append((rows[~turned], codes[~turned], margin[~turned]))
    return Beam(*(np.concatenate(p) for p in zip(*stood)))


def _in_turn(rows: Codes, first: bool) -> list[Codes]:
    """Positions to be asked at once: all, or ever more of each row."""
    if not first:
        return [np.arange(len(rows))]
    place = places(rows)
    edges = [0, 1, 3, 8, 20, 50, 120, 300, 10**9]
    return [np.flatnonzero((place >= a) & (place < b)) for a, b in pairwise(edges)]


def grow(parents: Beam, moves: Codes, table: NDArray[np.float64]) -> Beam:
    """Parents times moves in other columns, with the margin that adding up effects foretells."""
    p, m = len(parents.rows), len(moves)
    gain = table[parents.rows]  # (p, m)
    free = parents.codes[:, moves[:, 0]] == parents.rows[:, None]
    who, which = np.nonzero(np.isfinite(gain) & free) if p and m else (np.empty(0, int),) * 2
    codes = parents.codes[who].copy()
    codes[np.arange(len(who)), moves[which, 0]] = moves[which, 1]
    foretold = parents.margin[who] + gain[who, which]
    return Beam(parents.rows[who], codes, foretold)


def distinct(beam: Beam) -> Beam:
    """Without the same change reached in another order."""
    weights = np.random.default_rng(0).integers(1, 2**62, beam.codes.shape[1] + 1, dtype=np.int64)
    with np.errstate(over="ignore"):  # a hash: wrapping around is meant
        key = beam.codes @ weights[:-1] + beam.rows * weights[-1]
    keep = np.sort(np.unique(key, return_index=True)[1])
    return Beam(beam.rows[keep], beam.codes[keep], beam.margin[keep])


def top(beam: Beam, standing: NDArray[np.bool_], count: int) -> Beam:
    """The ``count`` smallest margins of each standing row, in that order."""
    alive = np.flatnonzero(standing[beam.rows])
    order = alive[np.lexsort([beam.margin[alive], beam.rows[alive]])]
    order = order[places(beam.rows[order]) < count]
    return Beam(beam.rows[order], beam.codes[order], beam.margin[order])


def tidied(space: Space, rows: Codes, codes: Codes) -> tuple[Codes, NDArray[np.bool_]]:
    """Tidied candidates, and which of them are legal and still change as many fields."""
    tidy = space.tidy(rows, codes)
    keep = (tidy == codes).all(axis=1) & (tidy != rows[:, None]).any(axis=1)
    some = np.flatnonzero(keep)
    keep[some] = space.legal(rows[some], tidy[some])
    return tidy, keep


def places(rows: Codes) -> Codes:
    """Each entry's place among those of its row, from 0, in the order given."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    lengths = np.diff(np.append(starts, len(rows)))
    place = np.empty(len(rows), dtype=np.int64)
    place[order] = np.arange(len(rows)) - np.repeat(starts, lengths)
    return place
