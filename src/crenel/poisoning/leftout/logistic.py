"""Logistic regression without each row: one Newton step each, all rows at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.influence.effects import Floats, softmax
from crenel.poisoning.influence.newton import Logistic

#: Columns up to which a Hessian is factored; beyond, and for sparse rows, its diagonal is used.
FACTORED = 1_000
#: Leverage is taken as this much at most: beyond, one step says nothing.
_MOST = 0.95


def logistic_left_out(
    fitted: Logistic, z: Any, y: NDArray[np.int64], weight: Floats, k: int
) -> Floats:
    """Probabilities (n, k) of each row by the regression without it.

    A row with margin m, probability p and leverage h = w p (1 - p) x' H⁻¹ x has the margin
    m + x' H⁻¹ x w (p - y) / (1 - h) without it, where H is the Hessian with all rows. Of more
    than two classes each class's own block of the Hessian is used.

    Parameters
    ----------
    fitted : Logistic
    z : ndarray or sparse matrix, shape (n, d)
    y : ndarray, shape (n,), int64
    weight : ndarray, shape (n,), float64
    k : int
    """
    coefficients, intercepts = fitted.theta[:, :-1], fitted.theta[:, -1]
    margins = np.asarray(z @ coefficients.T) + intercepts
    j = margins.shape[1]
    p = softmax(margins)[:, 1:] if j == 1 else softmax(margins)
    aims = (y == 1)[:, None].astype(float) if j == 1 else np.eye(k)[y]
    narrow = not hasattr(z, "tocsr") and z.shape[1] <= FACTORED
    reach = _by_hessian if narrow else _by_diagonal
    for c in range(j):
        curved = weight * p[:, c] * (1 - p[:, c])
        lever = reach(z, curved, fitted.penalty)
        rest = 1 - np.minimum(curved * lever, _MOST)
        margins[:, c] += lever * weight * (p[:, c] - aims[:, c]) / rest
    return softmax(margins)


def _by_hessian(z: Floats, curved: Floats, penalty: Floats) -> Floats:
    """Of each row x' H⁻¹ x, (n,)."""
    a = np.column_stack([z, np.ones(len(z))])
    h = (a * curved[:, None]).T @ a
    h[np.diag_indices_from(h)] += penalty + 1e-9 * max(1.0, len(a))
    return np.asarray(np.einsum("ij,ij->i", a @ np.linalg.inv(h), a))


def _by_diagonal(z: Any, curved: Floats, penalty: Floats) -> Floats:
    """The same from the diagonal of H: never less, where columns are not correlated close to it."""
    squares = z.multiply(z) if hasattr(z, "tocsr") else z * z
    own = np.asarray(squares.T @ curved).ravel() + penalty[:-1]
    free = 1 / max(float(curved.sum() + penalty[-1]), 1e-9)
    return np.asarray(squares @ (1 / np.maximum(own, 1e-9))).ravel() + free
