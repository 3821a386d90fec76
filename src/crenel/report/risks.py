"""The five risks: for each its headline, its status and its worst curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crenel.check import Risk
from crenel.finding import Finding
from crenel.report import limits
from crenel.report.curves import Curve, Panel
from crenel.run import Outcome, Run, State

QUESTIONS = {
    Risk.EVASION: "How small a change to an input makes the model wrong, with what knowledge and "
    "how many queries?",
    Risk.POISONING: "Which training records are bad, and how much harm could whoever controls some "
    "of the data do?",
    Risk.ONLINE: "How many samples, over how long, does it take to nudge the learning model to a "
    "wrong behaviour?",
    Risk.TRANSFER: "Is the pre-trained model safe to load and documented, and does it arm an "
    "attacker?",
    Risk.CONFIDENTIALITY: "Which training records, attributes or model secrets can be recovered "
    "through the model?",
}

#: What a risk's status can be.
STATUSES = ("fail", "incomplete", "pass", "not judged", "–")
#: Outcomes after which nothing may read as a pass.
UNDONE = (State.ERROR, State.NOT_RUN)


@dataclass(frozen=True)
class RiskView:
    """One risk of the report.

    Attributes
    ----------
    name, question : str
    headline : str
        Of its worst exposure, word for word; without any, its worst finding or why it is empty.
    status : str
        One of `STATUSES`.
    limit : str
        The limit that decided, in words.
    worst : Curve or None
    target : str
        To which the headline belongs.
    panels : tuple of Panel
        That with the worst curve first.
    """

    name: str
    question: str
    headline: str
    status: str
    limit: str
    worst: Curve | None
    target: str
    panels: tuple[Panel, ...]
    findings: tuple[Finding, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def measured(self) -> bool:
        """Whether any check of the risk measured."""
        return any(o.outcome is State.MEASURED for o in self.outcomes)


def risk_view(run: Run, risk: Risk, panels: Sequence[Panel]) -> RiskView:
    """One risk of a run.

    The worst exposure is that with the worst judgement; among equals, and where there is no
    limit, that with the highest low end of its harm.
    """
    outcomes = tuple(o for o in run.outcomes if o.risk == risk)
    findings = tuple(f for f in run.findings if f.risk == risk)
    own = [p for p in panels if p.risk == risk]
    attacks = sorted((c for p in own for c in p.attacks), key=_badness)
    worst = attacks[0] if attacks else None
    own.sort(key=lambda p: worst not in p.curves)
    headline, target = _headline(worst, findings, outcomes)
    return RiskView(
        name=risk.value,
        question=QUESTIONS[risk],
        headline=headline,
        status=_status(run, risk, outcomes),
        limit=_limit(run, risk, worst),
        worst=worst,
        target=target,
        panels=tuple(own),
        findings=findings,
        outcomes=outcomes,
    )


def _badness(c: Curve) -> tuple[int, float]:
    within = [p for p in c.points for m in c.marks if p.budget <= m.budget]
    # A limit outside the measured budgets says nothing about how bad the curve is.
    rank = limits.ORDER.index(c.status) if within else len(limits.ORDER)
    harm = within[-1].low if within else max(p.low for p in c.points)
    return rank, -(harm - c.exposure.harm.baseline)


def _status(run: Run, risk: Risk, outcomes: Sequence[Outcome]) -> str:
    judged = {j.status for j in limits.of_risk(run, risk)}
    if "fail" in judged:
        return "fail"
    if "incomplete" in judged or any(o.outcome in UNDONE for o in outcomes):
        return "incomplete"
    if "pass" in judged:
        return "pass"
    return "not judged" if any(o.outcome is State.MEASURED for o in outcomes) else "–"


def _limit(run: Run, risk: Risk, worst: Curve | None) -> str:
    judged = limits.of_risk(run, risk)
    if not judged or judged[0].status == "not_applicable":
        return ""
    marks = worst.marks if worst else ()
    if marks and marks[0].status == judged[0].status:
        return marks[0].words
    return limits.words(judged[0])


def _headline(
    worst: Curve | None, findings: Sequence[Finding], outcomes: Sequence[Outcome]
) -> tuple[str, str]:
    if worst:
        return worst.exposure.headline, worst.exposure.target
    open_ = [f for f in findings if f.status != "accepted"]
    if open_:
        return open_[0].sentence, open_[0].target
    measured = sorted({o.check for o in outcomes if o.outcome is State.MEASURED})
    if measured:
        return f"no weakness found by {', '.join(measured)}", ""
    if not outcomes:
        return "not measured: no check of this risk was selected", ""
    reason = outcomes[0].reason or str(outcomes[0].outcome).replace("_", " ")
    return f"not measured: {reason}", outcomes[0].target
