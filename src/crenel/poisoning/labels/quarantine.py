"""Quarantine of wrong labels: how many to hold back, decided on training rows alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.model import Model
from crenel.poisoning.dose.response import Z
from crenel.statistics import Interval
from crenel.subject import Data
from crenel.training.folds import fold_numbers

#: Probabilities of being wrong above which a label is held back, the most cleaning first.
THRESHOLDS = (0.5, 0.7, 0.9, 0.97)


@dataclass(frozen=True)
class Choice:
    """What to hold back.

    Attributes
    ----------
    threshold : float or None
        Of the probability of being wrong; None where holding back is worse than not.
    before, after : float
        Accuracy on validation rows, each weighted by the probability that its label is right,
        of the model trained on the other rows, without and with the quarantine.
    change : Interval
        After minus before, paired, at 95 %.
    """

    threshold: float | None
    before: float
    after: float
    change: Interval


def choose_threshold(
    fit: Callable[[Any, NDArray[Any], int], Model],
    data: Data,
    score: NDArray[np.float64],
    seed: int,
) -> Choice:
    """Try thresholds on a held-out fifth of the training rows; test rows take no part.

    The quarantine is drawn among the other four fifths, the model trained on what is left of
    them, and judged on the fifth, where labels that are probably wrong count accordingly little.
    Of the thresholds that are best within the noise the lowest is taken, which cleans most.

    Parameters
    ----------
    fit : callable
        Of the audited `Model`.
    data : Data
        Training rows.
    score : ndarray, shape (n,), float64
        Probability that each label is wrong, out of fold.
    seed : int
    """
    held = fold_numbers(data.y, 5, seed) == 0
    judge, rest = data.take(held), np.flatnonzero(~held)
    weight = 1 - score[held]

    def right(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        kept = data.take(rows)
        agree: NDArray[np.float64] = fit(kept.x, kept.y, seed).predict(judge.x) == judge.y
        return agree.astype(float)

    without = right(rest)
    tried: list[Choice] = []
    for threshold in THRESHOLDS:
        rows = rest[score[rest] < threshold]
        if len(np.unique(data.y[rows])) < len(np.unique(data.y)):
            continue  # a class would be lost
        with_it = without if len(rows) == len(rest) else right(rows)
        change = weighted_change(with_it - without, weight)
        before, after = (float(np.average(a, weights=weight)) for a in (without, with_it))
        tried.append(Choice(threshold, before, after, change))
    best = max((c.after for c in tried), default=-1.0)
    good = [c for c in tried if c.change.high >= 0 and c.after + _half(c.change) >= best]
    if good:
        return good[0]
    before = float(np.average(without, weights=weight))
    return Choice(None, before, before, Interval(0.0, 0.0, 0.0))


def compare_without(
    fit: Callable[[Any, NDArray[Any], int], Model],
    data: Data,
    held: NDArray[np.bool_],
    seed: int,
) -> Choice:
    """Train without some rows, and judge on a fifth of the others, which takes no part.

    Parameters
    ----------
    held : ndarray, shape (n,), bool
        Rows that would be held back.

    Returns
    -------
    Choice
        Its threshold is None where training without them is worse beyond noise, or a class would
        be lost; else 1, and has no further meaning.
    """
    judge = (fold_numbers(data.y, 5, seed) == 0) & ~held
    kept = ~held & ~judge
    if not held.any() or len(np.unique(data.y[kept])) < len(np.unique(data.y)):
        return Choice(None if held.any() else 1.0, 0.0, 0.0, Interval(0.0, 0.0, 0.0))
    rows = data.take(judge)

    def right(train: NDArray[np.bool_]) -> NDArray[np.float64]:
        part = data.take(train)
        agree: NDArray[np.float64] = fit(part.x, part.y, seed).predict(rows.x) == rows.y
        return agree.astype(float)

    before, after = right(~judge), right(kept)
    change = weighted_change(after - before, np.ones(len(rows)))
    good = None if change.high < 0 else 1.0
    return Choice(good, float(before.mean()), float(after.mean()), change)


def _half(change: Interval) -> float:
    return (change.high - change.low) / 2


def weighted_change(change: NDArray[np.float64], weight: NDArray[np.float64]) -> Interval:
    """Weighted mean of changes in {-1, 0, 1}, shape (m,), with a 95 % normal interval.

    Where nothing changed at all, the rule of three stands in for the spread.
    """
    total = weight.sum()
    value = float((weight * change).sum() / total)
    spread = float(np.sqrt((weight**2 * (change - value) ** 2).sum()) / total)
    half = Z * spread if np.any(change) else 3 / max(len(change), 3)
    return Interval(value, value - half, value + half)
