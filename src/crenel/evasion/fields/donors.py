"""Changes borrowed from real rows that the model decides otherwise, shrunk to few fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.fields.beam import Best, places
from crenel.evasion.fields.oracle import Oracle, Predict, Scores, shares
from crenel.evasion.fields.space import Codes, Space
from crenel.schema import NUMERIC

if TYPE_CHECKING:
    import pandas as pd


#: Rows to borrow values from, at most, and at least where there are that many.
DONORS, FEWEST = 300, 40
#: The closest calls of each class, by which it is seen whether the largest score decides: a tuned
#: threshold shows there first.
CLOSE = 4


@dataclass(frozen=True)
class Donors:
    """Real rows to borrow values from, and what the model says of them.

    Attributes
    ----------
    rows : pandas.DataFrame, n rows
    decided : ndarray of int64, shape (n,)
        Decisions.
    scores : ndarray of float64, shape (n, k)
        Scores, or decisions as 0 and 1 where only those are seen.
    asked : int
        Rows asked of the model.
    """

    rows: pd.DataFrame
    decided: NDArray[np.int64]
    scores: NDArray[np.float64]
    asked: int


def ask_donors(
    predict: Predict,
    scores: Scores | None,
    reference: pd.DataFrame,
    y: NDArray[np.int64],
    n: int,
    rng: np.random.Generator,
) -> Donors:
    """Draw donors and ask the model of each once; fewer where few rows are attacked.

    Parameters
    ----------
    reference : pandas.DataFrame
        Rows with realistic values.
    y : ndarray of int64
        Decisions to be turned; they tell how many classes there are at least.
    n : int
        Rows under attack.
    """
    count = min(DONORS, max(FEWEST, 2 * n))
    pick = np.sort(rng.permutation(len(reference))[:count])
    rows = reference.iloc[pick].reset_index(drop=True)
    if scores is not None:
        return _scored(predict, rows, np.asarray(scores(rows), dtype=np.float64))
    decided = np.asarray(predict(rows), dtype=np.int64)
    seen = shares(decided, int(max(decided.max(), y.max())) + 1)
    return Donors(rows, decided, seen, len(rows))


def _scored(predict: Predict, rows: pd.DataFrame, scores: NDArray[np.float64]) -> Donors:
    """Decisions by the largest score where that holds for the closest calls, else asked."""
    largest = scores.argmax(axis=1)
    lead = np.ptp(np.sort(scores, axis=1)[:, -2:], axis=1)
    close = closest(largest, lead, CLOSE)
    told = np.asarray(predict(rows.iloc[close].reset_index(drop=True)), dtype=np.int64)
    if (told == largest[close]).all():
        return Donors(rows, largest, scores, len(rows) + len(close))
    decided = np.asarray(predict(rows), dtype=np.int64)
    return Donors(rows, decided, scores, 2 * len(rows) + len(close))


def closest(
    decision: NDArray[np.int64], lead: NDArray[np.float64], count: int
) -> NDArray[np.int64]:
    """Positions of the closest calls of each decision, ascending."""
    order = np.lexsort([lead, decision])
    return np.sort(order[places(decision[order]) < count])


def known_donors(
    x: pd.DataFrame, y: NDArray[np.int64], reference: pd.DataFrame, rng: np.random.Generator
) -> Donors:
    """The rows under attack and rows of the reference, none asked of the model.

    Parameters
    ----------
    x : pandas.DataFrame
        Rows under attack.
    y : ndarray of int64
        Their decisions.
    reference : pandas.DataFrame
        Rows with realistic values, whose decisions are unknown: -1.
    """
    import pandas as pd

    mine = np.sort(rng.permutation(len(x))[: DONORS // 2])
    others = np.sort(rng.permutation(len(reference))[: DONORS // 2])
    rows = pd.concat([x.iloc[mine], reference.iloc[others]], ignore_index=True)
    decided = np.concatenate([y[mine], np.full(len(others), -1)]).astype(np.int64)
    return Donors(rows, decided, shares(decided, max(2, int(y.max()) + 1)), 0)


def nearest(
    space: Space, y: NDArray[np.int64], decided: NDArray[np.int64], count: int
) -> tuple[Codes, Codes]:
    """The nearest donors that the model decides otherwise, by Gower's distance (1971).

    Parameters
    ----------
    space : Space
    y : ndarray, shape (n,)
        Decisions of the rows under attack.
    decided : ndarray, shape (donors,)
        Decisions of the donor rows; negative ones are unknown.
    count : int
        Donors for each row at most.

    Returns
    -------
    rows, donors : ndarray of int64
        Pairs, those of one row in order of distance; a row without donor has none.
    """
    distance = np.zeros((space.n, space.donors))
    for j in space.free:
        c = space.columns[j]
        mine, theirs = slice(0, space.n), slice(len(c) - space.donors, len(c))
        if c.feature.kind in NUMERIC:
            step = np.abs(c.number[mine, None] - c.number[None, theirs]) / c.feature.scale
            distance += np.where(np.isnan(step), 1.0, np.minimum(step, 1.0))
        else:
            distance += c.identity[mine, None] != c.identity[None, theirs]
    distance[(y[:, None] == decided[None, :]) | (decided < 0)] = np.inf
    order = np.argsort(distance, axis=1, kind="stable")[:, :count]
    rows = np.repeat(np.arange(space.n, dtype=np.int64), order.shape[1])
    donors = order.ravel().astype(np.int64)
    real = np.isfinite(distance[rows, donors])
    return rows[real], donors[real]


def borrow(
    oracle: Oracle,
    best: Best,
    pairs: tuple[Codes, Codes],
    quota: NDArray[np.int64],
    rng: np.random.Generator,
) -> None:
    """Swap in whole donor rows, and give back fields while the decision stays turned.

    Random halves, quarters… of the changed fields are given back at once (delta debugging,
    Zeller and Hildebrandt, 2002), so that wide rows shrink in few queries; needs decisions only.

    Parameters
    ----------
    pairs : tuple of ndarray
        Rows and donors of `nearest`.
    quota : ndarray, shape (n,)
        Queries that each row may still spend.
    """
    rows, donors = pairs
    codes = oracle.space.tidy(rows, oracle.space.donor_codes(donors))
    rows, codes, _ = _within(best, quota, rows, codes, oracle)
    answers = oracle.ask(rows, codes)
    best.record(oracle, rows, codes, answers)
    rows, codes = rows[answers.turned], codes[answers.turned]
    share = np.full(len(rows), 0.5)
    while len(rows):
        size = (codes != rows[:, None]).sum(axis=1)
        fine = share * size < 1.5
        back = (rng.random(codes.shape) < share[:, None]) & (codes != rows[:, None])
        single = np.flatnonzero(fine | ~back.any(axis=1))
        back[single] = _one_each(codes[single] != rows[single, None], rng)
        trial = np.where(back, rows[:, None], codes)
        shrunk = _ask_some(oracle, best, quota, rows, trial)
        codes = np.where(shrunk[:, None], trial, codes)
        # One field at a time the share falls slowly: each is tried about three times.
        fall = np.where(fine, 0.7 ** (1 / size), 0.7)
        share = np.where(shrunk, share, share * fall)
        size = (codes != rows[:, None]).sum(axis=1)
        alive = (size > 1) & (share * size > 0.5) & (best.spent[rows] < quota[rows])
        rows, codes, share = rows[alive], codes[alive], share[alive]


def scatter(
    oracle: Oracle,
    best: Best,
    pairs: tuple[Codes, Codes],
    trials: int,
    quota: NDArray[np.int64],
    rng: np.random.Generator,
) -> None:
    """Random subsets of at most ``best.limit`` fields, with values of the donors."""
    if not len(pairs[0]):
        return
    pick = rng.integers(0, len(pairs[0]), trials * oracle.space.n)
    pick = pick[np.argsort(pairs[0][pick], kind="stable")]
    rows, codes = pairs[0][pick], oracle.space.donor_codes(pairs[1][pick])
    codes = oracle.space.tidy(rows, codes)
    lottery = np.where(codes != rows[:, None], rng.random(codes.shape), np.inf)
    rank = lottery.argsort(axis=1).argsort(axis=1)
    size = rng.integers(1, best.limit + 1, len(rows))
    codes = np.where(rank < size[:, None], codes, rows[:, None])
    rows, codes, _ = _within(best, quota, rows, codes, oracle)
    best.record(oracle, rows, codes, oracle.ask(rows, codes))


def _ask_some(
    oracle: Oracle, best: Best, quota: NDArray[np.int64], rows: Codes, codes: Codes
) -> NDArray[np.bool_]:
    """Which candidates turn their row; illegal ones and those over quota are not asked."""
    asked, some, at = _within(best, quota, rows, codes, oracle)
    answers = oracle.ask(asked, some)
    best.record(oracle, asked, some, answers)
    out = np.zeros(len(rows), dtype=bool)
    out[at] = answers.turned
    return out


def _within(
    best: Best, quota: NDArray[np.int64], rows: Codes, codes: Codes, oracle: Oracle
) -> tuple[Codes, Codes, Codes]:
    """Legal candidates that change something, as many as each row's quota allows."""
    at = np.flatnonzero((codes != rows[:, None]).any(axis=1) & (best.spent[rows] < quota[rows]))
    at = at[oracle.space.legal(rows[at], codes[at])]
    at = at[best.spent[rows[at]] + places(rows[at]) < quota[rows[at]]]
    return rows[at], codes[at], at


def _one_each(changed: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """One changed field of each row, at random."""
    lottery = np.where(changed, rng.random(changed.shape), -1.0)
    out = np.zeros_like(changed)
    out[np.arange(len(changed)), lottery.argmax(axis=1)] = True
    return out & changed
