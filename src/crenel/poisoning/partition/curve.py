"""What certificates are worth on labelled rows: curves, one figure, and where they are empty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class CertifiedCurve:
    """Certificates of labelled rows.

    Attributes
    ----------
    right : ndarray, shape (n,), bool
        Rows decided rightly.
    rows : ndarray, shape (n,), int64
        Training rows that may be inserted or deleted without turning the decision; an edited row
        counts two (one deleted, one inserted), a label turned counts one.
    y : ndarray, shape (n,), int64
        Classes.
    """

    right: NDArray[np.bool_]
    rows: NDArray[np.int64]
    y: NDArray[np.int64]

    def at(self, rows: int, label: int | None = None) -> float:
        """Certified accuracy: share decided rightly, and so after any so many changes, in [0, 1].

        Parameters
        ----------
        rows : int
        label : int or None
            Of this class alone.
        """
        of = np.ones(len(self.y), dtype=bool) if label is None else self.y == label
        return float((self.right & (self.rows >= rows))[of].mean()) if of.any() else float("nan")

    def median(self, label: int | None = None) -> int:
        """The most changes that half of the rows stand; 0 where fewer are decided rightly."""
        of = slice(None) if label is None else self.y == label
        standing = np.sort(np.where(self.right, self.rows, -1)[of])[::-1]
        return max(0, int(standing[(len(standing) + 1) // 2 - 1])) if len(standing) else 0

    @property
    def mean(self) -> float:
        """Mean of the certified rows, wrong decisions counting none: the area under the curve."""
        return float((self.right * self.rows).mean()) if len(self.y) else 0.0

    @property
    def constant(self) -> float:
        """Share of the most frequent class: what a constant answer certifies against all rows."""
        return float(np.bincount(self.y).max() / len(self.y)) if len(self.y) else 0.0

    def empty_from(self) -> int:
        """The fewest changes at which a constant answer is certified for as many rows or more."""
        kept = np.flatnonzero(self.right)
        enough = int(np.floor(self.constant * len(self.y)))  # rows that the constant has right
        if len(kept) <= enough:
            return 0
        return int(np.sort(self.rows[kept])[::-1][enough]) + 1


def class_table(curve: CertifiedCurve, classes: NDArray[Any], budgets: tuple[int, ...]) -> Any:
    """Certificates by class: a frame with one row for all rows and one for each class.

    Parameters
    ----------
    curve : CertifiedCurve
    classes : ndarray, shape (K,)
        The user's labels.
    budgets : tuple of int
        Changed rows at which the certified accuracy is given.
    """
    import pandas as pd

    table = []
    for label in (None, *np.unique(curve.y).tolist()):
        of = np.ones(len(curve.y), dtype=bool) if label is None else curve.y == label
        line = {
            "class": "all" if label is None else str(classes[label]),
            "rows": int(of.sum()),
            "accuracy": round(curve.at(0, label), 6),
            "median_certified_rows": curve.median(label),
        }
        table.append(line | {f"certified_at_{b}": round(curve.at(b, label), 6) for b in budgets})
    return pd.DataFrame(table)


def budgets_of(curve: CertifiedCurve, training_rows: int) -> tuple[int, ...]:
    """Numbers of changed rows worth a column: from one row to the largest certificate."""
    most = int(curve.rows.max(initial=0))
    shares = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05)
    counts = {1, *(round(s * training_rows) for s in shares)}
    return tuple(sorted(c for c in counts if 1 <= c <= max(1, most)))
