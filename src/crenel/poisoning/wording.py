"""Figures in sentences."""

from __future__ import annotations

import math

from crenel.statistics import Interval


def percent(i: Interval) -> str:
    """A share with its interval: ``"8.1 % [6.2, 10]"``."""
    return f"{_short(i.value)} % [{_short(i.low)}, {_short(i.high)}]"


def share(value: float) -> str:
    """A share without interval: ``"0.5 %"``."""
    return f"{_short(value)} %"


def points(i: Interval) -> str:
    """A difference of shares: ``"4.1 points [2.9, 5.3]"``."""
    return f"{_short(i.value)} points [{_short(i.low)}, {_short(i.high)}]"


def _short(value: float) -> str:
    hundred = 100 * value
    digits = 0 if abs(hundred) >= 9.95 else 1 if abs(hundred) >= 0.095 else 2
    text = f"{hundred:.{digits}f}"
    return "0" if math.isclose(float(text), 0.0) else text
