"""How tight the surroundings of each row are, and how many rows chance makes as tight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.traces.forest import nearest, squared

#: Neighbours looked up.
NEIGHBOURS = 6
#: Rows of the sample that tells the wider surroundings, and how many of them those hold.
REFERENCE, WIDE = 256, 8
#: These of a smaller table, so that a small cluster does not make up its own surroundings.
WIDE_LEAST = 12
#: The third other row tells whether there are four together.
OTHERS = 3
#: Quantiles between which the tail's exponent is estimated.
NEAR, FAR = 0.1, 0.4
#: Rows compared with the reference at a time.
STEP = 16_384


@dataclass(frozen=True)
class Density:
    """Distances of distinct contents, relative to their wider surroundings.

    Attributes
    ----------
    z : ndarray, shape (u, d), float32
    neighbours : ndarray, shape (u, k), int32
        Contents, nearest first; -1 where there is none.
    distances : ndarray, shape (u, k), float32
    scale : ndarray, shape (u,), float32
        Radius of the surroundings that hold about 3 % of all contents.
    tightness : ndarray, shape (u,), float32
        Distance to the third other row, copies counted, by the scale: small where it is dense.
    near, exponent : float
        A tenth of the rows are tighter than ``near``; below it the share falls with this power.
    """

    z: NDArray[np.float32]
    neighbours: NDArray[np.int32]
    distances: NDArray[np.float32]
    scale: NDArray[np.float32]
    tightness: NDArray[np.float32]
    near: float
    exponent: float

    def share(self, tightness: float) -> float:
        """Share of rows that chance makes at least as tight, extrapolated (Weissman, 1978)."""
        if self.near <= 0:
            return 1.0
        return float(min(1.0, NEAR * (max(tightness, 0.0) / self.near) ** self.exponent))

    def at(self, share: float) -> float:
        """The tightness of which this share of rows is expected."""
        return float(self.near * (share / NEAR) ** (1 / self.exponent))

    def expected(self, tightness: float, rows: int) -> float:
        """Places where chance puts so many rows, four or more, as tightly together.

        Neighbours of a place are taken to come as a Poisson process, whose rate is such that
        three others come as often as they do in the data.
        """
        from scipy.stats import gamma

        # P(at least a events) = P(Gamma(a) < rate)
        rate = gamma.ppf(self.share(tightness), OTHERS)
        return float(len(self.z) * gamma.cdf(rate, max(OTHERS, rows - 1)))


def density(z: NDArray[np.float32], copies: NDArray[np.int64], seed: int = 0) -> Density:
    """Measure how tight the surroundings of each content are.

    Parameters
    ----------
    z : ndarray, shape (u, d), float32
        Distinct contents, at least two.
    copies : ndarray, shape (u,), int64
        Rows that have each.
    seed : int
    """
    z = z - z.mean(axis=0)
    neighbours, distances = nearest(z, NEIGHBOURS, seed)
    scale = surroundings(z, seed)
    tightness = third_other(neighbours, distances, copies) / scale
    near, far = (float(np.quantile(tightness, q)) for q in (NEAR, FAR))
    ratio = far / near if near > 0 else np.inf
    exponent = float(np.log(FAR / NEAR) / np.log(ratio)) if ratio > 1 else 64.0
    exponent = min(exponent, 64.0)
    return Density(z, neighbours, distances, scale, tightness, near, max(exponent, 1e-3))


def third_other(
    neighbours: NDArray[np.int32], distances: NDArray[np.float32], copies: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Distance to the third other row, copies counted, shape (u,); infinite where unknown."""
    rows = np.where(neighbours >= 0, copies[neighbours], 0).cumsum(axis=1) + copies[:, None] - 1
    enough = rows >= OTHERS
    first = np.where(enough.any(axis=1), enough.argmax(axis=1), distances.shape[1] - 1)
    found = np.take_along_axis(distances, first[:, None], axis=1)[:, 0]
    found = np.where(enough.any(axis=1), found, np.float32(np.inf))
    return np.where(copies > OTHERS, np.float32(0), found).astype(np.float32)


def surroundings(z: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Radius of the ball around each row that holds 8 of 256 rows drawn at random, shape (u,)."""
    drawn = np.random.default_rng(seed).permutation(len(z))[:REFERENCE]
    reference = z[drawn]
    place = WIDE if len(z) > REFERENCE else min(len(reference) // 4, WIDE_LEAST)
    out = np.empty(len(z), dtype=np.float32)
    for start in range(0, len(z), STEP):
        squares = squared(z[start : start + STEP], reference)
        out[start : start + STEP] = np.sqrt(np.partition(squares, place, axis=1)[:, place])
    positive = out[out > 0]
    return np.maximum(out, positive.min() if len(positive) else np.float32(1))
