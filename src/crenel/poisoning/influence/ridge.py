"""Ridge regression without each group of rows, exactly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.influence.effects import Answers, Floats
from crenel.poisoning.influence.newton import groups

#: Columns of the rows at most; wider ones are projected.
WIDTH = 128


def ridge_without(
    z: Floats, y: NDArray[np.int64], codes: NDArray[np.int64], k: int, test: Floats,
    penalty: float = 1.0,
) -> Answers:  # fmt: skip
    """Answers to test rows by ridge regression of the classes without each group of rows.

    Every group is taken out of the normal equations in turn, which is exact and costs the same for
    any number of classes.

    Parameters
    ----------
    z, test : ndarray, shapes (n, d) and (m, d), float64
        Standardised rows.
    y, codes : ndarray, shape (n,), int64
        Class indices in [0, k); groups in [0, s).
    penalty : float
        Ridge, above 0.
    """
    a = np.column_stack([z, np.ones(len(z))])
    b = np.column_stack([test, np.ones(len(test))])
    targets = np.eye(k)[y]
    gram, cross = a.T @ a + penalty * np.eye(a.shape[1]), a.T @ targets

    def answers() -> Iterator[Floats]:
        for rows in groups(codes):
            own = a[rows]
            rest = np.linalg.solve(gram - own.T @ own, cross - own.T @ targets[rows])
            yield as_shares(b @ rest)

    return Answers(as_shares(b @ np.linalg.solve(gram, cross)), answers(), "ridge")


def as_shares(values: Floats) -> Floats:
    """Fitted values (m, k) as probabilities; the largest stays the largest."""
    positive = np.clip(values, 1e-3, None)
    return np.asarray(positive / positive.sum(axis=1, keepdims=True))
