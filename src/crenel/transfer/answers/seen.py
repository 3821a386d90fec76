"""Images with candidates on them, and how far each candidate leads them to every class."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crenel.transfer.answers.asking import Ask, Floats, Pixels

#: Numbers of one batch of candidates on images.
NUMBERS = 2**23


@dataclass(frozen=True)
class Viewed:
    """Images that candidates are put on, and the model that is asked about them.

    Attributes
    ----------
    ask : callable
    x : ndarray of float32, shape (n, c, h, w)
    counted : ndarray of float64, shape (n, k)
        Weight of each image for each class; an image of the class itself tells nothing.
    side : int
        Pixels of a side of a cell.
    """

    ask: Ask
    x: Pixels
    counted: Floats
    side: int

    @classmethod
    def of(cls, ask: Ask, x: Pixels, decided: NDArray[np.int64], k: int, side: int) -> Viewed:
        """Images, weighed by what the model decides on them as they are."""
        others = (decided[:, None] != np.arange(k)).astype(np.float64)
        return cls(ask, x, others / np.maximum(others.sum(axis=0), 1), side)

    def finest(self) -> Viewed:
        """The same images with a cell for each pixel."""
        return replace(self, side=1)

    @property
    def grid(self) -> tuple[int, int]:
        """Cells down and across."""
        h, w = self.x.shape[2:]
        return -(-h // self.side), -(-w // self.side)

    def spread(self, cells: NDArray[np.generic]) -> Pixels:
        """Values of cells (..., gh * gw) as pixels (..., h, w)."""
        h, w = self.x.shape[2:]
        table = cells.reshape(*cells.shape[:-1], *self.grid)
        full = table.repeat(self.side, axis=-2).repeat(self.side, axis=-1)
        return np.asarray(full[..., :h, :w], dtype=np.float32)

    def led(self, mask: NDArray[np.generic] | None, values: NDArray[np.generic]) -> Floats:
        """Mean logarithm of each class's probability under candidates, shape (t, k).

        Parameters
        ----------
        mask : ndarray of bool, shape (t, cells), or None
            Where the values replace; None where they are added.
        values : ndarray of float32, shape (t, c, cells)
        """
        told = self.told(mask, values)
        return np.asarray(np.einsum("tnk,nk->tk", told, self.counted))

    def told(self, mask: NDArray[np.generic] | None, values: NDArray[np.generic]) -> Floats:
        """Logarithms of probabilities of each image under each candidate, shape (t, n, k)."""
        n, parts = len(self.x), []
        step = max(1, NUMBERS // self.x.size)
        for at in range(0, len(values), step):
            shown = self.spread(values[at : at + step])[:, None]
            if mask is None:
                made = (self.x[None] + shown).clip(0, 1)
            else:
                where = self.spread(mask[at : at + step])[:, None, None]
                made = self.x[None] + where * (shown - self.x[None])
            said = self.ask(made.reshape(-1, *self.x.shape[1:]))
            parts.append(said.reshape(len(shown), n, -1))
        return np.concatenate(parts)
