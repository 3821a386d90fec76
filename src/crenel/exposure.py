"""The exposure curve: what an attacker spends, and the harm that it buys."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crenel.access import Access


class Frozen(BaseModel):
    """Base of the records: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Budget(Frozen):
    """What the attacker spends.

    Parameters
    ----------
    name, unit : str
        Of the axis: "changed features", "fields".
    values : tuple of float
        Strictly increasing.
    scale : {"linear", "log"}
        How the axis is drawn.
    """

    name: str
    unit: str = ""
    values: tuple[float, ...]
    scale: Literal["linear", "log"] = "linear"

    @model_validator(mode="after")
    def _increasing(self) -> Budget:
        if not all(map(math.isfinite, self.values)):
            raise ValueError(f"budget {self.name}: values must be finite: {self.values}")
        if any(b <= a for a, b in zip(self.values, self.values[1:], strict=False)):
            raise ValueError(f"budget {self.name}: values must strictly increase: {self.values}")
        return self


class Harm(Frozen):
    """What the attacker gains at each budget, with 95 % intervals.

    Parameters
    ----------
    name, unit : str
        Of the axis: "correct decisions flipped", "share".
    values, low, high : tuple of float
        One for each budget; ``low <= values <= high``.
    baseline : float
        Harm that honest chance does without any attack (0, or the false-alarm rate…).
    possible, possible_high : tuple of float
        The other side of the truth: harm that no attack of this kind can exceed, one for each
        budget (the share of points that is not certified), and its upper 95 % bound. Empty
        where nothing was proven.
    """

    name: str
    unit: str = "share"
    values: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    baseline: float = 0.0
    possible: tuple[float, ...] = ()
    possible_high: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _ordered(self) -> Harm:
        if not len(self.values) == len(self.low) == len(self.high):
            raise ValueError(f"harm {self.name}: values, low and high differ in length")
        if len(self.possible) != len(self.possible_high) or (
            self.possible and len(self.possible) != len(self.values)
        ):
            raise ValueError(f"harm {self.name}: possible needs one bound for each value")
        for v, most, high in zip(self.values, self.possible, self.possible_high):
            if not v - 1e-9 <= most <= high + 1e-9:
                raise ValueError(f"harm {self.name}: {v} is more than the {most} that is possible")
        for v, lo, hi in zip(self.values, self.low, self.high, strict=True):
            if not (math.isfinite(v) and math.isfinite(lo) and math.isfinite(hi)):
                raise ValueError(f"harm {self.name}: {v} [{lo}, {hi}] is not a measurement")
            if not lo - 1e-9 <= v <= hi + 1e-9:
                raise ValueError(f"harm {self.name}: {v} lies outside [{lo}, {hi}]")
        return self


class HealthTest(Frozen):
    """One test that the attack itself worked.

    Parameters
    ----------
    name : str
        Short: "unlimited budget reaches full harm".
    ok : bool
        Whether it held.
    detail : str
        The figures behind it.
    """

    name: str
    ok: bool
    detail: str = ""


class Health(Frozen):
    """All tests of the attack; an unhealthy exposure is a lower bound of the harm."""

    ok: bool
    tests: tuple[HealthTest, ...] = ()

    @classmethod
    def of(cls, *tests: HealthTest) -> Health:
        """Healthy when every test held, and there is at least one."""
        return cls(ok=bool(tests) and all(t.ok for t in tests), tests=tests)


class Exposure(Frozen):
    """One measured curve for one stated attacker.

    Parameters
    ----------
    check, risk : str
        What measured it.
    target : str
        Name of the target; filled in by the run.
    series : str
        Tells curves of one check apart: "L-inf", "base only".
    role : {"attack", "reference", "control"}
        Policies judge attacks; references and controls are drawn beside them.
    access : Access
        The attacker.
    budget : Budget
    harm : Harm
    n : int
        Number of independent units (rows, models) behind each point.
    seed : int
    queries : int
        Model queries spent in all.
    seconds : float
        Wall time spent.
    health : Health
    headline : str
        One sentence in the attacker's terms, without a full stop.
    """

    check: str
    risk: str
    target: str = ""
    series: str = ""
    role: Literal["attack", "reference", "control"] = "attack"
    access: Access
    budget: Budget
    harm: Harm
    n: int = Field(ge=0)
    seed: int
    queries: int = 0
    seconds: float = 0.0
    health: Health
    headline: str

    @model_validator(mode="after")
    def _one_harm_each(self) -> Exposure:
        if len(self.budget.values) != len(self.harm.values) or not self.budget.values:
            raise ValueError(f"{self.check}: every budget needs one harm, and there must be one")
        return self

    def possible_at(self, budget: float) -> float | None:
        """Upper 95 % bound of the harm that proofs leave open at a budget; None without proofs.

        Raises
        ------
        ValueError
            Where the budget is above the largest measured one.
        """
        if not self.harm.possible:
            return None
        later = [i for i, v in enumerate(self.budget.values) if v >= budget]
        if not later:
            raise ValueError(f"{budget:g} is above the measured {self.budget.values[-1]:g}")
        return self.harm.possible_high[later[0]]

    def at(self, budget: float) -> tuple[float, float, float]:
        """Harm (value, low, high) bought by a budget: that of the largest measured one within it.

        Raises
        ------
        ValueError
            Where the budget is below the smallest, or above the largest measured one.
        """
        values = self.budget.values
        if not values[0] <= budget <= values[-1]:
            raise ValueError(f"{budget:g} is outside the measured {values[0]:g} to {values[-1]:g}")
        i = max(k for k, v in enumerate(values) if v <= budget)
        # Between two measured budgets the harm is at least that of the lower one and, since a
        # larger budget contains the smaller, at most that of the upper one.
        j = i if values[i] == budget else i + 1
        return self.harm.values[i], self.harm.low[i], self.harm.high[j]
