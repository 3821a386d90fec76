"""Exposure curves of evasion: the share of correct decisions flipped within each budget."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crenel.access import Access
from crenel.evasion.verdicts import Verdicts
from crenel.exposure import Budget, Exposure, Harm, Health
from crenel.statistics import Interval, proportion

HARM = "correct decisions flipped"


def within(needed: NDArray[np.float64], budgets: Any) -> list[Interval]:
    """Share of rows whose needed budget is at most each budget, with Wilson intervals.

    Parameters
    ----------
    needed : ndarray, shape (n,)
        Smallest budget that flips each row; infinite where none was found.
    budgets : sequence of float
    """
    return [proportion(int((needed <= b).sum()), len(needed)) for b in budgets]


def flip_curve(
    *,
    check: str,
    name: str,
    unit: str,
    budgets: Any,
    shares: list[Interval],
    n: int,
    access: Access,
    seed: int,
    health: Health,
    headline: str,
    series: str = "",
    role: Literal["attack", "reference", "control"] = "attack",
    queries: int = 0,
    seconds: float = 0.0,
    scale: Literal["linear", "log"] = "linear",
    harm: str = HARM,
) -> Exposure:
    """An `Exposure` of evasion from its budgets and shares."""
    return Exposure(
        check=check,
        risk="evasion",
        series=series,
        role=role,
        access=access,
        budget=Budget(name=name, unit=unit, values=tuple(float(b) for b in budgets), scale=scale),
        harm=Harm(
            name=harm,
            values=tuple(s.value for s in shares),
            low=tuple(s.low for s in shares),
            high=tuple(s.high for s in shares),
        ),
        n=n,
        seed=seed,
        queries=queries,
        seconds=seconds,
        health=health,
        headline=headline,
    )


def percent(share: Interval) -> str:
    """A share as people read it: "41 % [37, 45]"."""
    return f"{100 * share.value:.0f} % [{100 * share.low:.0f}, {100 * share.high:.0f}]"


def telling(shares: list[Interval]) -> int:
    """The budget to speak of: the one whose harm is nearest a half, the smallest such."""
    return int(np.argmin([abs(s.value - 0.5) for s in shares]))


def sandwich(
    verdicts: Verdicts,
    epsilons: Any,
    *,
    check: str,
    name: str,
    unit: str,
    access: Access,
    seed: int,
    headline: str | None = None,
    series: str = "",
    seconds: float = 0.0,
    exact: bool = False,
    harm: str = HARM,
    role: Literal["attack", "reference", "control"] = "attack",
) -> Exposure:
    """Attack and certificate as the two sides of one curve.

    The harm at a radius is the share of rows broken within it; what is possible is the share
    that is not certified there, and the rows between the two are undecided.

    Parameters
    ----------
    verdicts : Verdicts
    epsilons : sequence of float, increasing
    headline : str, optional
        By default said of the radius whose harm is nearest a half.
    exact : bool
        The search claims every row, so that the high end counts undecided ones as flipped.
    harm : str
        What being broken means.
    role : {"attack", "reference", "control"}
    """
    n = verdicts.n
    shares = [proportion(int(k), n) for k in verdicts.broken(epsilons)]
    held = [proportion(int(k), n) for k in verdicts.certified(epsilons)]
    if exact:
        shares = [Interval(s.value, s.low, max(s.high, 1 - h.low)) for s, h in zip(shares, held)]
    i = telling(shares)
    proven = bool((verdicts.lower[verdicts.correct] > 0).any())
    words = headline or (
        f"a change of {series or name} size {epsilons[i]:.3g} flips {percent(shares[i])} of "
        "correct decisions" + (f"; {100 * held[i].value:.0f} % are proven to hold" * proven)
    )
    curve = flip_curve(
        check=check, name=name, unit=unit, budgets=epsilons, shares=shares, n=n, access=access,
        seed=seed, health=Health.of(*verdicts.tests), headline=words, series=series,
        queries=verdicts.queries + verdicts.gradients, seconds=seconds, scale="log", harm=harm,
        role=role,
    )  # fmt: skip
    if not proven:
        return curve
    bounds = {
        "possible": tuple(max(1 - h.value, s.value) for h, s in zip(held, shares)),
        "possible_high": tuple(max(1 - h.low, s.value) for h, s in zip(held, shares)),
    }
    return curve.model_copy(update={"harm": curve.harm.model_copy(update=bounds)})
