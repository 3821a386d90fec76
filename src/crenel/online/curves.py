"""Exposures and severities of what it takes, from the raw counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crenel.access import Access
from crenel.exposure import Budget, Exposure, Harm, Health
from crenel.finding import Severity, severity
from crenel.statistics import proportion, repeated_proportion

Role = Literal["attack", "reference", "control"]


def share_below(thresholds: Sequence[float | None], budgets: Sequence[float]) -> NDArray[np.int64]:
    """Of some thresholds, how many each budget reaches; None is never reached."""
    known = np.array([math.inf if t is None else t for t in thresholds], dtype=np.float64)
    return np.array([(known <= budget).sum() for budget in budgets], dtype=np.int64)


def harm_of(name: str, counts: NDArray[np.int64], n: int, baseline: float = 0.0) -> Harm:
    """Shares of n with Wilson intervals."""
    points = [proportion(int(count), n) for count in counts]
    return Harm(
        name=name,
        values=tuple(p.value for p in points),
        low=tuple(p.low for p in points),
        high=tuple(p.high for p in points),
        baseline=baseline,
    )


def harm_of_draws(name: str, lost: NDArray[np.bool_], baseline: float = 0.0) -> Harm:
    """Shares of rows lost, (draws, budgets, rows), with intervals over draws and rows."""
    points = [repeated_proportion(lost[:, i]) for i in range(lost.shape[1])]
    return Harm(
        name=name,
        values=tuple(p.value for p in points),
        low=tuple(p.low for p in points),
        high=tuple(p.high for p in points),
        baseline=baseline,
    )


def exposure(
    series: str,
    budget: Budget,
    harm: Harm,
    n: int,
    health: Health,
    headline: str,
    access: Access,
    role: Role = "attack",
    **run: Any,
) -> Exposure:
    """An exposure of ONL-101; ``run`` holds seed, queries and seconds."""
    return Exposure(
        check="ONL-101",
        risk="online",
        series=series,
        role=role,
        access=access,
        budget=budget,
        harm=harm,
        n=n,
        health=health,
        headline=headline,
        **run,
    )


def burst_cheapness(samples: float) -> float:
    """1 for ten samples or fewer, then falling as 10 / samples."""
    return min(1.0, 10 / samples)


def share_cheapness(share: float) -> float:
    """1 for a twentieth of the stream or less, then falling as 0.05 / share."""
    return min(1.0, 0.05 / share)


def worst_point(of: Exposure, cheapness: Callable[[float], float]) -> tuple[int, Severity | None]:
    """The budget at which effect × ease × cheapness is largest, and the severity there.

    The effect is the low end of the harm's interval above the baseline.
    """
    effects = [max(0.0, low - of.harm.baseline) for low in of.harm.low]
    scores = [e * cheapness(b) for e, b in zip(effects, of.budget.values, strict=True)]
    at = int(np.argmax(scores))
    return at, severity(effects[at], of.access, cheapness(of.budget.values[at]))


def percent(value: float, low: float, high: float) -> str:
    """``"41 % [37, 45]"``."""
    return f"{100 * value:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def share_name(share: float) -> str:
    """``"0.5 %"``, ``"20 %"``."""
    return f"{100 * share:g} %"
