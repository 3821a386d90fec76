"""The view model of a run: what every format shows, in the order in which it is read."""

from __future__ import annotations

from dataclasses import dataclass

from crenel.check import Risk
from crenel.finding import Finding, Severity
from crenel.policy import Judgement
from crenel.report import limits
from crenel.report.curves import Panel, panels
from crenel.report.risks import RiskView, risk_view
from crenel.report.words import count, interval, sentence
from crenel.run import Outcome, Run, State, TargetPart


@dataclass(frozen=True)
class Change:
    """One thing that would change the verdict.

    Attributes
    ----------
    status : str
        Of the limit: "fail", "incomplete" or "pass".
    text : str
    commands : tuple of str
    """

    status: str
    text: str
    commands: tuple[str, ...] = ()


@dataclass(frozen=True)
class View:
    """What is shown of a run.

    Attributes
    ----------
    verdict, sentence : str
    changes : tuple of Change
        What would change the verdict; for a pass, what comes nearest to changing it.
    judged : tuple of Change
        Every limit, in the order of the policy.
    risks : tuple of RiskView
        All five, in order, measured or not.
    findings : tuple of Finding
        Open ones first, by what fixing them gains, then by severity.
    unmeasured : tuple of Outcome
        Every check that did not measure, with its reason.
    """

    run: Run
    verdict: str
    sentence: str
    changes: tuple[Change, ...]
    judged: tuple[Change, ...]
    targets: tuple[TargetPart, ...]
    risks: tuple[RiskView, ...]
    panels: tuple[Panel, ...]
    findings: tuple[Finding, ...]
    unmeasured: tuple[Outcome, ...]

    @property
    def several(self) -> bool:
        """Whether there is more than one target, so that each thing must name its own."""
        return len(self.targets) > 1

    @property
    def next(self) -> str:
        """The command to run next; empty where there is nothing to mend."""
        commands = [c for change in self.changes for c in change.commands]
        return commands[0] if commands else next(iter(map(self.command, self._mendable())), "")

    def _mendable(self) -> list[Finding]:
        return [f for f in self.findings if f.remedies and f.status == "open"]

    def command(self, finding: Finding) -> str:
        """The command that applies a finding's remedy and measures again."""
        return f"crenel harden {self.run.run.id} --finding {finding.fingerprint}"


def view(run: Run) -> View:
    """The view model of a run."""
    drawn = panels(run)
    findings = tuple(
        sorted(run.findings, key=lambda f: (f.status == "accepted", -f.gain, -f.severity.rank))
    )
    return View(
        run=run,
        verdict=run.verdict.value,
        sentence=sentence(run.policy.sentence),
        changes=tuple(_changes(run, findings)),
        judged=tuple(_change(run, j, findings) for j in run.policy.limits),
        targets=run.target.parts,
        risks=tuple(risk_view(run, risk, drawn) for risk in Risk),
        panels=drawn,
        findings=findings,
        unmeasured=tuple(o for o in run.outcomes if o.outcome is not State.MEASURED),
    )


def _changes(run: Run, findings: tuple[Finding, ...]) -> list[Change]:
    judged = sorted(run.policy.limits, key=lambda j: limits.ORDER.index(j.status))
    wanted = [j for j in judged if j.status in ("fail", "incomplete")]
    if not wanted:
        wanted = sorted((j for j in judged if j.status == "pass"), key=_room)[:1]
    changes = [_change(run, j, findings) for j in wanted]
    told = " ".join(c.text for c in changes)
    for o in run.outcomes:
        if o.outcome in (State.ERROR, State.NOT_RUN) and f"{o.check} " not in told:
            where = f" on {o.target}" if o.target else ""
            text = f"{o.check} {_state(o)}{where}: {o.reason}"
            changes.append(Change("incomplete", sentence(text)))
    return changes


def _state(outcome: Outcome) -> str:
    return str(outcome.outcome).replace("_", " ")


def _room(j: Judgement) -> float:
    if j.limit.harm is None or j.high is None:
        return float("inf")
    return j.limit.harm - j.high


def _change(run: Run, j: Judgement, findings: tuple[Finding, ...]) -> Change:
    if j.limit.findings is not None:
        own = limits.counted(run, j)
        worse = "" if j.limit.severity is Severity.CRITICAL else " or worse"
        kind = f"{j.limit.severity}{worse} " if j.limit.severity else ""
        few = count(len(own), f"{kind}finding", f"{kind}findings")
        subjects = ": " + "; ".join(f.subject for f in own[:3]) if own else ""
        text = f"{few.capitalize()}, {j.limit.findings} allowed{subjects}."
        text += f" {sentence(j.sentence)}" if j.status == "incomplete" else ""
    else:
        exposure = next((e for e in run.exposures if j in limits.of_exposure(run, e)), None)
        checks = {exposure.check} if exposure else set()
        own = tuple(f for f in findings if f.check in checks and f.target == j.target)
        text = sentence(j.sentence)
        if exposure is not None and None not in (j.value, j.low, j.high):
            assert j.value is not None
            assert j.low is not None
            assert j.high is not None
            found = interval(j.value, j.low, j.high, exposure.harm.unit)
            where = f" on {j.target}" if j.target else ""
            series = f" ({exposure.series})" if exposure.series else ""
            text = (
                f"{exposure.check}{series}{where}: {exposure.harm.name} {found}, "
                f"{limits.words(j, exposure)}.{_needed(j)}"
            )
        else:
            where = f" on {j.target}" if j.target else ""
            own_words = j.sentence.removeprefix(f"{j.limit.check} ")
            text = sentence(f"{j.limit.check}{where}: {own_words}")
    commands = [
        f"crenel harden {run.run.id} --finding {f.fingerprint}"
        for f in own
        if f.remedies and f.status == "open"
    ]
    return Change(j.status, text, tuple(commands[:1]))


def _needed(j: Judgement) -> str:
    if j.status == "fail":
        return " Lower the curve below the limit."
    if j.status == "pass":
        return ""
    assert j.limit.harm is not None
    if j.high is not None and j.high > j.limit.harm:
        return " The interval straddles the limit: measure more."
    return " The attack was not healthy, so this is a lower bound only: see its tests."


def headline_counts(v: View) -> str:
    """One line that counts: ``3 findings, 2 checks not measured``."""
    parts = [count(len(v.findings), "finding")]
    if v.unmeasured:
        parts.append(f"{count(len(v.unmeasured), 'check')} not measured")
    return ", ".join(parts)
