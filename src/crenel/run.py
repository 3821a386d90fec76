"""The immutable record of one audit; ``report.json`` is this record."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from crenel.exposure import Exposure, Frozen
from crenel.finding import Finding
from crenel.policy import Judgement, Policy, Verdict

#: Version of the layout of report.json: the first number changes when a reader would break.
SCHEMA_VERSION = "1.0"


class State(StrEnum):
    """How a check ended."""

    MEASURED = "measured"
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "not_applicable"
    NOT_RUN = "not_run"
    ERROR = "error"


class Outcome(Frozen):
    """How one check ended on one target, with the reason wherever it did not measure.

    Parameters
    ----------
    check, risk, title : str
    target : str
    outcome : State
    reason : str
        Empty only where measured.
    seconds : float
    notes : tuple of str
        What the check left out or assumed.
    """

    check: str
    risk: str
    title: str = ""
    target: str = ""
    outcome: State
    reason: str = ""
    seconds: float = 0.0
    notes: tuple[str, ...] = ()


class TargetPart(Frozen):
    """One audited target, described: no rows of it.

    Parameters
    ----------
    name : str
    model, framework, task : str
        "HistGradientBoostingClassifier in a Pipeline", "sklearn", "classification".
    classes : tuple of str
    train_rows, test_rows : int or None
    columns : tuple of dict
        The schema's features.
    access : dict
        The attacker, and ``sentence``.
    accuracy : float or None
        On the test data (R² for regression).
    notes : tuple of str
        What loading assumed.
    """

    name: str
    model: str = ""
    framework: str = ""
    task: str = ""
    classes: tuple[str, ...] = ()
    train_rows: int | None = None
    test_rows: int | None = None
    columns: tuple[dict[str, Any], ...] = ()
    access: dict[str, Any] = {}
    accuracy: float | None = None
    notes: tuple[str, ...] = ()


class TargetRecord(Frozen):
    """What was audited: one or several targets of one configuration."""

    name: str
    parts: tuple[TargetPart, ...] = ()


class RunInfo(Frozen):
    """Who measured what, when, with which versions, and how to do it again.

    Parameters
    ----------
    id : str
        Twelve hexadecimal digits.
    status : {"complete", "interrupted", "running"}
    created, finished : str
        ISO 8601, UTC.
    seconds : float
        Of work, over all sittings of a resumed run.
    seed : int
    command : str
        The line that measures it again.
    versions : dict of str to str
    digests : dict of str to str
        ``sha256:…`` of every input, by name.
    before : str or None
        Id of the run that this one is compared with.
    treatment : dict or None
        The remedy applied since that run: id, title, sentence, values, files.
    """

    id: str
    status: Literal["complete", "interrupted", "running"] = "running"
    created: str
    finished: str = ""
    seconds: float = 0.0
    seed: int = 0
    command: str = ""
    versions: dict[str, str] = {}
    digests: dict[str, str] = {}
    time_limit: float | None = None
    before: str | None = None
    treatment: dict[str, Any] | None = None


class PolicyRecord(Frozen):
    """The policy and how each of its limits was judged.

    Parameters
    ----------
    name : str
    limits : tuple of Judgement
    sentence : str
        The verdict in words, and what would change it.
    """

    name: str
    limits: tuple[Judgement, ...]
    sentence: str


class Run(Frozen):
    """The record of one audit.

    Parameters
    ----------
    schema_version : str
    run : RunInfo
    target : TargetRecord
    outcomes, exposures, findings : tuple
    policy : PolicyRecord
    verdict : Verdict
    before : tuple of Exposure
        The curves of the earlier run that these are compared with, empty where there is none.
    """

    schema_version: str = SCHEMA_VERSION
    run: RunInfo
    target: TargetRecord
    outcomes: tuple[Outcome, ...] = ()
    exposures: tuple[Exposure, ...] = ()
    findings: tuple[Finding, ...] = ()
    policy: PolicyRecord
    verdict: Verdict
    before: tuple[Exposure, ...] = ()

    @classmethod
    def judged(
        cls,
        *,
        run: RunInfo,
        target: TargetRecord,
        outcomes: tuple[Outcome, ...],
        exposures: tuple[Exposure, ...],
        findings: tuple[Finding, ...],
        policy: Policy,
        before: tuple[Exposure, ...] = (),
    ) -> Run:
        """A run with the verdict of a policy on what it measured."""
        from crenel.policy import judge

        limits, verdict, sentence = judge(policy, outcomes, exposures, findings)
        if run.status != "complete" and verdict is Verdict.PASS:
            verdict, sentence = Verdict.INCOMPLETE, "incomplete: the run was interrupted"
        return cls(
            run=run,
            target=target,
            outcomes=outcomes,
            exposures=exposures,
            findings=tuple(sorted(findings, key=lambda f: (-f.gain, -f.severity.rank))),
            policy=PolicyRecord(name=policy.name, limits=limits, sentence=sentence),
            verdict=verdict,
            before=before,
        )

    def _repr_html_(self) -> str:
        from crenel.report.html import embed

        return embed(self)
