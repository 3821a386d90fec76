"""Where the numbers of a row lie: the pixels of an image in windows, or plain features."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.blackbox.budget import Flags, Floats

#: Channels of an image whose last or first axis is taken for them.
CHANNELS = (1, 2, 3, 4)


@dataclass(frozen=True)
class Layout:
    """Channels, height and width of rows, and where each lies in the flat row.

    Attributes
    ----------
    channels, height, width : int
        A plain feature vector of d numbers is one channel, one row high and d wide.
    image : bool
        Whether neighbours belong together.
    last : bool
        Whether channels are the last axis.
    """

    channels: int
    height: int
    width: int
    image: bool
    last: bool = False

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> Layout:
        """The layout of rows of a shape without the first axis: (c, h, w), (h, w, c), (h, w), (d,).

        Anything else is taken for a plain feature vector.
        """
        if len(shape) == 3 and shape[0] in CHANNELS:
            return cls(*shape, image=True)
        if len(shape) == 3 and shape[2] in CHANNELS:
            return cls(shape[2], shape[0], shape[1], image=True, last=True)
        if len(shape) == 2 and min(shape) > 1:
            return cls(1, *shape, image=True)
        return cls(1, 1, math.prod(shape), image=False)

    @property
    def pixels(self) -> int:
        """Number of places."""
        return self.height * self.width

    def flat(self, z: NDArray[np.float64]) -> Floats:
        """Arrays (m, c, h, w) as flat rows (m, d) in the user's order."""
        return (np.moveaxis(z, 1, 3) if self.last else z).reshape(len(z), -1)

    def shaped(self, z: Floats) -> NDArray[np.float64]:
        """Flat rows (m, d) as arrays (m, c, h, w)."""
        if self.last:
            return np.moveaxis(z.reshape(len(z), self.height, self.width, self.channels), 3, 1)
        return z.reshape(len(z), self.channels, self.height, self.width)

    def side(self, share: float, least: int = 1) -> int:
        """Side of the square that holds a share of the pixels."""
        side = max(round(math.sqrt(share * self.height * self.width)), least)
        return min(side, self.height, self.width)

    def square(self, m: int, side: int, rng: np.random.Generator) -> Flags:
        """A square window of each of m images at a random place, shape (m, 1, h, w)."""
        top = rng.integers(0, self.height - side + 1, (m, 1, 1, 1))
        left = rng.integers(0, self.width - side + 1, (m, 1, 1, 1))
        i = np.arange(self.height)[None, None, :, None]
        j = np.arange(self.width)[None, None, None, :]
        mask: Flags = (i >= top) & (i < top + side) & (j >= left) & (j < left + side)
        return mask


def some_features(m: int, d: int, count: int, rng: np.random.Generator) -> Flags:
    """Exactly ``count`` of d features of each of m rows, at random, shape (m, d)."""
    lottery = rng.random((m, d))
    cut = np.partition(lottery, count - 1, axis=1)[:, count - 1 : count]
    return lottery <= cut
