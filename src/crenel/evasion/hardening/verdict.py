"""Whether a change of the model is worth its price: paired comparisons on the same rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Clean accuracy that a remedy may cost at most.
MOST_LOST = 0.05
#: Share of rows that must stand beyond those that stood before, and standard errors of that.
LEAST_GAIN, SURE = 0.02, 2.0


@dataclass(frozen=True)
class Paired:
    """Two shares over the same rows.

    Attributes
    ----------
    before, after : float
        In [0, 1].
    error : float
        Standard error of their difference, rows taken as pairs.
    n : int
        Rows.
    """

    before: float
    after: float
    error: float
    n: int

    @property
    def change(self) -> float:
        """After less before, in [-1, 1]."""
        return self.after - self.before


def paired(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Paired:
    """Compare two outcomes of the same rows, both of shape (n,)."""
    difference = after.astype(np.float64) - before.astype(np.float64)
    error = float(difference.std() / np.sqrt(len(difference)))
    return Paired(float(before.mean()), float(after.mean()), error, len(before))


def worth(clean: Paired, robust: Paired) -> bool:
    """Whether more rows stand than before beyond chance, at no more than the price allowed.

    Parameters
    ----------
    clean, robust : Paired
        Rows decided rightly as they are, and under attack.
    """
    gain = max(LEAST_GAIN, SURE * robust.error)
    return clean.change >= -MOST_LOST and robust.change >= gain


def percent(share: float) -> str:
    """``94.2 %``."""
    return f"{100 * share:.1f} %"
