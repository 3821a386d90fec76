"""Two rounds of votes: the two classes with most votes stand against each other again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.partition.votes import needed

#: Numbers in the largest array worked on at once.
_AT_ONCE = 1 << 23
Whole = NDArray[np.int64]


def run_off(scores: NDArray[np.float64]) -> tuple[Whole, Whole]:
    """Decide by a run-off election, and certify how many members' votes leave it as it is.

    In the first round each member votes for its best class; in the second, between the two with
    most votes, for the one of them that it scores higher (Rezaei, Banihashem, Chegini and Feizi,
    "Run-Off Election: improved provable defense against data poisoning attacks", 2023). Ties go
    to the smaller class throughout.

    To turn the decision p an attacker must change enough members either that two other classes
    pass p in the first round, or that one class c passes every class but p there and is then
    preferred to p by more members than not. The certificate is the paper's for aggregation of
    disjoint partitions; it may err on the safe side, where no set of members serves both rounds
    best. Of two classes it is that of `plurality`. Of more it is usually larger, but need not be:
    a class far behind may be preferred to p by most members, and be few votes from the run-off.

    Parameters
    ----------
    scores : ndarray, shape (k, n, K), float64
        Of k members, n rows and K classes, K at least 2; compared within a member and row only.
        NaN where a member does not know a class: between that one and others it has a vote only
        where another one is its best class. One that knows no class has no vote at all.

    Returns
    -------
    decided : ndarray, shape (n,), int64
    rows : ndarray, shape (n,), int64
        The largest number of training rows inserted or deleted, each of which changes one member
        at most, that surely leaves the decision as it is; at least 0.
    """
    members, n, classes = scores.shape
    part = max(1, _AT_ONCE // (members * classes))
    pieces = [_part(scores[:, i : i + part]) for i in range(0, n, part)]
    if not pieces:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    decided, rows = (np.concatenate(p) for p in zip(*pieces))
    return decided, rows


def _part(scores: NDArray[np.float64]) -> tuple[Whole, Whole]:
    s = np.ascontiguousarray(scores.transpose(1, 0, 2))
    counts = count_votes(scores)
    first = counts.argmax(axis=1)
    others = counts.copy()
    np.put_along_axis(others, first[:, None], -1, axis=1)
    second = others.argmax(axis=1)
    lead = _lead(s, first)[np.arange(len(s)), second]
    decided = np.where((lead > 0) | ((lead == 0) & (first < second)), first, second)
    over = _run_over(counts, _lead(s, decided), decided)
    return decided, np.minimum(_passed_by_two(counts, decided), over) - 1


def count_votes(scores: NDArray[np.float64]) -> Whole:
    """Votes for each class, shape (n, K), of members' scores (k, n, K); see `run_off`."""
    best = np.where(np.isnan(scores), -np.inf, scores).argmax(axis=2)
    votes = best[:, :, None] == np.arange(scores.shape[2])
    return np.asarray((votes & ~np.isnan(scores)).sum(axis=0), dtype=np.int64)


def _lead(s: NDArray[np.float64], one: Whole) -> Whole:
    """Members that prefer a class to each other one, less those of the other mind, (n, K)."""
    own = np.take_along_axis(s, one[:, None, None], axis=2)
    classes = np.arange(s.shape[2])
    smaller = (one[:, None] < classes)[:, None, :]
    best = np.where(np.isnan(s), -np.inf, s).argmax(axis=2)[:, :, None]
    above = (own > s) | ((own == s) & smaller) | (np.isnan(s) & (best == one[:, None, None]))
    below = (own < s) | ((own == s) & ~smaller) | (np.isnan(own) & (best == classes))
    above &= ~np.isnan(own)
    below &= ~np.isnan(s)
    return np.asarray(above.sum(axis=1) - below.sum(axis=1), dtype=np.int64)


def _half(x: Whole) -> Whole:
    """Half of it, rounded up, and never negative."""
    return np.maximum(-(-x // 2), 0)


def _passed_by_two(counts: Whole, decided: Whole) -> Whole:
    """Fewest members to change so that two other classes pass the decided one in round one.

    A member that voted for it and turns to one of the two gains two votes on it for that one and
    one for the other.
    """
    if counts.shape[1] < 3:
        return np.full(len(counts), np.iinfo(np.int64).max)
    gaps = np.maximum(needed(counts, decided), 0)
    np.put_along_axis(gaps, decided[:, None], np.iinfo(np.int64).max // 4, axis=1)
    a, b = np.sort(gaps, axis=1)[:, :2].T
    return np.asarray(np.maximum(_half(b), -(-(a + b) // 3)), dtype=np.int64)


def _run_over(counts: Whole, lead: Whole, decided: Whole) -> Whole:
    """Fewest members to change so that a class reaches the run-off and wins it.

    It must pass whoever has most votes beside the decided class, and be preferred to that one.
    """
    classes = np.arange(counts.shape[1])
    others = counts.copy()
    np.put_along_axis(others, decided[:, None], -1, axis=1)
    rival = others.argmax(axis=1)
    reaches = needed(counts, rival)
    np.put_along_axis(reaches, rival[:, None], 0, axis=1)
    wins = lead + (decided[:, None] < classes)
    fewest = np.maximum(_half(reaches), _half(wins))
    np.put_along_axis(fewest, decided[:, None], np.iinfo(np.int64).max, axis=1)
    return np.asarray(fewest.min(axis=1), dtype=np.int64)
