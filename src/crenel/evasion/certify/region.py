"""Where an attacker may go: a ball of L-inf, L2 or L1 about each row, cut by the legal box."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from crenel.evasion.gradients.network import torch

Tensor = Any
#: A ball is widened by this share, so that steps rounded in float32 stay within.
WIDER = 1e-6


@dataclass(frozen=True)
class Region:
    """One set of inputs for each row.

    Attributes
    ----------
    low, high : Tensor, shape (n, …)
        The box around it.
    center : Tensor or None, shape (n, …)
        Of the ball; None where the region is the box.
    radius : Tensor or None, shape (n, 1)
        Of the ball.
    norm : float
        2 or 1, where there is a center.
    """

    low: Tensor
    high: Tensor
    center: Tensor | None = None
    radius: Tensor | None = None
    norm: float = math.inf

    @classmethod
    def ball(
        cls, x: Tensor, radius: Any, norm: float, bounds: tuple[Any, Any], dtype: Any
    ) -> Region:
        """The points within a radius, one number or one for each row, of rows and within bounds."""
        x = x.to(dtype)
        wide = torch.as_tensor(radius, dtype=dtype, device=x.device) * (1 + WIDER)
        wide = wide.expand(len(x))[:, None]
        reach = wide.reshape(-1, *[1] * (x.ndim - 1))
        low, high = (torch.as_tensor(b).to(dtype=dtype, device=x.device) for b in bounds)
        # a row outside its bounds may stay where it is
        low = torch.minimum(torch.maximum(x - reach, low), x)
        high = torch.maximum(torch.minimum(x + reach, high), x)
        return cls(low, high) if norm == math.inf else cls(low, high, x, wide, float(norm))

    def __len__(self) -> int:
        return len(self.low)

    def rows(self, which: Any) -> Region:
        """The regions of some rows."""
        center = None if self.center is None else self.center[which]
        radius = None if self.radius is None else self.radius[which]
        return Region(self.low[which], self.high[which], center, radius, self.norm)

    def repeated(self, n: int) -> Region:
        """The same n times, where there is one row."""
        return self.rows(torch.zeros(n, dtype=torch.int64))

    def least(self, slopes: Tensor) -> tuple[Tensor, Tensor]:
        """The least value of linear functions (n, s, …), and the size of what was summed.

        Below the true least value where the ball is cut by the box.
        """
        a = slopes.flatten(2)
        middle = ((self.low + self.high) / 2).flatten(1)[..., None]
        reach = ((self.high - self.low) / 2).flatten(1)[..., None]
        magnitude = a.abs()
        value = (a @ middle - magnitude @ reach)[..., 0]
        size = (magnitude @ (middle.abs() + reach))[..., 0]
        if self.center is not None:
            dual = magnitude.amax(2) if self.norm == 1 else a.norm(dim=2)
            ball = (a @ self.center.flatten(1)[..., None])[..., 0] - self.radius * dual
            value = torch.maximum(value, ball)
            if self.norm == 2:
                value = torch.maximum(value, self._cut(a, dual))
        return value, size

    def _cut(self, a: Tensor, length: Tensor) -> Tensor:
        """A bound over ball and box at once, by duality.

        For any multiplier t > 0 the least value over the box of ``a·d + t(|d|² - r²)/2`` is at
        most that of ``a·d`` over both; a few multipliers are tried.
        """
        assert self.center is not None
        assert self.radius is not None
        low = (self.low - self.center).flatten(1)[:, None]
        high = (self.high - self.center).flatten(1)[:, None]
        start = (a @ self.center.flatten(1)[..., None])[..., 0]
        best = torch.full_like(start, -torch.inf)
        for share in CUTS:
            t = (share * length / self.radius).clamp_min(1e-12)[..., None]
            d = torch.minimum(torch.maximum(-a / t, low), high)
            value = (a * d + t / 2 * d * d).sum(2) - t[..., 0] / 2 * self.radius**2
            best = torch.maximum(best, start + value)
        return best


#: Multipliers tried, as shares of the one that is right without a box.
CUTS = (0.25, 0.4, 0.6, 0.8)
