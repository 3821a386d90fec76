"""A network over rescaled rows, and over what may be changed of the rows of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.gradients.network import device_of, torch

#: A row's own value rides along in units so small that no attack moves it.
TINY = 1e-6


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


@dataclass(frozen=True)
class Freedom:
    """How each column of a table may be moved.

    Attributes
    ----------
    frozen, up, down : ndarray of bool, shape (d,)
        Not at all; only upwards; only downwards.
    step : ndarray of float64, shape (d,)
        Distance of legal values; 0 where every number is legal.
    """

    frozen: NDArray[np.bool_]
    up: NDArray[np.bool_]
    down: NDArray[np.bool_]
    step: NDArray[np.float64]

    @property
    def bound(self) -> NDArray[np.int64]:
        """Columns that are not free to take any number, shape (m,)."""
        return np.flatnonzero(self.frozen | self.up | self.down | (self.step > 0))

    @property
    def movable(self) -> int:
        """Number of columns that may be moved at all."""
        return int((~self.frozen).sum())


class Restricted(torch.nn.Module):  # type: ignore[misc]
    """A module over rescaled rows of a table that only ever sees legal changes of them.

    Behind the d rescaled numbers, a row carries its own value of each column that is not free.
    Frozen columns are read from there; one-way columns move only their way from it; and stepped
    columns move from it by whole steps, rounded towards it, with the slope of no rounding.

    Parameters
    ----------
    inner : torch.nn.Module
    low, span : ndarray, shape (d,)
    freedom : Freedom
    """

    def __init__(
        self, inner: Any, low: NDArray[np.float32], span: NDArray[np.float32], freedom: Freedom
    ) -> None:
        super().__init__()
        self.inner, self.d = inner, len(low)
        device = device_of(inner)
        self.low, self.span = (torch.tensor(v, device=device) for v in (low, span))
        at = freedom.bound
        self.at = torch.tensor(at, device=device)
        self.frozen, self.up, self.down = (
            torch.tensor(v[at], device=device) for v in (freedom.frozen, freedom.up, freedom.down)
        )
        self.step = torch.tensor(freedom.step[at], dtype=torch.float32, device=device)

    def forward(self, z: Any) -> Any:
        """Logits of legal rows."""
        return self.inner(self.legal(z))

    def legal(self, z: Any) -> Any:
        """Rows in units of the table, shape (n, d), from (n, d + m)."""
        x = self.low + z[:, : self.d] * self.span
        own = self.low[self.at] + z[:, self.d :] * TINY * self.span[self.at]
        moved = x[:, self.at] - own
        moved = torch.where(self.up, moved.clamp(min=0), moved)
        moved = torch.where(self.down, moved.clamp(max=0), moved)
        moved = torch.where(self.frozen, torch.zeros_like(moved), moved)
        stepped = self.step > 0
        unit = torch.where(stepped, self.step, torch.ones_like(self.step))
        whole = torch.trunc(moved.detach() / unit * (1 + 1e-4)) * unit
        moved = torch.where(stepped, moved + (whole - moved).detach(), moved)
        return x.index_copy(1, self.at, own + moved)
