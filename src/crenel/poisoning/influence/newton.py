"""Logistic regression without each group of rows: one Newton step with the group's Hessian gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.influence.effects import Answers, Floats, softmax

#: Newton steps to the optimum itself, where a solver stopped short of it.
POLISH = 3
#: Groups whose answers are computed by one product.
TOGETHER = 64


@dataclass(frozen=True)
class Logistic:
    """A fitted logistic regression, binary (one row of coefficients) or multinomial.

    Attributes
    ----------
    theta : ndarray, shape (j, d + 1), float64
        Coefficients and, last, intercept; j = 1 for two classes, else k.
    penalty : ndarray, shape (d + 1,), float64
        Ridge on each column of ``theta`` (the loss is summed over rows).
    """

    theta: Floats
    penalty: Floats


def logistic_without(
    fitted: Logistic, z: Floats, y: NDArray[np.int64], weight: Floats, codes: NDArray[np.int64],
    test: Floats,
) -> Answers:  # fmt: skip
    """Answers to test rows by the regression without each group of training rows.

    From the optimum with all rows one Newton step is taken on the loss of the rows that stay:
    the group's rows are taken out of the gradient and of the Hessian (Koh et al., "On the accuracy
    of influence functions for measuring group effects", 2019). Small groups go through the
    identity of Woodbury, so that the whole Hessian is factored once.

    Parameters
    ----------
    fitted : Logistic
    z, test : ndarray, shapes (n, d) and (m, d), float64
    y : ndarray, shape (n,), int64
        Class indices.
    weight : ndarray, shape (n,), float64
        Of each row in the loss.
    codes : ndarray, shape (n,), int64
        Groups in [0, s).
    """
    a, b = _with_one(z), _with_one(test)
    ridge = np.tile(fitted.penalty, len(fitted.theta))
    theta, p, whole = _polished(fitted.theta, ridge, a, y, weight)
    inverse = np.asarray(np.linalg.inv(whole), dtype=np.float64)

    def steps(rows: NDArray[np.int64]) -> Floats:
        g = gradient(a[rows], p[rows], y[rows], weight[rows])
        return _step(g, a[rows], p[rows], weight[rows], whole, inverse).reshape(theta.shape)

    def answers() -> Iterator[Floats]:
        every = groups(codes)
        for first in range(0, len(every), TOGETHER):
            moved = np.stack([theta + steps(rows) for rows in every[first : first + TOGETHER]])
            margins = (moved.reshape(-1, moved.shape[2]) @ b.T).reshape(*moved.shape[:2], -1)
            for one in margins:
                yield softmax(one.T)

    return Answers(softmax(b @ theta.T), answers(), "newton step")


def groups(codes: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Row numbers of each group 0, 1, …, ascending."""
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.cumsum(np.bincount(codes))[:-1])


def probabilities(a: Floats, theta: Floats) -> Floats:
    """Probabilities (n, j) of the classes that ``theta`` has rows for."""
    p = softmax(a @ theta.T)
    return p[:, 1:] if len(theta) == 1 else p


def gradient(a: Floats, p: Floats, y: NDArray[np.int64], weight: Floats) -> Floats:
    """Gradient (j * (d + 1),) of the summed loss."""
    return ((weight[:, None] * (p - _targets(y, p.shape[1]))).T @ a).ravel()


def hessian(a: Floats, p: Floats, weight: Floats) -> Floats:
    """Hessian (j * (d + 1), the same) of the summed loss."""
    j, d = p.shape[1], a.shape[1]
    h = np.empty((j, d, j, d))
    for u in range(j):
        for v in range(u, j):
            here = weight * p[:, u] * ((u == v) - p[:, v])
            half = np.sqrt(np.abs(here))[:, None] * a  # its sign is that of u == v throughout
            h[u, :, v] = h[v, :, u] = (1 if u == v else -1) * (half.T @ half)
    return h.reshape(j * d, j * d)


def _step(
    g: Floats, a: Floats, p: Floats, weight: Floats, whole: Floats, inverse: Floats
) -> Floats:
    """(whole - the rows' own Hessian)^-1 g."""
    if 2 * p.size >= len(g):
        return np.asarray(np.linalg.solve(whole - hessian(a, p, weight), g))
    b = root(a, p, weight)
    right, across = inverse @ g, b @ inverse
    kept = np.eye(len(b)) - across @ b.T
    return np.asarray(right + across.T @ np.linalg.solve(kept, b @ right))


def root(a: Floats, p: Floats, weight: Floats) -> Floats:
    """B, shape (n * j, j * (d + 1)), with Bᵀ B the Hessian of these rows."""
    n, j = p.shape
    if j == 1:
        return np.asarray(np.sqrt(weight * p[:, 0] * (1 - p[:, 0]))[:, None] * a)
    half = np.sqrt(p)
    small = half[:, None, :] * (np.eye(j) - half[:, :, None] * half[:, None, :])
    small = np.sqrt(weight)[:, None, None] * small
    return np.asarray((small[..., None] * a[:, None, None, :]).reshape(n * j, -1))


def _polished(
    theta: Floats, ridge: Floats, a: Floats, y: NDArray[np.int64], weight: Floats
) -> tuple[Floats, Floats, Floats]:
    """The optimum, from where the solver stopped near it; probabilities and Hessian there."""
    p = probabilities(a, theta)
    whole = hessian(a, p, weight) + np.diag(ridge + 1e-9 * max(1.0, len(a)))
    factor = np.linalg.inv(whole)
    for _ in range(POLISH):
        g = gradient(a, p, y, weight) + ridge * theta.ravel()
        step = (factor @ g).reshape(theta.shape)
        theta = theta - step
        p = probabilities(a, theta)
        if np.abs(step).max() < 1e-4:
            return theta, p, whole
    return theta, p, hessian(a, p, weight) + np.diag(ridge + 1e-9 * max(1.0, len(a)))


def _targets(y: NDArray[np.int64], j: int) -> Floats:
    return y[:, None].astype(float) if j == 1 else np.eye(j)[y]


def _with_one(z: Floats) -> Floats:
    return np.column_stack([z, np.ones(len(z))])
