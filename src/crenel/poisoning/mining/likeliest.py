"""How strongly a pattern is blended in: the likeliest, by how often images have which values."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.mining.blends import Blend

#: Levels of a value; rows that carry the pattern, and values that tell what is usual, at most.
LEVELS, CARRY, USUAL = 256, 200, 4_000_000
#: How a level's rows count for its neighbours: values are rounded.
NEAR = np.array([0.25, 0.5, 1.0, 0.5, 0.25]) / 2.5
#: Share of the values that may be anything.
STRAY = 0.05
#: Levels by which what is added may be off, and shares by which what is kept may be.
REACH, COARSE, KEPT, FINE = 40, 3, 0.1, 0.01


@dataclass(frozen=True)
class _Usual:
    """How often values have which level where nothing was blended in.

    Attributes
    ----------
    logs : ndarray, shape (p, LEVELS + 2)
        Logarithms; the first and the last of what lies beyond all levels.
    mean : ndarray, shape (p,)
    low, step : float
        Of the levels.
    """

    logs: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: float
    step: float

    @classmethod
    def of(cls, flat: NDArray[np.generic], low: float, high: float) -> _Usual:
        """Of images (n, p) with values from ``low`` to ``high``."""
        step = (high - low) / (LEVELS - 1)
        n, p = flat.shape
        level = np.rint((flat.astype(np.float64) - low) / step).clip(0, LEVELS - 1).astype(np.int64)
        cell = level + LEVELS * np.arange(p)
        seen = np.bincount(cell.ravel(), minlength=LEVELS * p).reshape(p, LEVELS).astype(float)
        wide = np.pad(seen, ((0, 0), (2, 2)))
        seen = sum(w * wide[:, i : i + LEVELS] for i, w in enumerate(NEAR))
        share = (1 - STRAY) * seen / n + STRAY / LEVELS
        beyond = np.log(STRAY / LEVELS) - 2
        logs = np.pad(np.log(share), ((0, 0), (1, 1)), constant_values=beyond)
        return cls(logs, flat.mean(axis=0).astype(np.float64), low, step)

    def likelihood(self, bare: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum over images (m, p) of the logarithms of how usual each value is, shape (p,)."""
        level = np.rint((bare - self.low) / self.step).clip(-1, LEVELS).astype(np.int64) + 1
        total: NDArray[np.float64] = self.logs[np.arange(len(self.mean)), level].sum(axis=0)
        return total


def likeliest(blend: Blend, flat: NDArray[np.generic], low: float, high: float) -> Blend:
    """The blend with what is kept and added so that its images become as usual as any others.

    The mean of a few images is uncertain where images vary most. But most values of an image are
    met at few levels, such as black, far more often than at others: shifted by what was added,
    these show in every image. For each share that is kept, what is added to each value is chosen
    by the likelihood of the carrying images' values under the distribution of the others', times
    that of the first estimate's error (maximum a posteriori); then the likeliest share.

    Parameters
    ----------
    blend : Blend
    flat : ndarray, shape (n, p)
        All training images.
    low, high : float
        Least and greatest value of any.
    """
    rows, others = blend.rows, np.flatnonzero(~blend.carried)
    if not len(others) or high <= low:
        return blend
    most = max(1, USUAL // flat.shape[1])
    rows, others = (r[:: 1 + (len(r) - 1) // m] for r, m in ((rows, CARRY), (others, most)))
    usual = _Usual.of(flat[others], low, high)
    mine = flat[rows].astype(np.float64)
    around = np.arange(-KEPT, KEPT + FINE / 2, 2 * FINE)
    steps = np.arange(-REACH + 1, REACH, COARSE)
    keep, shift = _best(blend, mine, usual, blend.keep + around, steps)
    around = np.array([-FINE, 0.0, FINE])
    keep, shift = _best(blend, mine, usual, keep + around, np.arange(-REACH, REACH + 1))
    return replace(blend, keep=keep, shift=shift)


def _best(
    blend: Blend,
    mine: NDArray[np.float64],
    usual: _Usual,
    keeps: NDArray[np.float64],
    steps: NDArray[np.int64],
) -> tuple[float, NDArray[np.float64]]:
    """Of shares kept the likeliest, with the likeliest shift for it, by so many levels."""
    best, result = -np.inf, (blend.keep, blend.shift)
    for keep in np.unique(keeps.clip(0.5, 1.0)):
        middle = blend.shift + (blend.keep - keep) * usual.mean
        offered = [middle + step * usual.step for step in steps]
        told = np.array([
            usual.likelihood((mine - shift) / keep)
            - (shift - middle) ** 2 / (2 * np.maximum(blend.doubt, usual.step) ** 2)
            for shift in offered
        ])  # fmt: skip
        value = told.max(axis=0).sum() - mine.size * np.log(keep)
        if value > best:
            at = told.argmax(axis=0)
            best, result = float(value), (float(keep), middle + steps[at] * usual.step)
    return result
