"""Axes: from figures to places, and the round figures that label them."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Width of the slot that stands for zero on a logarithmic axis, as a share of its length.
ZERO_SLOT = 0.14


@dataclass(frozen=True)
class Axis:
    """One axis of a plot.

    Parameters
    ----------
    low, high : float
        Of its domain; ``low < high``. A logarithmic domain is of the positive values.
    start, end : float
        Places of ``low`` and ``high`` in the drawing.
    log : bool
    zero : bool
        Whether zero has a slot of its own before a logarithmic axis.
    whole : bool
        Whether only whole figures are labelled.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    zero: bool = False
    whole: bool = False

    @property
    def first(self) -> float:
        """Place where the axis proper begins, after the slot for zero."""
        slot = ZERO_SLOT if self.log and self.zero else 0.0
        return self.start + (self.end - self.start) * slot

    def __call__(self, value: float) -> float:
        """Place of a figure; figures outside the domain go to its nearer end."""
        if self.log and value <= 0:
            return self.start
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return self.first + (self.end - self.first) * (at - low) / (high - low)

    def ticks(self, most: int = 6) -> list[float]:
        """Round figures to label, ascending, at most so many (a zero slot adds one)."""
        found = log_ticks(self.low, self.high, most) if self.log else []
        if len(found) < 2 and not (self.log and found and self.high / self.low >= 100):
            found = linear_ticks(self.low, self.high, most) or found
        if self.whole:
            found = [t for t in found if t == round(t)]
        return [0.0, *found] if self.log and self.zero else found


def budget_axis(
    values: list[float], domain: tuple[float, float], scale: str, start: float, end: float
) -> Axis:
    """The axis of a budget; a logarithmic one with negative or no positive values is linear."""
    positive = [v for v in (*values, domain[1]) if v > 0]
    whole = all(v == round(v) for v in values)
    low, high = domain
    if scale == "log" and positive and low >= 0 and min(positive) < high:
        least = min(positive) if low <= 0 else low
        return Axis(least, high, start, end, log=True, zero=low <= 0, whole=whole)
    return Axis(low, high, start, end, whole=whole)


def harm_axis(domain: tuple[float, float], scale: str, start: float, end: float) -> Axis:
    """The axis of a harm; a logarithmic one has a slot for zero below its decades."""
    return Axis(*domain, start, end, log=scale == "log", zero=scale == "log")


def linear_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten within the domain."""
    rough = (high - low) / (most - 1)
    if rough < 1e-300:
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((m * power for m in (1, 2, 5) if m * power >= rough * (1 - 1e-9)), 10 * power)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Powers of ten within the domain, thinned; with their 2 and 5 where they are few."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    decades = list(range(first, last + 1))
    if len(decades) >= 3:
        stride = -(-len(decades) // most)
        return [10.0**k for k in decades[::stride]]
    span = range(first - 1, last + 1)
    fine = [m * 10.0**k for k in span for m in (1, 2, 5)]
    fine = [v for v in fine if low * (1 - 1e-9) <= v <= high * (1 + 1e-9)]
    return fine if len(fine) <= most else [10.0**k for k in decades]
