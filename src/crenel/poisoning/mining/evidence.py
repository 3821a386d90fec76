"""Whether a suspect's rows belong where they are: by their other columns, and by their number."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.mining.boxes import inside
from crenel.poisoning.mining.columns import Column
from crenel.poisoning.mining.suspects import CONSTANT, Suspect
from crenel.statistics import Interval

#: Rows of a class that others are compared with at least, random draws of it, columns at most.
POOL, DRAWS, WIDEST = 20, 60, 100
#: Rows of a suspect, and of what it is compared with, that are looked at at most.
LOOKED_AT, COMPARED = 2_000, 50_000
#: Columns from which one is left out.
FEW = 4
#: Chance of what rows share below which it belongs to a pattern, over all columns; share of the
#: rows that are left by it at least.
ALPHA, MOST = 1e-3, 0.85
#: Nothing is known of the rows.
UNKNOWN = Interval(0.5, -math.inf, math.inf)


def likeness(
    suspect: Suspect,
    columns: list[Column],
    y: NDArray[np.int64],
    parts: list[NDArray[np.float64]],
    logits: NDArray[np.float64],
    rng: np.random.Generator,
) -> Interval:
    """How far the rows look like their label, by the main effects of the other columns.

    Parameters
    ----------
    suspect : Suspect
    columns : list of Column
    y : ndarray, shape (n,), int64
    parts : list of ndarray, shape (count_j, k)
        What each code of each column adds to the logits.
    logits : ndarray, shape (n, k)
        Of all columns together.
    rng : numpy.random.Generator
        Draws the rows to compare with where there are many.

    Returns
    -------
    Interval
        1 as the label's other rows do, 0 as the rows of other classes do; two standard errors
        either side. Unbounded where the other columns say nothing of the label.
    """
    apart = np.ones(len(y), dtype=bool)
    apart[suspect.rows] = False
    same = y == suspect.label
    groups = [suspect.rows, np.flatnonzero(apart & same), np.flatnonzero(apart & ~same)]

    def odds(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        z = logits[rows] - sum(parts[j][columns[j].codes[rows]] for j in suspect.box)
        against = np.logaddexp.reduce(np.delete(z, suspect.label, axis=1), axis=1)
        result: NDArray[np.float64] = z[:, suspect.label] - against
        return result

    mine, like, unlike = (odds(some(rows, COMPARED, rng)) for rows in groups)
    if not (len(mine) and len(like) and len(unlike)):
        return UNKNOWN
    span = float(like.mean() - unlike.mean())
    if span <= 0:
        return UNKNOWN
    value = float(mine.mean() - unlike.mean()) / span
    error = max(mine.std(), like.std(), unlike.std()) / span / math.sqrt(len(mine))
    return Interval(value, value - 2 * error, value + 2 * error)


def surplus(suspect: Suspect, columns: list[Column], y: NDArray[np.int64]) -> float:
    """Rows over their expected number: see `crenel.poisoning.mining.judged.Mined`.

    Expected are the class's rows times the share of them that meets each condition, times the
    association of the conditions among the rows of other classes.
    """
    codes, own = [c.codes for c in columns], y == suspect.label
    free, others = float(own.sum()), float((~own).sum())
    for j, (low, high) in suspect.box.items():
        met = (codes[j] >= low) & (codes[j] <= high)
        free *= met[own].mean()
        others *= met[~own].mean() if (~own).any() else 0.0
    seen = int((inside(codes, suspect.box) & ~own).sum())
    expected = free * (seen + 1.0) / (others + 1.0)
    return len(suspect.rows) / max(expected, 1e-9)


def shared(suspect: Suspect, columns: list[Column], y: NDArray[np.int64]) -> Suspect:
    """The suspect with all that its rows share and chance does not explain.

    What a pattern sets beyond what makes it stand out, or what the model needs, belongs to it: a
    value that nearly all rows hold, or an interval that nearly all lie in, where so many random
    rows of the class, and of other classes, would not. Rows outside of these are left out.
    """
    rows, box = suspect.rows, dict(suspect.box)
    others = np.ones(len(y), dtype=bool)
    others[rows] = False
    pools = [others & (y == suspect.label), others & (y != suspect.label)]
    for j, column in enumerate(columns):
        if j in box or not len(rows):
            continue
        codes = np.sort(column.codes[rows])
        value = int(np.bincount(codes).argmax())
        ends = np.rint((len(rows) - 1) * np.array([0.025, 0.975])).astype(int)
        spans = [(value, value)]
        if column.ordered and (column.missing is None or codes[-1] != column.missing):
            spans.append((int(codes[ends[0]]), int(codes[ends[1]])))
        for low, high in spans:
            inside = int(((codes >= low) & (codes <= high)).sum())
            if inside >= CONSTANT * len(rows) and _chance(
                column, (low, high), inside, pools
            ) <= ALPHA / len(columns):
                box[j] = low, high
                break
    whole = suspect.within(box, columns, y)
    return whole if len(whole.rows) >= MOST * len(rows) else suspect


def _chance(
    column: Column, span: tuple[int, int], inside: int, pools: list[NDArray[np.bool_]]
) -> float:
    """Chance of so many rows in a span of codes that was chosen for them, from the likeliest pool.

    Of a single value it is a power; of an interval the distribution of the range of a sample.
    """
    codes, (low, high) = column.codes, span
    share = max(
        (((codes[p] >= low) & (codes[p] <= high)).mean() if p.any() else 0.0) for p in pools
    )
    alone = float(share**inside)
    if low == high:
        return alone
    return float(inside * share ** (inside - 1) * (1 - share) + alone)


def kinship(
    suspect: Suspect,
    columns: list[Column],
    y: NDArray[np.int64],
    k: int,
    usual: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Interval:
    """How much more alike the rows are, apart from the suspect's columns, than random ones.

    A pattern stamped on rows leaves their other columns as various as those of the rows that they
    were taken from; rows that belong together by nature are alike in most. For each other column,
    a hundred at most, the total variation distance between the rows and a class is taken, less the
    distance of as many random rows of that class; the mean of it over the columns, from the
    nearest class, or from all other classes together. Of four columns or more the one that differs
    most is left out: it may belong to the pattern, though the model does not need it. Classes are
    taken without the rows that are not ``usual``: those of other suspects.

    Returns
    -------
    Interval
        In [-1, 1]; about 0 for rows drawn at random, two standard errors either side. Infinite
        where no class has twenty rows; unbounded where there is no other column: a box over all
        columns is a kind of record as well as a pattern.
    """
    others = [j for j in range(len(columns)) if j not in suspect.box]
    if not others:
        return UNKNOWN
    chosen = [columns[j] for j in rng.permutation(others)[:WIDEST]]
    apart = usual.copy()
    apart[suspect.rows] = False
    pools = [apart & (y == c) for c in range(k)] + [apart & (y != suspect.label)]
    rows = [some(np.flatnonzero(p), COMPARED, rng) for p in pools]
    mine = some(suspect.rows, LOOKED_AT, rng)
    found = [_excess(chosen, mine, r, rng) for r in rows if len(r) >= POOL]
    return min(found, key=lambda i: i.value, default=Interval(math.inf, math.inf, math.inf))


def some(rows: NDArray[np.int64], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """At most so many of the rows."""
    return rows if len(rows) <= most else rng.choice(rows, most, replace=False)


def _excess(
    columns: list[Column],
    rows: NDArray[np.int64],
    pool: NDArray[np.int64],
    rng: np.random.Generator,
) -> Interval:
    """Mean distance of the rows' columns from the pool's, less that of random rows of both.

    Random rows are held against all others, as the rows are against the pool: in a small pool rows
    of its own are nearer to it than new ones of the same kind.
    """
    every, m = np.concatenate([rows, pool]), len(rows)
    drawn = np.stack([rows, *(rng.choice(every, m, replace=False) for _ in range(DRAWS))])
    apart = np.empty((len(drawn), len(columns)))
    for j, column in enumerate(columns):
        there = _counts(column, drawn)
        rest = _counts(column, every[None]) - there
        apart[:, j] = 0.5 * np.abs(there / m - rest / len(pool)).sum(axis=1)
    excess = np.sort(apart - apart[1:].mean(axis=0), axis=1)
    excess = excess[:, : -1 if len(columns) >= FEW else None].mean(axis=1)
    value, error = float(excess[0] - excess[1:].mean()), float(excess[1:].std(ddof=1))
    return Interval(value, value - 2 * error, value + 2 * error)


def _counts(column: Column, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of several sets of rows (s, m) how many are in each wide bin of a column, or name (s, c)."""
    codes, count = column.codes[rows], column.count
    if column.wide:
        codes, count = column.wide[0][codes], int(column.wide[0].max()) + 1
    cells = codes + count * np.arange(len(rows))[:, None]
    seen = np.bincount(cells.ravel(), minlength=count * len(rows))
    return seen.reshape(len(rows), count)
