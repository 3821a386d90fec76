"""A planted weakness and a sound subject that prove EVA-104."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.subject import Data, Subject


def faint_pattern() -> Subject:
    """A scorer of images that adds up a faint pattern over 64 pixels and shows its scores."""
    rng = np.random.default_rng(0)
    pattern = rng.choice([-1.0, 1.0], (8, 8))
    y = rng.integers(0, 2, 160).astype(np.int64)
    faint = 0.02 * (2 * y - 1)[:, None, None] * pattern
    x = np.clip(0.5 + faint + rng.normal(0, 0.01, (160, 8, 8)), 0, 1)
    return _subject(x, y, pattern)


def bright_or_dark() -> Subject:
    """A scorer that tells bright images from dark ones."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 160).astype(np.int64)
    bright = np.where(y == 1, 0.85, 0.15)[:, None, None]
    x = np.clip(bright + rng.normal(0, 0.05, (160, 8, 8)), 0, 1)
    return _subject(x, y, np.ones((8, 8)))


def _subject(x: NDArray[np.float64], y: NDArray[np.int64], weights: NDArray[Any]) -> Subject:
    """A linear scorer, which shows probabilities and nothing else, and rows around grey."""
    from crenel.adapters import wrap

    def probabilities(rows: Any) -> NDArray[np.float64]:
        z = ((np.asarray(rows) - 0.5) * weights).sum(axis=(1, 2))
        p = 1 / (1 + np.exp(-np.clip(z, -30, 30)))
        return np.column_stack([1 - p, p])

    half = len(y) // 2
    rows = x.astype(np.float32)
    train = Data(rows[:half], y[:half], np.arange(half))
    test = Data(rows[half:], y[half:], np.arange(half, len(y)))
    model = wrap(probabilities, sample=rows[:8], classes=[0, 1])
    return Subject("control", model=model, train=train, test=test)
