"""Limits on exposures and findings, and the verdict: never a false pass."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from crenel.exposure import Exposure, Frozen
from crenel.finding import Finding, Severity

if TYPE_CHECKING:
    from crenel.run import Outcome


class Verdict(StrEnum):
    """The judgement of a policy on a run, best first."""

    PASS = "pass"
    INCOMPLETE = "incomplete"
    FAIL = "fail"

    @property
    def exit_code(self) -> int:
        """0 for pass, 1 for fail, 2 for incomplete."""
        return {"pass": 0, "fail": 1, "incomplete": 2}[self.value]


class Limit(Frozen):
    """One limit: on the harm of an exposure at a budget, or on the number of findings.

    Parameters
    ----------
    check : str
        Id or pattern ("EVA-*"); for a limit on findings, empty means all checks.
    series : str
        Only exposures of this series; empty: every attack of the check with this budget axis.
    axis : str
        Only exposures whose budget has this name; empty: the check's first attack decides.
    budget, harm : float or None
        The upper 95 % bound of the harm at this budget must not exceed ``harm``.
    severity : Severity or None
        Counts findings of at least this severity.
    findings : int or None
        At most so many.
    new_only : bool
        Findings of the baseline, unless they have become worse, and accepted ones do not count.
    proven : bool
        Proofs must keep the limit, not attacks alone: what is not certified counts as harm.
    required : bool
        Whether the limit must be decided for a pass where its check is not applicable or was
        not selected. Limits that a user writes are; those of the default policy are not.
    """

    check: str = ""
    series: str = ""
    axis: str = ""
    budget: float | None = None
    harm: float | None = Field(default=None)
    severity: Severity | None = None
    findings: int | None = Field(default=None, ge=0)
    new_only: bool = False
    proven: bool = False
    required: bool = True

    @model_validator(mode="after")
    def _is_one_kind(self) -> Limit:
        on_harm = self.budget is not None and self.harm is not None and bool(self.check)
        on_findings = self.findings is not None
        if on_harm == on_findings:
            raise ValueError(
                "a limit needs either check, budget and harm, or findings (with severity or check)"
            )
        return self

    def sentence(self) -> str:
        """The limit in words."""
        if self.findings is not None:
            worst = self.severity is Severity.CRITICAL
            what = f"{self.severity} " + ("" if worst else "or worse ") if self.severity else ""
            new = "new " if self.new_only else ""
            where = f" of {self.check}" if self.check else ""
            return f"at most {self.findings} {new}{what}findings{where}"
        name = f"{self.check} {self.series}".strip()
        proven = ", proven" if self.proven else ""
        return f"{name}: harm at {self.budget:g} at most {self.harm:g}{proven}"


class Judgement(Frozen):
    """How one limit was judged.

    Parameters
    ----------
    limit : Limit
    status : {"pass", "fail", "incomplete", "not_applicable"}
    target : str
        Whose exposure decided; empty for findings.
    value, low, high : float or None
        The harm (or the count) that was judged.
    sentence : str
        Why, and what would change it.
    """

    limit: Limit
    status: str
    target: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    sentence: str


class Policy(Frozen):
    """A named list of limits."""

    name: str = "default"
    limits: tuple[Limit, ...] = ()


def default_policy() -> Policy:
    """The built-in policy: modest limits that a careful team would set first."""

    def on(check: str, budget: float, harm: float, series: str = "") -> Limit:
        return Limit(check=check, series=series, budget=budget, harm=harm, required=False)

    return Policy(
        name="default",
        limits=(
            on("EVA-101", 0.03, 0.2),
            on("EVA-102", 2, 0.2),
            on("EVA-103", 0.05, 0.2),
            on("POI-102", 0.01, 0.5, "trigger"),
            on("ONL-101", 10, 0.5, "burst"),
            on("TRA-102", 0.03, 0.2),
            on("CON-101", 0.01, 0.05),
            Limit(severity=Severity.CRITICAL, findings=0, required=False),
        ),
    )


def judge(
    policy: Policy,
    outcomes: Sequence[Outcome],
    exposures: Sequence[Exposure],
    findings: Sequence[Finding],
) -> tuple[tuple[Judgement, ...], Verdict, str]:
    """Judge what was measured.

    A limit passes only where its check measured, its exposure is healthy and the upper bound of
    its interval keeps the limit. A limit on findings does not pass either where an attack of the
    checks concerned was not healthy: it may have found nothing by its own fault. A check that
    crashed or was left out makes any verdict at best incomplete.

    Returns
    -------
    tuple
        The judgement of each limit, the verdict, and the verdict in words.
    """
    judgements: list[Judgement] = []
    for limit in policy.limits:
        if limit.findings is not None:
            judgements.append(_judge_findings(limit, outcomes, exposures, findings))
        else:
            judgements.extend(_judge_harm(limit, outcomes, exposures))
    undone = sorted({o.check for o in outcomes if o.outcome in ("error", "not_run")})
    return tuple(judgements), *_verdict(judgements, undone)


def _verdict(judgements: list[Judgement], undone: list[str]) -> tuple[Verdict, str]:
    decided = [j for j in judgements if j.status in ("pass", "fail")]
    failed = [j for j in judgements if j.status == "fail"]
    open_ = [j for j in judgements if j.status == "incomplete"]
    if failed:
        return Verdict.FAIL, f"fail: {len(failed)} of {len(decided) + len(open_)} limits exceeded"
    if undone:
        return Verdict.INCOMPLETE, f"incomplete: {', '.join(undone)} did not finish"
    if open_:
        return Verdict.INCOMPLETE, f"incomplete: {_limits(len(open_))} undecided"
    curves = [j for j in judgements if j.limit.findings is None]
    if not decided or (curves and not any(j in curves for j in decided)):
        # Silence on what could be looked at says nothing of the curves that could not.
        return Verdict.INCOMPLETE, "incomplete: no limit on harm could be judged"
    return Verdict.PASS, f"pass: {_limits(len(decided))} kept"


def _limits(count: int) -> str:
    return "1 limit" if count == 1 else f"{count} limits"


def _judge_findings(
    limit: Limit,
    outcomes: Sequence[Outcome],
    exposures: Sequence[Exposure],
    findings: Sequence[Finding],
) -> Judgement:
    counted = [
        f
        for f in findings
        if (not limit.check or fnmatch.fnmatchcase(f.check, limit.check))
        and (limit.severity is None or f.severity.rank >= limit.severity.rank)
        and not (limit.new_only and f.status == "known")
        and f.status != "accepted"
    ]
    assert limit.findings is not None
    count = len(counted)
    concerned = [
        o for o in outcomes if not limit.check or fnmatch.fnmatchcase(o.check, limit.check)
    ]
    broken = [o.check for o in concerned if o.outcome in ("error", "not_run", "inconclusive")]
    unhealthy = [
        e.check
        for e in exposures
        if (not limit.check or fnmatch.fnmatchcase(e.check, limit.check))
        and e.role == "attack"
        and not e.health.ok
    ]
    if count > limit.findings:
        worst = "; ".join(f.subject for f in counted[:3])
        status, sentence = "fail", f"{count} findings, {limit.findings} allowed: {worst}"
    elif broken:
        status = "incomplete"
        sentence = f"{count} findings so far; {', '.join(sorted(set(broken)))} did not answer"
    elif unhealthy:
        names = ", ".join(sorted(set(unhealthy)))
        status, sentence = "incomplete", f"{count} findings; the attack was not healthy in {names}"
    elif not any(o.outcome == "measured" for o in concerned):
        needed = limit.required or not limit.check
        status = "incomplete" if needed else "not_applicable"
        sentence = (
            f"nothing of {limit.check} was measured" if limit.check else "nothing was measured"
        )
    else:
        status, sentence = "pass", f"{count} findings, {limit.findings} allowed"
    return Judgement(limit=limit, status=status, value=float(count), sentence=sentence)


def _judge_harm(
    limit: Limit, outcomes: Sequence[Outcome], exposures: Sequence[Exposure]
) -> list[Judgement]:
    concerned = [o for o in outcomes if fnmatch.fnmatchcase(o.check, limit.check)]
    if not concerned:
        status = "incomplete" if limit.required else "not_applicable"
        return [Judgement(limit=limit, status=status, sentence="the check was not selected")]
    return [j for outcome in concerned for j in _judge_outcome(limit, outcome, exposures)]


def _judge_outcome(
    limit: Limit, outcome: Outcome, exposures: Sequence[Exposure]
) -> list[Judgement]:
    if outcome.outcome != "measured":
        absent = outcome.outcome == "not_applicable"
        status = "not_applicable" if absent and not limit.required else "incomplete"
        return [
            Judgement(
                limit=limit,
                status=status,
                target=outcome.target,
                sentence=f"{outcome.check} {outcome.outcome.replace('_', ' ')}: {outcome.reason}",
            )
        ]
    own = [
        e
        for e in exposures
        if (e.check, e.target, e.role) == (outcome.check, outcome.target, "attack")
        and limit.series in ("", e.series)
    ]
    axis = limit.axis or (own[0].budget.name if own else "")
    own = [e for e in own if e.budget.name == axis]
    if not own:
        sentence = f"{outcome.check} gave no exposure over {axis or 'any budget'}"
        return [
            Judgement(limit=limit, status="incomplete", target=outcome.target, sentence=sentence)
        ]
    return [_judge_exposure(limit, e) for e in own]


def _judge_exposure(limit: Limit, exposure: Exposure) -> Judgement:
    assert limit.budget is not None
    assert limit.harm is not None
    try:
        value, low, high = exposure.at(limit.budget)
    except ValueError as error:
        return Judgement(
            limit=limit, status="incomplete", target=exposure.target, sentence=str(error)
        )
    figure = f"harm {value:.3g} [{low:.3g}, {high:.3g}] at {limit.budget:g}, limit {limit.harm:g}"
    most = exposure.possible_at(limit.budget)
    if value > limit.harm:
        status, sentence = "fail", figure
    elif limit.proven and (most is None or most > limit.harm):
        left = "nothing is proven" if most is None else f"proofs leave up to {most:.3g} open"
        status, sentence = "incomplete", f"{figure}, and {left}"
    elif high > limit.harm and (most is None or most > limit.harm):
        status, sentence = "incomplete", f"{figure}: the interval straddles the limit, measure more"
    elif not exposure.health.ok:
        failed = ", ".join(t.name for t in exposure.health.tests if not t.ok)
        status, sentence = "incomplete", f"{figure}, but the attack was not healthy: {failed}"
    elif most is not None and most <= limit.harm:
        status, sentence = "pass", f"{figure}; proven to be at most {most:.3g}"
    else:
        status, sentence = "pass", figure
    return Judgement(
        limit=limit,
        status=status,
        target=exposure.target,
        value=value,
        low=low,
        high=high,
        sentence=sentence,
    )
