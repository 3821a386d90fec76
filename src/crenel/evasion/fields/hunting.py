"""Search for the fewest queries: ask what a surrogate expects most of, all rows together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.fields.beam import Beam, Best, candidates, distinct, grow, places, tidied, top
from crenel.evasion.fields.oracle import Oracle
from crenel.evasion.fields.space import Codes
from crenel.evasion.fields.surrogate import Surrogate

#: Questions for each row after which the surrogate is fitted anew.
ROUNDS = (1, 2, 3, 4, 6, 8, 11, 15, 20, 27, 36, 50, 75, 100)
#: Partial changes kept for each row and depth, single changes that they are joined with, and
#: fields joined at most.
KEPT, JOINED, DEPTH = 12, 64, 3
#: Random mixtures for each row, beside whole rows of the reference.
MIXED = 64
#: Who leaves rows asks the best quarter of them at once, but no fewer than so many.
SHARE, AT_ONCE = 4, 8
#: Questions after which a row without hope is given up.
PATIENCE = 8


def hunt(
    oracle: Oracle, best: Best, moves: Codes, rng: np.random.Generator, most: int, *, leave: bool
) -> None:
    """Ask of each row the change of which the surrogate expects most, until it turns.

    Changes of one to three fields, those that turned other rows, and, for who may change every
    field, whole rows of the reference and random mixtures. The surrogate is fitted anew after
    every few questions, with the answers for all rows. A row is given up once no tree of it
    that is believed foretells for any change that it turns.

    Parameters
    ----------
    oracle : Oracle
        With a surrogate.
    moves : ndarray, shape (m, 2)
        Columns and codes.
    most : int
        Questions for each row.
    leave : bool
        Ask the most promising rows first, not all rows alike.
    """
    guide = oracle.guide
    assert guide is not None
    rows, codes, which, _ = candidates(oracle.space, moves, rng)
    single = Beam(rows, codes, which.astype(np.float64))
    wide = _wide(oracle, rng, best.limit)
    asked, hopeless = set[bytes](), np.zeros(len(best.fields), dtype=bool)
    for upto in [most] if leave else [*(r for r in ROUNDS if r < most), most]:
        while (due := np.isinf(best.fields) & ~hopeless & (best.spent < upto)).any():
            guide.refit()
            hoped = _hoped(guide, _of(single, due), _of(wide, due), moves, best)
            hoped = Beam.joined([hoped, _again(best, due, oracle, guide)])
            hoped = _fresh(oracle, hoped, asked)
            if leave:
                hoped = _most_hopeful(top(hoped, due, 1))
            else:
                hopeless |= due & (best.spent >= PATIENCE) & ~_with_hope(guide, hoped, len(due))
                hoped = _of(hoped, due & ~hopeless)
            now = best.spent[hoped.rows] + places(hoped.rows) < upto
            if not now.any():
                break
            hoped = Beam(hoped.rows[now], hoped.codes[now], hoped.margin[now])
            asked |= set(_keys(hoped))
            best.record(oracle, hoped.rows, hoped.codes, oracle.ask(hoped.rows, hoped.codes))


def _with_hope(guide: Surrogate, beam: Beam, n: int) -> NDArray[np.bool_]:
    """Rows for which half a believed tree foretells that some candidate turns them, (n,)."""
    out = np.zeros(n, dtype=bool)
    out[beam.rows[guide.votes(beam.rows, beam.codes) >= 0.5]] = True
    return out


def _hoped(guide: Surrogate, single: Beam, wide: Beam, moves: Codes, best: Best) -> Beam:
    """Candidates of rows, with their foretold margins."""
    foretold = guide.margin(single.rows, single.codes)
    table = np.full((len(best.fields), len(moves)), np.inf)
    table[single.rows, single.margin.astype(np.int64)] = foretold
    seeds = Beam(single.rows, single.codes, foretold)
    wide = Beam(wide.rows, wide.codes, guide.margin(wide.rows, wide.codes))
    return Beam.joined([_joined(guide, seeds, moves, table, best.limit), wide])


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
    return Beam.joined(found)


def _again(best: Best, due: NDArray[np.bool_], oracle: Oracle, guide: Surrogate) -> Beam:
    """Changes that turned other rows of the same decision."""
    hits = np.flatnonzero(np.isfinite(best.fields))
    to, source = np.nonzero(due[:, None] & (oracle.y[:, None] == oracle.y[hits][None, :]))
    source = hits[source]
    theirs = best.codes[source]
    codes = oracle.space.tidy(to, np.where(theirs != source[:, None], theirs, to[:, None]))
    return Beam(to, codes, guide.margin(to, codes))


def _wide(oracle: Oracle, rng: np.random.Generator, limit: int) -> Beam:
    """Whole rows of the reference and random mixtures, for who may change every field."""
    space = oracle.space
    n = space.n if limit >= len(space.free) else 0
    rows = np.repeat(np.arange(n, dtype=np.int64), space.donors)
    codes = space.donor_codes(np.tile(np.arange(space.donors, dtype=np.int64), n))
    mixed = np.repeat(np.arange(n, dtype=np.int64), MIXED)
    codes = np.concatenate([codes, _mixtures(oracle, mixed, rng)])
    rows = np.concatenate([rows, mixed])
    codes = space.tidy(rows, codes)
    return Beam(rows, codes, np.zeros(len(rows)))


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


def _fresh(oracle: Oracle, beam: Beam, asked: set[bytes]) -> Beam:
    """The first legal candidates of each row that were not asked before."""
    beam = distinct(beam)
    order = np.lexsort([beam.margin, beam.rows])
    order = order[places(beam.rows[order]) < 2 * ROUNDS[-1]]
    beam = Beam(beam.rows[order], beam.codes[order], beam.margin[order])
    codes, keep = tidied(oracle.space, beam.rows, beam.codes)
    keep &= np.array([k not in asked for k in _keys(beam)], dtype=bool)
    return Beam(beam.rows[keep], codes[keep], beam.margin[keep])


def _most_hopeful(beam: Beam) -> Beam:
    """The best part of candidates, one for each row."""
    count = max(AT_ONCE, len(beam.rows) // SHARE)
    at = np.sort(np.argsort(beam.margin, kind="stable")[:count])
    return Beam(beam.rows[at], beam.codes[at], beam.margin[at])


def _of(beam: Beam, rows: NDArray[np.bool_]) -> Beam:
    at = rows[beam.rows]
    return Beam(beam.rows[at], beam.codes[at], beam.margin[at])


def _keys(beam: Beam) -> list[bytes]:
    return [r.tobytes() + c.tobytes() for r, c in zip(beam.rows, beam.codes)]
