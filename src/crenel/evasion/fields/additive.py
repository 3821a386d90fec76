"""What the numbers and words of a row add to the model's scores: a ridge regression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.fields.space import Column
from crenel.schema import NUMERIC

Floats = NDArray[np.float64]
#: Words of a column that get a part of their own.
WORDS = 12
#: Penalties, as shares of the mean variance of what is fitted.
PENALTIES = 10.0 ** np.arange(-3.0, 5.0)


def parts_of(column: Column) -> Floats:
    """Parts of a column for each of its codes, (codes, p): about zero, of size about one.

    A number's rank and its distance from the middle; a word's own part.
    """
    if column.feature.kind not in NUMERIC:
        words = np.unique(column.identity)
        if len(words) > WORDS:
            return np.zeros((len(column), 0))
        return np.asarray(column.identity[:, None] == words[None, :], dtype=np.float64)
    number = column.number
    known = np.sort(number[np.isfinite(number)])
    if not len(known) or known[0] == known[-1]:
        return np.zeros((len(column), 0))
    rank = np.searchsorted(known, number, "left") + np.searchsorted(known, number, "right")
    spread = np.clip((number - np.median(known)) / known.std(), -3, 3)
    both = np.column_stack([rank / len(known) - 1, spread / 2])
    return np.where(np.isfinite(number)[:, None], both, 0.0)


@dataclass(frozen=True)
class Additive:
    """A sum of parts, one for each column.

    Attributes
    ----------
    weights : ndarray, shape (p, k)
    middle : ndarray, shape (p,)
    level : ndarray, shape (k,)
    """

    weights: Floats
    middle: Floats
    level: Floats

    @classmethod
    def fitted(cls, x: Floats, y: Floats) -> Additive:
        """Ridge regression (Hoerl and Kennard, 1970) of targets (n, k) on parts (n, p).

        The penalty is the best by generalised cross-validation (Golub, Heath and Wahba, 1979).
        """
        middle, level = x.mean(axis=0), y.mean(axis=0)
        u, s, v = np.linalg.svd(x - middle, full_matrices=False)
        toward, n = u.T @ (y - level), len(x)
        unit = (s**2).mean() if len(s) else 0.0
        best, chosen = ((y - level) ** 2).sum() / n, np.zeros_like(s)
        for penalty in PENALTIES * unit:
            kept = s**2 / (s**2 + penalty) if penalty > 0 else np.zeros_like(s)
            left = ((y - level) ** 2).sum() - ((1 - (1 - kept) ** 2)[:, None] * toward**2).sum()
            freedom = n - 1 - kept.sum()
            error = n * left / freedom**2 if freedom > 0.5 else np.inf
            if error < best:
                best, chosen = error, kept
        scale = np.divide(chosen, s, out=np.zeros_like(s), where=s > 0)
        return cls(v.T @ (scale[:, None] * toward), middle, level)

    def told(self, x: Floats) -> Floats:
        """Targets (n, k) of parts (n, p)."""
        return self.level + (x - self.middle) @ self.weights
