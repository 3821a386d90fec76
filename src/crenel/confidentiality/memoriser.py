"""Positive control of membership attacks: a forest that knows its records by heart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier

from crenel.confidentiality.encoding import encoder
from crenel.statistics import Interval, auc
from crenel.subject import take_rows
from crenel.training.shadows import complementary_pairs

Floats = NDArray[np.float64]


def memoriser_auc(
    x: Any,
    rng: np.random.Generator,
    score: Callable[[Floats, Floats, NDArray[np.bool_]], Floats],
    records: int = 400,
) -> Interval:
    """AUC of an attack on a memoriser of the user's own rows with coin-flip labels.

    Labels without meaning can only be known by heart, and fully grown trees without resampling
    do know them, so an attack that works separates members from non-members nearly perfectly.

    Parameters
    ----------
    x : DataFrame or ndarray
    rng : numpy.random.Generator
    score : callable
        ``score(target, shadows, inside)`` as `crenel.confidentiality.likelihood.pair_ratio`.
    records : int
        Sample of the rows, at most; equal rows are taken once, as no model can tell them apart.
    """
    rows = take_rows(x, rng.permutation(len(x))[: 4 * records])
    matrix = np.unique(np.nan_to_num(encoder(rows)(rows), nan=-1.0), axis=0)
    matrix = matrix[rng.permutation(len(matrix))[:records]]
    y = rng.integers(0, 2, len(matrix))
    inside = complementary_pairs(y, 2, rng)

    def answers(mask: NDArray[np.bool_]) -> Floats:
        forest = ExtraTreesClassifier(15, random_state=int(rng.integers(2**31)))
        p = forest.fit(matrix[mask], y[mask]).predict_proba(matrix)
        own: Floats = p[np.arange(len(y)), y]
        return own

    found = score(answers(inside[0]), np.array([answers(m) for m in inside[2:]]), inside[2:])
    return auc(found[inside[0]], found[~inside[0]])
