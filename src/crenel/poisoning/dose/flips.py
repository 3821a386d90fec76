"""Which of its own labels a supplier would turn to do most harm: chosen by influence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.influence.ridge import WIDTH
from crenel.poisoning.sources.effects import representation
from crenel.subject import Data

Floats = NDArray[np.float64]
#: Width of the smoothed step from right to wrong, in units of fitted values (0 to 1).
SMOOTH = 0.2


@dataclass(frozen=True)
class Flips:
    """Rows to turn, the most harmful first, and what to call them.

    Attributes
    ----------
    rows : ndarray, shape (m,), int64
        Numbers of training rows.
    labels : ndarray, shape (m,), int64
        The class that each is given.
    error : float
        Share of errors of the surrogate on the training rows, as labelled now, if all are turned.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    error: float

    def applied(self, train: Data) -> Data:
        """The training data with these labels turned."""
        y = train.y.copy()
        y[self.rows] = self.labels
        return replace(train, y=y)


class Chooser:
    """Ridge regression of the classes, whose answers to other labels are had at once, exactly.

    Parameters
    ----------
    train : Data
        Its labels as they are serve as the truth.
    k : int
        Number of classes.
    seed : int
        Of the projection of wide rows.
    penalty : float
        Ridge.
    """

    def __init__(self, train: Data, k: int, seed: int, penalty: float = 1.0) -> None:
        z = representation(train.x, WIDTH, seed)
        self.a = np.column_stack([z, np.ones(len(z))])
        self.y, self.k = train.y, k
        gram = self.a.T @ self.a + penalty * np.eye(self.a.shape[1])
        self.to_theta = np.linalg.solve(gram, self.a.T)
        self.values = self.a @ (self.to_theta @ np.eye(k)[self.y])

    def error(self, rows: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
        """Share of errors on the training rows after training with some labels turned."""
        change = np.eye(self.k)[labels] - np.eye(self.k)[self.y[rows]]
        values = self.values + self.a @ (self.to_theta[:, rows] @ change)
        return float((values.argmax(axis=1) != self.y).mean())

    def harm(self) -> Floats:
        """What giving each row each class adds to the smoothed error, to first order, (n, k).

        0 for the class that it has.
        """
        p = np.exp((self.values - self.values.max(axis=1, keepdims=True)) / SMOOTH)
        p /= p.sum(axis=1, keepdims=True)
        truth = np.eye(self.k)[self.y]
        right = (p * truth).sum(axis=1, keepdims=True)
        slope = right * (p - truth)  # of 1 - p[truth] in the values, up to the width
        pull = self.to_theta.T @ (self.a.T @ slope)
        return np.asarray(pull - np.take_along_axis(pull, self.y[:, None], axis=1))

    def worst(self, own: NDArray[np.int64], most: int = 2) -> list[Flips]:
        """The labels among some rows that it harms most to turn, worst first.

        Turning all of them, which drives the model both ways at once, often harms less than
        turning the rows of one class to one other. Each class to the class that harms most, and
        all rows that harm to first order, are tried on the surrogate.

        Parameters
        ----------
        own : ndarray, shape (m,), int64
            Rows under the supplier's control, at least one.
        most : int
            Ways of turning them that are returned at most.
        """
        harm = self.harm()[own]
        tried = [self._ordered(own, harm, labels) for labels in self._labellings(own, harm)]
        tried = [flips for flips in tried if len(flips.rows)]
        return sorted(tried, key=lambda flips: -flips.error)[:most]

    def _labellings(self, own: NDArray[np.int64], harm: Floats) -> Iterator[NDArray[np.int64]]:
        """Labels for the rows, -1 for those that stay."""
        y = self.y[own]
        best = np.where(np.arange(self.k) == y[:, None], -np.inf, harm).argmax(axis=1)
        yield np.where(harm[np.arange(len(own)), best] > 0, best, -1)
        for c in np.unique(y):
            total = harm[y == c].sum(axis=0)
            total[c] = -np.inf
            yield np.where(y == c, total.argmax(), -1)

    def _ordered(self, own: NDArray[np.int64], harm: Floats, labels: NDArray[np.int64]) -> Flips:
        chosen = np.flatnonzero(labels >= 0)
        order = chosen[np.argsort(-harm[chosen, labels[chosen]], kind="stable")]
        rows, given = own[order], labels[order]
        return Flips(rows, given, self.error(rows, given))
