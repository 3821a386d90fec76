"""Changes of several fields at once that a surrogate expects to turn a row, asked at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.beam import Beam, Best, candidates, distinct, grow, places, tidied, top
from crenel.evasion.oracle import Oracle
from crenel.evasion.space import Codes
from crenel.evasion.surrogate import Surrogate

#: Questions for each row after which the surrogate is fitted anew and foretells again.
ROUNDS = (1, 2, 4, 8, 14, 20)
#: Partial changes kept for each row and depth, single changes that they are joined with, and
#: fields changed at most.
KEPT, JOINED, DEPTH = 12, 64, 3
#: Random mixtures for each row, beside the donors.
MIXED = 64


def swap(oracle: Oracle, best: Best, decided: Codes, rng: np.random.Generator, most: int) -> None:
    """Take over whole donors, or values of many columns, until a row turns: few questions.

    Those first of which the surrogate, which has seen every earlier row and swap, expects most;
    without one, in the order of the donors.

    Parameters
    ----------
    decided : ndarray of int64, shape (donors,)
        Decisions of the donors.
    most : int
        Questions for each row.
    """
    space = oracle.space
    rows, donors = np.nonzero(oracle.y[:, None] != decided[None, :])
    mixed = np.repeat(np.arange(space.n, dtype=np.int64), MIXED)
    codes = np.concatenate([space.donor_codes(donors), _mixtures(oracle, mixed, rng)])
    rows = np.concatenate([rows, mixed])
    codes = space.tidy(rows, codes)
    real = (codes != rows[:, None]).any(axis=1)
    rows, codes = rows[real], codes[real]
    fine = space.legal(rows, codes)
    untried = Beam(rows[fine], codes[fine], np.zeros(int(fine.sum())))
    for k in range(most):
        if oracle.guide is not None:
            oracle.guide.refit()
            untried = _standing(untried, best)
            margin = oracle.guide.margin(untried.rows, untried.codes)
            untried = Beam(untried.rows, untried.codes, margin)
        untried = _ask_best(oracle, best, untried, np.full(len(oracle.y), k + 1))


def _mixtures(oracle: Oracle, rows: Codes, rng: np.random.Generator) -> Codes:
    """Random values in a random half, or all, of the columns that can be changed.

    Half of the rows take frequent values, half values spread evenly over the range, rare as
    those may be among real rows.
    """
    codes = np.repeat(rows[:, None], oracle.space.d, axis=1)
    share = np.where(rng.random(len(rows)) < 0.5, 0.5, 1.0)
    spread = rng.random(len(rows)) < 0.5
    for j in oracle.space.free:
        column = oracle.space.columns[j]
        drawn = rng.choice(column.pool, len(rows))
        number = column.number[column.pool]
        if len(number) > 1 and np.isfinite(number).all():
            goal = rng.uniform(number.min(), number.max(), len(rows))
            near = column.pool[np.abs(goal[:, None] - number[None, :]).argmin(axis=1)]
            drawn = np.where(spread, near, drawn)
        codes[:, j] = np.where(rng.random(len(rows)) < share, drawn, codes[:, j])
    return codes


def foretell(oracle: Oracle, best: Best, moves: Codes, rng: np.random.Generator, most: int) -> None:
    """Ask the changes of one to three fields of which the surrogate expects most.

    It is fitted anew after every few questions of each row, with the answers for all rows.

    Parameters
    ----------
    moves : ndarray, shape (m, 2)
        Columns and codes.
    most : int
        Questions for each row.
    """
    if oracle.guide is None or not len(moves):
        return
    rows, codes, which, _ = candidates(oracle.space, moves, rng)
    single = Beam(rows, codes, which.astype(np.float64))
    before, asked = best.spent.copy(), set[bytes]()
    for upto in (r for r in ROUNDS if r <= most):
        single = _standing(single, best)
        if not len(single.rows):
            return
        oracle.guide.refit()
        foretold = oracle.guide.margin(single.rows, single.codes)
        table = np.full((len(before), len(moves)), np.inf)
        table[single.rows, single.margin.astype(np.int64)] = foretold
        seeds = Beam(single.rows, single.codes, foretold)
        hoped = _fresh(oracle, _joined(oracle.guide, seeds, moves, table, best.limit), asked)
        left = _ask_best(oracle, best, hoped, before + upto)
        asked |= _keys(hoped) - _keys(left)


def _joined(
    guide: Surrogate, single: Beam, moves: Codes, table: NDArray[np.float64], limit: int
) -> Beam:
    """The most promising changes of one field, of two and of three, by foretold margin."""
    every = np.ones(len(table), dtype=bool)
    rank = table.argsort(axis=1).argsort(axis=1)
    few = np.where(rank < JOINED, table, np.inf)
    beam = top(single, every, KEPT)
    found = [beam]
    for _ in range(2, min(DEPTH, limit) + 1):
        beam = distinct(grow(beam, moves, few))
        if not len(beam.rows):
            break
        beam = top(Beam(beam.rows, beam.codes, guide.margin(beam.rows, beam.codes)), every, KEPT)
        found.append(beam)
    parts = zip(*((b.rows, b.codes, b.margin) for b in found))
    return Beam(*(np.concatenate(p) for p in parts))


def _fresh(oracle: Oracle, beam: Beam, asked: set[bytes]) -> Beam:
    """Legal candidates that were not asked before."""
    codes, keep = tidied(oracle.space, beam.rows, beam.codes)
    keep &= np.array([k not in asked for k in _key_list(beam)], dtype=bool)
    return Beam(beam.rows[keep], codes[keep], beam.margin[keep])


def _ask_best(oracle: Oracle, best: Best, beam: Beam, quota: NDArray[np.int64]) -> Beam:
    """Ask the best candidates of each row that stands, up to its quota; what is left."""
    beam = _standing(beam, best)
    order = np.lexsort([beam.margin, beam.rows])
    rows, codes = beam.rows[order], beam.codes[order]
    now = best.spent[rows] + places(rows) < quota[rows]
    turned, _ = oracle.ask(rows[now], codes[now])
    best.record(oracle, rows[now], codes[now], turned)
    return Beam(rows[~now], codes[~now], beam.margin[order][~now])


def _standing(beam: Beam, best: Best) -> Beam:
    at = np.isinf(best.fields)[beam.rows]
    return Beam(beam.rows[at], beam.codes[at], beam.margin[at])


def _key_list(beam: Beam) -> list[bytes]:
    return [r.tobytes() + c.tobytes() for r, c in zip(beam.rows, beam.codes)]


def _keys(beam: Beam) -> set[bytes]:
    return set(_key_list(beam))
