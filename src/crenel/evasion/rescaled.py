"""A network over rescaled rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.network import device_of, torch


class Rescaled(torch.nn.Module):  # type: ignore[misc]
    """A module that takes rows z and hands ``low + z * span`` to another.

    Parameters
    ----------
    inner : torch.nn.Module
    low, span : ndarray, broadcast against the rows
    """

    def __init__(self, inner: Any, low: NDArray[np.float32], span: NDArray[np.float32]) -> None:
        super().__init__()
        self.inner = inner
        device = device_of(inner)
        self.low, self.span = (torch.tensor(v, device=device) for v in (low, span))

    def forward(self, z: Any) -> Any:
        """Logits of rescaled rows."""
        return self.inner(self.low + z * self.span)
