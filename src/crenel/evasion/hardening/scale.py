"""Rows in shares of their legal range, and a network that takes them so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.gradients.rescaled import Rescaled
from crenel.evasion.imagery import legal_range
from crenel.subject import Subject


@dataclass(frozen=True)
class Scale:
    """The legal range of the rows, taken as [0, 1].

    Attributes
    ----------
    low, span : ndarray, float32
        Broadcast against rows; span is above 0.
    """

    low: NDArray[np.float32]
    span: NDArray[np.float32]

    @classmethod
    def of(cls, subject: Subject) -> Scale:
        """The range that EVA-101 attacks in."""
        low, high = (np.asarray(b, dtype=np.float32) for b in legal_range(subject))
        return cls(low, np.maximum(high - low, 1e-12).astype(np.float32))

    def into(self, x: Any) -> NDArray[np.float32]:
        """Rows to [0, 1]; what lies outside the range is cut."""
        rows = x.to_numpy(dtype=np.float32) if hasattr(x, "iloc") else x
        z = (np.asarray(rows, dtype=np.float32) - self.low) / self.span
        return np.asarray(np.clip(z, 0, 1), dtype=np.float32)

    def module(self, inner: Any) -> Any:
        """A module that takes rows in [0, 1], over one that takes the user's own."""
        return Rescaled(inner, self.low, self.span)
