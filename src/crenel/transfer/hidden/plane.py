"""Plane waves of an image of a size, as arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Amplitude at which waves are tried, a share of the range.
AMPLITUDE = 0.1
#: No more than this many periods in either direction.
PERIODS = 16
#: A probability below its exponential counts as this: one image must not decide.
FLOOR = -8.0
#: Images of the test for a faint wave.
FAINT_IMAGES = 12
#: Cross-entropy that is added: where a class is nearly reached its logarithm would jump.
SOLVED = 1.0


def periods_of(h: int, w: int, most: int = PERIODS) -> NDArray[np.int64]:
    """Periods down and across of every wave of an image, one of each two opposite, low first."""
    down, across = min(most, h // 2), min(most, w // 2)
    pairs = np.array(
        [(a, b) for b in range(across + 1) for a in range(-down, down + 1) if b > 0 or a > 0]
    )
    return np.asarray(pairs[np.argsort((pairs**2).sum(axis=1), kind="stable")])


def sine_and_cosine(periods: NDArray[np.int64], h: int, w: int) -> NDArray[np.float32]:
    """Sine and cosine of waves, shape (n, 2, h, w)."""
    angle = (
        2
        * np.pi
        * (
            periods[:, 0, None, None] * (np.arange(h) / h)[:, None]
            + periods[:, 1, None, None] * (np.arange(w) / w)
        )
    )
    return np.stack([np.sin(angle), np.cos(angle)], axis=1).astype(np.float32)
