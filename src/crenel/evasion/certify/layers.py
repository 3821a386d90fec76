"""The layers that bounds are computed through: affine maps, and steps with linear relaxations.

An affine layer knows itself, its adjoint and the same with absolute weights; a step knows
straight lines below and above it on an interval. Interval and linear bounds need nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from crenel.evasion.gradients.network import torch

Tensor = Any
Shape = tuple[int, ...]


class Layer(Protocol):
    """What every layer can do: compute."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """Values (n, …) of the layer."""


@dataclass(frozen=True)
class Affine:
    """``apply(x) + bias``; ``apply`` is linear and takes any number of rows.

    Attributes
    ----------
    apply, adjoint, absolute : callable
        The map, its adjoint, and the map with absolute weights.
    bias : Tensor or None
        Broadcast against one row of the output.
    dense : bool
        Whether it sums over several inputs, so that two in a row lose by intervals.
    cost : int
        Multiplications for one row, where they are more than its numbers.
    """

    apply: Callable[[Tensor], Tensor]
    adjoint: Callable[[Tensor], Tensor]
    absolute: Callable[[Tensor], Tensor]
    bias: Tensor | None = None
    dense: bool = False
    cost: int = 0

    def forward(self, x: Tensor) -> Tensor:
        """Values of the layer."""
        out = self.apply(x)
        return out if self.bias is None else out + self.bias


@dataclass(frozen=True)
class Source:
    """The input itself."""

    def forward(self, x: Tensor) -> Tensor:
        """The same."""
        return x


@dataclass(frozen=True)
class Fixed:
    """A value that does not depend on the input.

    Attributes
    ----------
    value : Tensor
        Of one row.
    """

    value: Tensor

    def forward(self) -> Tensor:
        """One row, broadcast by whoever takes it."""
        return self.value[None]


@dataclass(frozen=True)
class Total:
    """The sum of several layers of one shape."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """Their sum."""
        out = inputs[0]
        for other in inputs[1:]:
            out = out + other
        return out


@dataclass(frozen=True)
class Joined:
    """Several layers side by side.

    Attributes
    ----------
    axis : int
        Along which, rows counted as axis 0.
    sizes : tuple of int
        Of the parts.
    """

    axis: int
    sizes: tuple[int, ...]

    def forward(self, *inputs: Tensor) -> Tensor:
        """The parts, joined."""
        rows = max(len(x) for x in inputs)
        return torch.cat([x.expand(rows, *x.shape[1:]) for x in inputs], dim=self.axis)


@dataclass(frozen=True)
class Rectifier:
    """ReLU, or leaky ReLU.

    Attributes
    ----------
    leak : float
        Slope below zero, in [0, 1).
    """

    leak: float = 0.0

    def forward(self, x: Tensor) -> Tensor:
        """Values of the layer."""
        return torch.where(x >= 0, x, self.leak * x)

    def upper(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Slope and intercept of the chord above, on intervals."""
        open_ = (low < 0) & (high > 0)
        width = torch.where(open_, high - low, torch.ones_like(low))
        chord = (high - self.leak * low) / width
        outside = torch.where(low >= 0, torch.ones_like(low), torch.full_like(low, self.leak))
        slope = torch.where(open_, chord, outside)
        return slope, torch.where(open_, (1 - slope) * high, torch.zeros_like(low))

    def lower(self, low: Tensor, high: Tensor, slope: Tensor | None) -> tuple[Tensor, Tensor]:
        """Slope and intercept of a line below: of the given slope, or else the tighter one."""
        if slope is None:
            slope = torch.where(high > -low, 1.0, self.leak).to(low.dtype)
        slope = torch.where(low >= 0, torch.ones_like(slope), slope)
        slope = torch.where(high <= 0, torch.full_like(slope, self.leak), slope)
        return slope, torch.zeros_like(low)


@dataclass(frozen=True)
class Squashing:
    """Sigmoid or tanh: rising, steepest at zero and flatter on both sides.

    Attributes
    ----------
    function, derivative : callable
    """

    function: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]

    def forward(self, x: Tensor) -> Tensor:
        """Values of the layer."""
        return self.function(x)

    def _slope(self, low: Tensor, high: Tensor) -> Tensor:
        """The least slope on an interval: the curve less it is still rising there."""
        return 0.999 * torch.minimum(self.derivative(low), self.derivative(high))

    def upper(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The line of the least slope through the upper end."""
        slope = self._slope(low, high)
        return slope, self.function(high) - slope * high + ROUNDING * (1 + slope * high.abs())

    def lower(self, low: Tensor, high: Tensor, slope: Tensor | None) -> tuple[Tensor, Tensor]:
        """The line of the least slope through the lower end."""
        slope = self._slope(low, high)
        return slope, self.function(low) - slope * low - ROUNDING * (1 + slope * low.abs())


#: Room for rounding where a squashing function is evaluated.
ROUNDING = 1e-6


def sigmoid() -> Squashing:
    """The logistic function."""
    return Squashing(torch.sigmoid, lambda x: torch.sigmoid(x) * torch.sigmoid(-x))


def tanh() -> Squashing:
    """The hyperbolic tangent."""
    return Squashing(torch.tanh, lambda x: 1 / torch.cosh(x.clamp(-40, 40)).square())


@dataclass(frozen=True)
class MaxPool:
    """The maximum over windows of two-dimensional maps.

    Attributes
    ----------
    kernel, stride, padding, dilation : pairs of int
    """

    kernel: Shape
    stride: Shape
    padding: Shape
    dilation: Shape

    def forward(self, x: Tensor) -> Tensor:
        """Values of the layer."""
        return torch.nn.functional.max_pool2d(
            x, self.kernel, self.stride, self.padding, self.dilation
        )

    def windows(self, x: Tensor) -> Tensor:
        """What each window sees, shape (n * channels, places, windows)."""
        n, c, h, w = x.shape
        up, side = self.padding
        x = torch.nn.functional.pad(x, (side, side, up, up), value=-BOUNDLESS)
        flat = x.reshape(n * c, 1, h + 2 * up, w + 2 * side)
        return torch.nn.functional.unfold(flat, self.kernel, self.dilation, 0, self.stride)

    def spread(self, seen: Tensor, shape: Shape) -> Tensor:
        """The adjoint of `windows`: shape (n, channels, h, w) of what windows saw."""
        (c, h, w), (up, side) = shape, self.padding
        size = (h + 2 * up, w + 2 * side)
        whole = torch.nn.functional.fold(seen, size, self.kernel, self.dilation, 0, self.stride)
        return whole.reshape(-1, c, *size)[:, :, up : up + h, side : side + w]

    def relax(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """In each window the place with the highest lower bound, whether it wins, and the top.

        The maximum is at least the value there, equal to it where no other place reaches its
        lower bound, and at most the highest upper bound. Shapes (n * channels, 1, windows).
        """
        floor, place = self.windows(low).max(dim=1, keepdim=True)
        above = self.windows(high)
        rivals = above.scatter(1, place, -BOUNDLESS).amax(dim=1, keepdim=True)
        return place, rivals <= floor, above.amax(dim=1, keepdim=True)


#: Stands for infinity where infinity times nothing must be nothing.
BOUNDLESS = 1e30
