"""A weak model on purpose: main effects alone, which no conjunction of values can teach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.mining.columns import Column

#: Bins of a column at most, and rows that it learns from at most.
BINS, ROWS = 12, 40_000
#: Rows below which it is judged out of fold: with many rows it cannot learn single ones.
FOLDED = 20_000


@dataclass(frozen=True)
class Weak:
    """What each column alone says of each class, added up.

    Attributes
    ----------
    parts : list of ndarray, shape (count_j, k), float64
        Log-odds by the codes of each column.
    intercept : ndarray, shape (k,)
    """

    parts: list[NDArray[np.float64]]
    intercept: NDArray[np.float64]

    def logits(self, columns: list[Column]) -> NDArray[np.float64]:
        """Log-odds (n, k), up to a constant in each row."""
        total = np.repeat(self.intercept[None], len(columns[0].codes), axis=0)
        for part, column in zip(self.parts, columns, strict=True):
            total += part[column.codes]
        return total


def softmax(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of logits (n, k)."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    result: NDArray[np.float64] = e / e.sum(axis=1, keepdims=True)
    return result


def fit_weak(columns: list[Column], y: NDArray[np.int64], k: int, rng: np.random.Generator) -> Weak:
    """Logistic regression on coarse bins of every column.

    Parameters
    ----------
    columns : list of Column
    y : ndarray, shape (n,), int64
        Class indices in [0, k).
    k : int
    rng : numpy.random.Generator
        Draws the rows to learn from where there are more than 40,000.
    """
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

    n = len(y)
    rows = np.arange(n) if n <= ROWS else np.sort(rng.choice(n, ROWS, replace=False))
    maps = [_coarse(c) for c in columns]
    widths = [int(m.max()) + 1 for m in maps]
    starts = np.concatenate([[0], np.cumsum(widths)])
    cells = np.stack(
        [m[c.codes[rows]] + s for m, c, s in zip(maps, columns, starts, strict=False)], axis=1
    )
    table = csr_matrix(
        (np.ones(cells.size), cells.ravel(), np.arange(0, cells.size + 1, len(columns))),
        shape=(len(rows), int(starts[-1])),
    )
    fitted = LogisticRegression(C=0.3, max_iter=150).fit(table, y[rows])
    weights, intercept = all_classes(fitted, k, int(starts[-1]))
    parts = [weights[s : s + w][m] for m, s, w in zip(maps, starts, widths, strict=False)]
    return Weak(parts, intercept)


def all_classes(fitted: Any, k: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coefficients (width, k) and intercepts (k,); a class without rows is never likely."""
    weights, intercept = np.zeros((width, k)), np.full(k, -20.0)
    if len(fitted.classes_) == 2:
        weights[:, fitted.classes_[1]] = fitted.coef_[0]
        intercept[fitted.classes_] = [0.0, fitted.intercept_[0]]
    else:
        weights[:, fitted.classes_] = fitted.coef_.T
        intercept[fitted.classes_] = fitted.intercept_
    return weights, intercept


def _coarse(column: Column) -> NDArray[np.int64]:
    """From a code to one of a few bins: neighbours joined, rare names taken together."""
    mass = np.bincount(column.codes, minlength=column.count).astype(float)
    coarse = np.zeros(column.count, dtype=np.int64)
    if column.ordered:
        size, number, held = mass.sum() / BINS, 0, 0.0
        last = column.count if column.missing is None else column.missing
        for i in range(last):
            if i and held + mass[i] > size and held > 0:
                number, held = number + 1, 0.0
            coarse[i] = number
            held += mass[i]
    else:
        order = np.argsort(-mass, kind="stable")
        coarse[order] = np.minimum(np.arange(column.count), BINS - 1)
        number = min(column.count, BINS) - 1
    if column.missing is not None:
        coarse[column.missing] = number + 1
    return coarse


def main_effects(
    columns: list[Column], y: NDArray[np.int64], k: int, rng: np.random.Generator
) -> tuple[Weak, NDArray[np.float64]]:
    """The weak model of all rows, and its probabilities (n, k), out of fold where rows are few."""
    weak = fit_weak(columns, y, k, rng)
    if len(y) >= FOLDED:
        return weak, softmax(weak.logits(columns))
    fold = rng.permutation(len(y)) % 3
    z = np.zeros((len(y), k))
    for f in range(3):
        seen, held = np.flatnonzero(fold != f), np.flatnonzero(fold == f)
        if len(np.unique(y[seen])) < 2:
            return weak, softmax(weak.logits(columns))
        part = fit_weak([c.take(seen) for c in columns], y[seen], k, rng)
        z[held] = part.logits([c.take(held) for c in columns])
    return weak, softmax(z)


def odd_rows(p: NDArray[np.float64], y: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Rows (n,) whose label gains less than half of what another class does.

    Gained is the probability, of probabilities (n, k), over the class's share of the rows: where a
    class is rare its rows look half like the frequent one's, and poison among these would not show.
    """
    share = np.bincount(y, minlength=p.shape[1]) / len(y)
    gained = p / np.maximum(share, 1e-9) * (share > 0)
    mask: NDArray[np.bool_] = gained[np.arange(len(y)), y] < 0.5 * gained.max(axis=1)
    return mask
