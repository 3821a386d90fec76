"""Which judgement of the policy belongs to which exposure and risk."""

from __future__ import annotations

import fnmatch
import math

from crenel.exposure import Exposure
from crenel.finding import Finding
from crenel.policy import Judgement
from crenel.report.words import number, quantity
from crenel.run import Outcome, Run

#: Worst first; a curve without a limit comes last.
ORDER = ("fail", "incomplete", "pass", "not_applicable", "")


def first_axis(run: Run, check: str, target: str) -> str:
    """The budget that decides where a limit names none: that of the check's first attack."""
    for e in run.exposures:
        if (e.check, e.target, e.role) == (check, target, "attack"):
            return e.budget.name
    return ""


def of_exposure(run: Run, exposure: Exposure) -> tuple[Judgement, ...]:
    """The judgements that rest on this exposure, worst first."""
    if exposure.role != "attack":
        return ()
    axis = first_axis(run, exposure.check, exposure.target)
    own = [j for j in run.policy.limits if _rests_on(j, exposure, axis)]
    return tuple(sorted(own, key=lambda j: ORDER.index(j.status)))


def _rests_on(judgement: Judgement, exposure: Exposure, axis: str) -> bool:
    limit = judgement.limit
    if limit.findings is not None or limit.budget is None:
        return False
    if judgement.target != exposure.target or limit.series not in ("", exposure.series):
        return False
    if not fnmatch.fnmatchcase(exposure.check, limit.check):
        return False
    if exposure.budget.name != (limit.axis or axis):
        return False
    try:
        measured = exposure.at(limit.budget)
    except ValueError:
        return judgement.value is None
    judged = (judgement.value, judgement.low, judgement.high)
    return all(b is not None and math.isclose(a, b) for a, b in zip(measured, judged, strict=True))


def of_risk(run: Run, risk: str) -> tuple[Judgement, ...]:
    """The judgements that concern a risk, worst first."""
    own = [j for j in run.policy.limits if risk in _risks_of(run, j)]
    return tuple(sorted(own, key=lambda j: ORDER.index(j.status)))


def _risks_of(run: Run, judgement: Judgement) -> set[str]:
    limit = judgement.limit
    if limit.findings is not None:
        if judgement.status == "fail":
            return {f.risk for f in counted(run, judgement)}
        if judgement.status == "incomplete":
            return {o.risk for o in _outcomes(run, judgement) if o.outcome != "measured"}
        return set()
    exposed = {e.risk for e in run.exposures if judgement in of_exposure(run, e)}
    if exposed and judgement.value is not None:
        return exposed
    return {o.risk for o in _outcomes(run, judgement)}


def _outcomes(run: Run, judgement: Judgement) -> list[Outcome]:
    pattern = judgement.limit.check or "*"
    own = [
        o
        for o in run.outcomes
        if fnmatch.fnmatchcase(o.check, pattern) and judgement.target in ("", o.target)
    ]
    named = [o for o in own if judgement.sentence.startswith(o.check)]
    return named or own


def counted(run: Run, judgement: Judgement) -> tuple[Finding, ...]:
    """The findings that a limit on findings counts."""
    limit = judgement.limit
    return tuple(
        f
        for f in run.findings
        if (not limit.check or fnmatch.fnmatchcase(f.check, limit.check))
        and (limit.severity is None or f.severity.rank >= limit.severity.rank)
        and not (limit.new_only and f.status == "known")
        and f.status != "accepted"
    )


def words(judgement: Judgement, exposure: Exposure | None = None) -> str:
    """The limit in few words: ``limit 20 % at 2 fields``."""
    limit = judgement.limit
    if limit.findings is not None:
        return f"limit {limit.findings} {limit.severity or 'findings'}"
    assert limit.harm is not None
    assert limit.budget is not None
    if exposure is None:
        return f"limit {number(limit.harm)} at {number(limit.budget)}"
    harm = quantity(limit.harm, exposure.harm.unit)
    return f"limit {harm} at {quantity(limit.budget, exposure.budget.unit)}"
