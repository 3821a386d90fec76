"""Two runs side by side."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from crenel.exposure import Exposure, Frozen
from crenel.finding import Finding
from crenel.run import Run


class Change(Frozen):
    """One curve at one budget, in two runs.

    Parameters
    ----------
    check, target, series : str
    budget : float
        The one at which the harm differs most.
    axis : str
    before, after : tuple of float
        Harm: value, low, high.
    direction : {"lower", "higher", "same"}
        "same" wherever the two intervals overlap.
    """

    check: str
    target: str
    series: str
    axis: str
    budget: float
    before: tuple[float, float, float]
    after: tuple[float, float, float]
    direction: Literal["lower", "higher", "same"]

    def sentence(self) -> str:
        """The change in words."""

        def show(harm: tuple[float, float, float]) -> str:
            return f"{harm[0]:.3g} [{harm[1]:.3g}, {harm[2]:.3g}]"

        name = f"{self.check} {self.target} {self.series}".strip()
        return (
            f"{self.direction:<6} {name}: {show(self.before)} to {show(self.after)} "
            f"at {self.axis} {self.budget:g}"
        )


class Comparison(Frozen):
    """What differs between two runs.

    Parameters
    ----------
    curves : tuple of Change
    gone, new : tuple of Finding
        Matched by fingerprint, with multiplicity.
    """

    curves: tuple[Change, ...]
    gone: tuple[Finding, ...]
    new: tuple[Finding, ...]


def compare(a: Run, b: Run) -> Comparison:
    """Compare an earlier run with a later one."""
    later = {_key(e): e for e in b.exposures}
    changes = (_change(e, later[_key(e)]) for e in a.exposures if _key(e) in later)
    return Comparison(
        curves=tuple(c for c in changes if c is not None),
        gone=_beyond(a.findings, b.findings),
        new=_beyond(b.findings, a.findings),
    )


def _key(e: Exposure) -> tuple[str, ...]:
    return e.check, e.target, e.series, e.role, e.budget.name


def _change(a: Exposure, b: Exposure) -> Change | None:
    if a.role != "attack":
        return None
    shared = [v for v in a.budget.values if v in b.budget.values]
    if not shared:
        return None
    # The budget at which the curves lie furthest apart tells most about the change.
    budget = max(shared, key=lambda v: abs(a.at(v)[0] - b.at(v)[0]))
    before, after = a.at(budget), b.at(budget)
    direction: Literal["lower", "higher", "same"] = "same"
    if after[2] < before[1]:
        direction = "lower"
    elif after[1] > before[2]:
        direction = "higher"
    return Change(
        check=a.check,
        target=a.target,
        series=a.series,
        axis=a.budget.name,
        budget=budget,
        before=before,
        after=after,
        direction=direction,
    )


def _beyond(these: tuple[Finding, ...], those: tuple[Finding, ...]) -> tuple[Finding, ...]:
    left = Counter(f.fingerprint for f in those)
    extra = []
    for finding in these:
        if left[finding.fingerprint] > 0:
            left[finding.fingerprint] -= 1
        else:
            extra.append(finding)
    return tuple(extra)
