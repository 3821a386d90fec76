"""Figures as words: the same in every format."""

from __future__ import annotations

import math

#: Between a number and its unit.
SPACE = "\u00a0"


def _decimals(percent: float) -> int:
    size = abs(percent)
    if size >= 10 or size == 0:
        return 0
    return min(6, max(1, 1 - math.floor(math.log10(size))) if size < 1 else 1)


def percent(share: float) -> str:
    """A share as a percentage: ``41 %``, ``1.2 %``, ``0.05 %``."""
    value = share * 100
    return f"{_trim(value, _decimals(value))}{SPACE}%"


def number(value: float) -> str:
    """A figure with thousands separated and at most three significant decimals."""
    if not math.isfinite(value):
        return "unlimited" if value > 0 else str(value)
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def is_share(unit: str) -> bool:
    """Whether figures of this unit are shares: "share", "share of training rows"."""
    return unit == "share" or unit.startswith("share of ")


def quantity(value: float, unit: str) -> str:
    """A figure with its unit, shares as percentages: ``2 fields``, ``1 % of training rows``."""
    if is_share(unit):
        return f"{percent(value)}{unit.removeprefix('share')}"
    return f"{number(value)}{SPACE}{_singular(unit) if value == 1 else unit}".strip()


def _singular(unit: str) -> str:
    if unit.endswith("ies"):
        return f"{unit[:-3]}y"
    return unit[:-1] if unit.endswith("s") and not unit.endswith("ss") else unit


def axis_name(name: str, unit: str) -> str:
    """An axis in words: ``rows poisoned, % of training rows``; shares alone go without."""
    unit = f"%{unit.removeprefix('share')}" if unit.startswith("share of ") else unit
    return name if unit in ("", "share") or unit in name else f"{name}, {unit}"


def interval(value: float, low: float, high: float, unit: str) -> str:
    """A figure with its 95 % interval: ``41 % [37, 45]``."""
    if not is_share(unit):
        return f"{quantity(value, unit)} [{number(low)}, {number(high)}]"
    digits = max(_decimals(value * 100), _decimals(high * 100) if value == 0 else 0)
    low_text, high_text = _trim(low * 100, digits), _trim(high * 100, digits)
    figure = f"{_trim(value * 100, digits)}{SPACE}% [{low_text}, {high_text}]"
    return f"{figure}{unit.removeprefix('share')}"


def _trim(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def count(n: int, one: str, many: str = "") -> str:
    """``1 limit``, ``3 limits``."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """Wall time: ``0.4 s``, ``12 s``, ``2 min 14 s``, ``1 h 02 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f}{SPACE}s" if seconds >= 0.05 else f"< 0.1{SPACE}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{SPACE}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}{SPACE}min{SPACE}{rest:02d}{SPACE}s"
    return f"{minutes // 60}{SPACE}h{SPACE}{minutes % 60:02d}{SPACE}min"


def sentence(text: str) -> str:
    """A headline as a sentence: first letter large unless it begins a name, full stop."""
    text = text.strip()
    if not text:
        return text
    first = text.split()[0].rstrip(",;:")
    head = text[0].upper() if first.isalpha() and first.islower() else text[0]
    return head + text[1:] + ("" if text[-1] in ".?!…" else ".")


def cut(text: str, length: int) -> str:
    """A text of at most this many characters, with an ellipsis where it was cut."""
    return text if len(text) <= length else text[: max(0, length - 1)].rstrip() + "…"
