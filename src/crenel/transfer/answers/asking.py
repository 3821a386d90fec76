"""A model of images that is only asked: every image counts, and all are legal ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.lattice import Lattice
from crenel.model import Model

Pixels = NDArray[np.float32]
Floats = NDArray[np.float64]
#: From images (n, c, h, w) in [0, 1] to logarithms of probabilities (n, k).
Ask = Callable[[Pixels], Floats]
#: Least logarithm of a probability that is told from 0: models round.
LEAST = -30.0
#: Images in one call: wide ones take memory, and far more are no faster.
BATCH = 1024


@dataclass
class Asked:
    """A model over images (n, c, h, w) in [0, 1], asked as its users ask it.

    Attributes
    ----------
    model : Model
    back : callable
        From (n, c, h, w) to the layout of the user's rows.
    low, span : float
        Of the user's numbers.
    lattice : Lattice
        Which numbers are legal.
    queries : int
        Images asked so far.
    """

    model: Model
    back: Callable[[Pixels], Pixels]
    low: float
    span: float
    lattice: Lattice
    queries: int = 0

    def __call__(self, x: Pixels) -> Floats:
        """Logarithms of probabilities (n, k), at least `LEAST`."""
        return np.log(np.maximum(self.probabilities(x), np.exp(LEAST)))

    def probabilities(self, x: Pixels) -> Floats:
        """Probabilities (n, k) of images."""
        parts = [self._some(x[at : at + BATCH]) for at in range(0, len(x), BATCH)]
        return np.concatenate(parts)

    def _some(self, x: Pixels) -> Floats:
        self.queries += len(x)
        return self.model.probabilities(self.rows(x))

    def rows(self, x: Pixels) -> NDArray[np.generic]:
        """Images as rows of the user's: in their layout, range, steps and dtype."""
        values = self.low + self.back(x) * np.float32(self.span)
        step = float(np.max(self.lattice.step))
        if step:
            values = np.rint(values / np.float32(step)) * np.float32(step)
        return np.ascontiguousarray(values.clip(self.low, self.low + self.span)).astype(
            self.lattice.dtype
        )
