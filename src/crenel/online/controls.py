"""Controls of risk 3: a learner that one sample moves, and one with a long memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.subject import Data, Learning, Subject


class LongMemory:
    """Nearest mean of all samples so far; it refuses what is not finite and clips the rest.

    Its means move by one part in the number of samples seen, so that hundreds of samples barely
    move a decision.
    """

    def __init__(self, limit: float = 8.0) -> None:
        self.limit = limit
        self.sums: NDArray[np.float64] | None = None
        self.counts: NDArray[np.float64] | None = None

    def partial_fit(self, x: NDArray[Any], y: NDArray[Any], classes: NDArray[Any]) -> LongMemory:
        """Add samples (n, d) to the means of their classes."""
        if not np.isfinite(x).all():
            raise ValueError("samples must be finite")
        if self.sums is None or self.counts is None:
            self.sums = np.zeros((len(classes), x.shape[1]))
            self.counts = np.zeros(len(classes))
        np.add.at(self.sums, y, np.clip(x, -self.limit, self.limit))
        np.add.at(self.counts, y, 1.0)
        return self

    def predict(self, x: NDArray[Any]) -> NDArray[np.int64]:
        """Class whose mean is nearest."""
        assert self.sums is not None
        assert self.counts is not None
        means = self.sums / np.maximum(self.counts, 1)[:, None]
        near = ((x[:, None, :] - means) ** 2).sum(axis=2)
        return np.asarray(near.argmin(axis=1), dtype=np.int64)


class Hasty:
    """Logistic regression by single steps of a large constant size, without any limit."""

    def __init__(self, step: float = 0.5) -> None:
        self.step = step
        self.weights: NDArray[np.float64] | None = None

    def partial_fit(self, x: NDArray[Any], y: NDArray[Any], classes: NDArray[Any]) -> Hasty:
        """One step for each sample (n, d)."""
        if self.weights is None:
            self.weights = np.zeros(x.shape[1] + 1)
        for row, label in zip(np.c_[x, np.ones(len(x))], y, strict=True):
            p = 0.5 * (1 + np.tanh(0.5 * np.clip(row @ self.weights, -60, 60)))
            self.weights = self.weights + self.step * (label - p) * row
        return self

    def predict(self, x: NDArray[Any]) -> NDArray[np.int64]:
        """Class 1 where the score is above 0."""
        score = np.c_[x, np.ones(len(x))] @ self.weights
        return np.asarray(score > 0, dtype=np.int64)


def weak_learner() -> Subject:
    """A learner that a handful of samples, or one infinite one, turns."""
    return Subject("hasty", learning=Learning(Hasty, _stream(600), samples_per_day=1_000))


def sound_learner() -> Subject:
    """A learner that a thousand poisoned samples in a row, or 30 % of the stream, do not turn."""
    return Subject("long memory", learning=Learning(LongMemory, _stream(1_500)))


def _stream(n: int) -> Data:
    """Two well separated clouds in 32 dimensions, in random order."""
    import pandas as pd

    rng = np.random.default_rng(20)
    y = rng.integers(0, 2, n).astype(np.int64)
    x = rng.normal(size=(n, 32)) + np.where(y == 1, 1.5, -1.5)[:, None]
    frame = pd.DataFrame(x, columns=[f"x{j}" for j in range(32)])
    return Data(frame, y, np.arange(n))
