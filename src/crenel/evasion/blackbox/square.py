"""The Square attack (Andriushchenko et al., 2020) in L-inf and L2, for images and plain rows.

Random search: windows of the input (random features of plain rows) jump to the rim of the ball
and stay there where the margin falls; the windows shrink on the schedule of the paper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.blackbox.budget import Floats, Ledger
from crenel.evasion.blackbox.windows import Layout, some_features

#: First share of the pixels in a window, and the steps of 10,000 at which it is halved.
FIRST_SHARE = 0.8
HALVED = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


def window_share(step: int, steps: int, first: float = FIRST_SHARE) -> float:
    """Share of the pixels that a window holds at a step of a search of so many steps."""
    at = int(step / steps * 10_000)
    return first / float(2 ** sum(at > h for h in HALVED))


@dataclass
class Proposer:
    """Draws the changes of one attack.

    Attributes
    ----------
    ledger : Ledger
    layout : Layout
    rng : Generator
    """

    ledger: Ledger
    layout: Layout
    rng: np.random.Generator

    def first(self, rows: NDArray[np.int64], radius: Floats) -> Floats:
        """Starting points on the rim: stripes of an image, random signs of other rows."""
        if self.ledger.norm == math.inf:
            m, c, w = len(rows), self.layout.channels, self.layout.width
            signs = self.rng.choice([-1.0, 1.0], (m, c, 1, w))
            stripes = np.broadcast_to(signs, (m, c, self.layout.height, w))
            return self._cut(rows, radius[:, None] * self.layout.flat(stripes))
        start = self._tiles(len(rows)) if self.layout.image else self._signs(len(rows))
        return self._cut(rows, _scaled(start, radius))

    def next(self, rows: NDArray[np.int64], points: Floats, radius: Floats, share: float) -> Floats:
        """The points with one window (or some features) changed, on the rim and in the box."""
        delta = points - self.ledger.origin[rows]
        if self.ledger.norm == math.inf:
            changed = self._jump(rows, delta, radius, share)
        elif self.layout.image:
            changed = _scaled(self._exchange(delta, radius, share), radius)
        else:
            changed = _scaled(self._trade(delta, radius, share), radius)
        return self._cut(rows, changed)

    def inside(self, rows: NDArray[np.int64], points: Floats, radius: Floats) -> Floats:
        """Points pulled into a smaller ball."""
        delta = points - self.ledger.origin[rows]
        if self.ledger.norm == math.inf:
            return self._cut(rows, np.clip(delta, -radius[:, None], radius[:, None]))
        size = np.linalg.norm(delta, axis=1)
        return self._cut(rows, _scaled(delta, np.minimum(size, radius)))

    def _cut(self, rows: NDArray[np.int64], delta: Floats) -> Floats:
        own = self.ledger.origin[rows]
        return np.clip(own + delta, self.ledger.low[rows], self.ledger.high[rows])

    def _signs(self, m: int) -> Floats:
        signs: Floats = self.rng.choice([-1.0, 1.0], (m, self.ledger.origin.shape[1]))
        return signs

    def _count(self, share: float) -> int:
        d = int(self.ledger.origin.shape[1])
        return min(d, max(1, round(share * d)))

    def _jump(self, rows: NDArray[np.int64], delta: Floats, radius: Floats, share: float) -> Floats:
        """L-inf: a window to plus or minus the radius, one sign for each channel."""
        own, low, high = (a[rows] for a in (self.ledger.origin, self.ledger.low, self.ledger.high))
        changed = delta.copy()
        still = np.arange(len(rows))
        for _ in range(8):  # draw again where the box or the old sign leaves all as it was
            pick, signs = self._window(len(still), share)
            trial = np.where(pick, signs * radius[still, None], delta[still])
            changed[still] = np.clip(own[still] + trial, low[still], high[still]) - own[still]
            still = still[(np.abs(changed[still] - delta[still]) < 1e-9).all(axis=1)]
            if not still.size:
                break
        return changed

    def _window(self, m: int, share: float) -> tuple[NDArray[np.bool_], Floats]:
        """Which numbers change, and to which sign."""
        if not self.layout.image:
            d = self.ledger.origin.shape[1]
            return some_features(m, d, self._count(share), self.rng), self._signs(m)
        shape = (m, self.layout.channels, self.layout.height, self.layout.width)
        mask = self.layout.square(m, self.layout.side(share), self.rng)
        signs = self.rng.choice([-1.0, 1.0], (*shape[:2], 1, 1))
        pick = self.layout.flat(np.broadcast_to(mask, shape).astype(np.float64)) > 0
        return pick, self.layout.flat(np.broadcast_to(signs, shape))

    def _tiles(self, m: int) -> Floats:
        """L2: five by five bumps with random signs."""
        shape = (m, self.layout.channels, self.layout.height, self.layout.width)
        side = max(1, min(shape[2:]) // 5)
        z = np.zeros(shape)
        bump = _bump(side)
        for i in range(0, shape[2] - side + 1, side):
            for j in range(0, shape[3] - side + 1, side):
                signs = self.rng.choice([-1.0, 1.0], (*shape[:2], 1, 1))
                z[:, :, i : i + side, j : j + side] = bump * signs
        return self.layout.flat(z)

    def _exchange(self, delta: Floats, radius: Floats, share: float) -> Floats:
        """L2: one window gives its length to another, which takes a bump's shape."""
        m, side = len(delta), self._odd(self.layout.side(share, least=3))
        z = self.layout.shaped(delta)
        to, out = (self.layout.square(m, side, self.rng) for _ in range(2))
        area = (2, 3)
        spare = np.maximum(
            radius[:, None, None, None] ** 2 - np.sum(z**2, axis=(1, 2, 3), keepdims=True),
            0.0,
        )
        budget = np.sqrt(
            np.sum(np.where(to | out, z, 0.0) ** 2, axis=area, keepdims=True)
            + spare / self.layout.channels
        )
        old = np.where(to, z, 0.0)
        old = old / np.maximum(np.sqrt(np.sum(old**2, axis=area, keepdims=True)), 1e-12)
        new = old + self._bumps(to, side)
        new = new / np.maximum(np.sqrt(np.sum(new**2, axis=area, keepdims=True)), 1e-12)
        return self.layout.flat(np.where(to, new * budget, np.where(out, 0.0, z)))

    def _odd(self, side: int) -> int:
        grown = side + 1 - side % 2
        return grown if grown <= min(self.layout.height, self.layout.width) else max(1, grown - 2)

    def _bumps(self, mask: NDArray[np.bool_], side: int) -> Floats:
        """The bump of each image's window, turned or not, with a random sign for each channel."""
        m, c = len(mask), self.layout.channels
        bump = _bump(side)
        turned = self.rng.random(m) < 0.5
        each = np.where(turned[:, None, None], bump.T, bump)
        signs = self.rng.choice([-1.0, 1.0], (m, c, 1, 1))
        z = np.zeros((m, c, self.layout.height, self.layout.width))
        full = np.broadcast_to(mask, z.shape)
        z[full] = (np.broadcast_to(each[:, None], (m, c, side, side)) * signs).ravel()
        return z

    def _trade(self, delta: Floats, radius: Floats, share: float) -> Floats:
        """L2 on plain rows: some features give their length to others at random signs."""
        m, d = delta.shape
        count = max(1, min(d // 2, self._count(share)))
        to, out = (some_features(m, d, count, self.rng) for _ in range(2))
        moved = np.sqrt(np.sum(np.where(to | out, delta, 0.0) ** 2, axis=1, keepdims=True))
        spare = np.maximum(radius[:, None] ** 2 - np.sum(delta**2, axis=1, keepdims=True), 0.0)
        old = np.where(to, delta, 0.0)
        old = old / np.maximum(np.linalg.norm(old, axis=1, keepdims=True), 1e-12)
        new = old + np.where(to, self._signs(m), 0.0) / math.sqrt(count)
        new = new / np.maximum(np.linalg.norm(new, axis=1, keepdims=True), 1e-12)
        length = np.sqrt(moved**2 + spare)
        return np.where(to, new * length, np.where(out, 0.0, delta))


def _scaled(delta: Floats, size: Floats) -> Floats:
    """Rows stretched to a length in L2, a little less so that rounding stays in the ball."""
    length = np.linalg.norm(delta, axis=1)
    factor: Floats = size * (1 - 1e-6) / np.maximum(length, 1e-12)
    return delta * factor[:, None]


def _bump(side: int) -> Floats:
    """Two opposite half windows, each highest in its middle, of length one; shape (side, side)."""
    half = side // 2
    z = np.zeros((side, side))
    z[:half] = _peak(half, side)
    z[half:] = -_peak(side - half, side)
    return z / max(float(np.linalg.norm(z)), 1e-12)


def _peak(height: int, width: int) -> Floats:
    """Nested rectangles about the middle, the k-th of weight 1 / k ** 2."""
    z = np.zeros((height, width))
    middle = (height // 2, width // 2)
    for k in range(max(middle) + 1):
        rows = slice(max(0, middle[0] - k), middle[0] + k + 1)
        columns = slice(max(0, middle[1] - k), middle[1] + k + 1)
        z[rows, columns] += 1.0 / (k + 1) ** 2
    return z
