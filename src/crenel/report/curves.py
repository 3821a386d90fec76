"""Curves and panels: what the charts of every format draw."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from crenel.exposure import Exposure, HealthTest
from crenel.report import limits
from crenel.report.words import interval, is_share, percent, quantity
from crenel.run import Run

#: Order in which the curves of a panel are listed and, reversed, drawn.
ROLES = ("attack", "before", "reference", "control")


@dataclass(frozen=True)
class Point:
    """One measured point: budget, harm and its 95 % interval."""

    budget: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Mark:
    """A policy limit in a plot: harm at ``budget`` at most ``harm``."""

    budget: float
    harm: float
    status: str
    words: str
    sentence: str


def _judgement(mark: Mark) -> int:
    return limits.ORDER.index(mark.status)


@dataclass(frozen=True)
class Curve:
    """One exposure, ready to be drawn and described.

    Attributes
    ----------
    role : {"attack", "before", "reference", "control"}
    label : str
        Tells it from the other curves of its panel.
    told : str
        Harm at the budget of the panel's limit, else at the largest, with its interval.
    healthy : bool
        A curve that is not is a lower bound.
    status : str
        Of the worst limit on it; empty where there is none.
    """

    exposure: Exposure
    role: str
    label: str
    points: tuple[Point, ...]
    told: str
    healthy: bool
    tests: tuple[HealthTest, ...]
    status: str = ""
    marks: tuple[Mark, ...] = ()

    @property
    def possible(self) -> tuple[tuple[float, float], ...]:
        """Harm that proofs leave open, as (budget, share); empty without proofs."""
        e = self.exposure
        return tuple(zip(e.budget.values, e.harm.possible))


@dataclass(frozen=True)
class Panel:
    """The curves of one check on one target over one budget.

    Attributes
    ----------
    key : str
        Unique in the run, safe as an HTML id.
    x_domain, y_domain : tuple of float
        Shared by all panels of the check over this budget and harm.
    y_scale : {"linear", "log"}
        Logarithmic where a limit would lie so low that nobody could read it.
    """

    key: str
    check: str
    risk: str
    title: str
    target: str
    budget: str
    budget_unit: str
    scale: str
    harm: str
    harm_unit: str
    curves: tuple[Curve, ...]
    x_domain: tuple[float, float]
    y_domain: tuple[float, float]
    y_scale: str = "linear"

    @property
    def marks(self) -> tuple[Mark, ...]:
        """The limits to be drawn, each once, with the worst judgement of its curves."""
        worst: dict[tuple[float, float], Mark] = {}
        for m in sorted((m for c in self.curves for m in c.marks), key=_judgement):
            worst.setdefault((m.budget, m.harm), m)
        return tuple(sorted(worst.values(), key=lambda m: (m.budget, m.harm)))

    @property
    def attacks(self) -> tuple[Curve, ...]:
        """The curves that policies judge."""
        return tuple(c for c in self.curves if c.role == "attack")


def curve(run: Run, exposure: Exposure, role: str) -> Curve:
    """An exposure of the run as a curve."""
    harm = exposure.harm
    triples = zip(exposure.budget.values, harm.values, harm.low, harm.high, strict=True)
    judged = limits.of_exposure(run, exposure) if role == "attack" else ()
    return Curve(
        exposure=exposure,
        role=role,
        label=_label(exposure, role),
        points=tuple(Point(*t) for t in triples),
        told=_told(exposure, None),
        healthy=exposure.health.ok,
        tests=exposure.health.tests,
        status=judged[0].status if judged else "",
        marks=tuple(
            Mark(j.limit.budget, j.limit.harm, j.status, limits.words(j, exposure), j.sentence)
            for j in judged
            if j.limit.budget is not None and j.limit.harm is not None
        ),
    )


def _label(exposure: Exposure, role: str) -> str:
    series = exposure.series
    if role == "before":
        return f"before · {series}" if series else "before"
    if role == "attack":
        return series or "attack"
    return series or role


def panels(run: Run) -> tuple[Panel, ...]:
    """Every panel of the run, in the order of its exposures."""
    groups: dict[tuple[str, str, str, str], list[Curve]] = {}
    titles = {(o.check, o.target): o.title for o in run.outcomes}
    for e in run.exposures:
        groups.setdefault(_key(e), []).append(curve(run, e, e.role))
    for e in run.before:
        if _key(e) in groups and e.role == "attack":
            groups[_key(e)].append(curve(run, e, "before"))
    made = []
    for number, (key, curves) in enumerate(groups.items()):
        kin = [c for k, cs in groups.items() if _kin(k) == _kin(key) for c in cs]
        title = _title(titles.get(key[:2], "") or key[0], key, list(groups))
        made.append(_panel(f"panel-{number}", title, curves, kin))
    return tuple(made)


def _title(
    title: str, key: tuple[str, str, str, str], keys: list[tuple[str, str, str, str]]
) -> str:
    """The check's title, with what tells this panel from the check's others on the target."""
    siblings = [k for k in keys if k[:2] == key[:2]]
    if len(siblings) == 1:
        return title
    if len({k[3] for k in siblings}) == 1:
        return f"{title}, by {key[2]}"
    return f"{title}: {key[3]}"


def _panel(key: str, title: str, curves: list[Curve], kin: list[Curve]) -> Panel:
    first, scale = curves[0].exposure, _y_scale(kin)
    attacks = {c.label for c in curves if c.role == "attack"}
    y_domain = _y_domain(kin)
    marks = sorted((m for c in curves for m in c.marks), key=_judgement)
    return Panel(
        key=key,
        check=first.check,
        risk=first.risk,
        title=title,
        target=first.target,
        budget=first.budget.name,
        budget_unit=first.budget.unit,
        scale=first.budget.scale,
        harm=first.harm.name,
        harm_unit=first.harm.unit,
        curves=tuple(
            replace(
                c,
                told=_told(c.exposure, marks[0].budget if marks else None),
                label="control" if c.role == "control" and c.label in attacks else c.label,
            )
            for c in sorted(curves, key=lambda c: ROLES.index(c.role))
        ),
        x_domain=_x_domain(kin),
        y_domain=_decades(kin, y_domain[1]) if scale == "log" else y_domain,
        y_scale=scale,
    )


def _told(exposure: Exposure, budget: float | None) -> str:
    """The harm in words at the budget of a limit; else, or where it is not measured, the last."""
    harm, values = exposure.harm, exposure.budget.values
    found, at = (harm.values[-1], harm.low[-1], harm.high[-1]), values[-1]
    if budget is not None and values[0] <= budget <= values[-1]:
        found, at = exposure.at(budget), budget
    least = "" if exposure.health.ok or exposure.role == "control" else "at least "
    figure = interval(*found, exposure.harm.unit)
    return f"{least}{figure} at {quantity(at, exposure.budget.unit)}{_proven(exposure, at)}"


def _proven(exposure: Exposure, budget: float) -> str:
    """What proofs say of the harm there, in words."""
    later = [i for i, v in enumerate(exposure.budget.values) if v >= budget]
    if not exposure.harm.possible or not later:
        return ""
    most = exposure.harm.possible[later[0]]
    return f"; {percent(1 - most)} proven to hold"


def _key(e: Exposure) -> tuple[str, str, str, str]:
    return e.check, e.target, e.budget.name, e.harm.name


def _kin(key: tuple[str, str, str, str]) -> tuple[str, str, str]:
    return key[0], key[2], key[3]


def _x_domain(curves: list[Curve]) -> tuple[float, float]:
    values = [p.budget for c in curves for p in c.points]
    low, high = min(values), max(values)
    for m in (m for c in curves for m in c.marks):
        # A limit far outside what was measured would squash the curve: its words remain.
        if low / 3 <= m.budget <= high * 3:
            low, high = min(low, m.budget), max(high, m.budget)
    return (low, high) if high > low else (min(0.0, low), low if low > 0 else low + 1.0)


def _y_domain(curves: list[Curve]) -> tuple[float, float]:
    tops = [p.high for c in curves for p in c.points if c.role != "control"]
    tops += [p.value for c in curves for p in c.points]
    tops += [most for c in curves for _, most in c.possible]
    tops += [m.harm * 1.1 for c in curves for m in c.marks]
    bottom = min(0.0, *(p.value for c in curves for p in c.points), 0.0)
    top = max(tops)
    if is_share(curves[0].exposure.harm.unit) and top <= 1.0 + 1e-9:
        top = next(t for t in (0.01, 0.02, 0.04, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0) if top <= t + 1e-9)
    elif is_share(curves[0].exposure.harm.unit) and top <= 1.1 + 1e-9:
        top = 1.0
    return bottom, top if top > bottom else bottom + 1.0


def _y_scale(curves: list[Curve]) -> str:
    low, high = _y_domain(curves)
    harms = [m.harm for c in curves for m in c.marks if m.harm > 0]
    logarithmic = curves[0].exposure.budget.scale == "log"
    if not logarithmic or low < 0 or not harms or high < 1e-9:
        return "linear"
    return "log" if min(harms) < high / 10 else "linear"


def _decades(curves: list[Curve], top: float) -> tuple[float, float]:
    """Whole decades down to the smallest positive harm, four at most."""
    harms = [p.value for c in curves for p in c.points] + [m.harm for c in curves for m in c.marks]
    least = max(min((h for h in harms if h > 0), default=top), top * 1e-4)
    return min(10.0 ** math.floor(math.log10(least) + 1e-9), top / 10), top
