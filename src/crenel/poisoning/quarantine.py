"""Quarantine of wrong labels: how many to hold back, decided on training rows alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.model import Model
from crenel.poisoning.dose import Z
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
