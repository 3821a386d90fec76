"""Apply remedies to a run's findings and measure again: before and after in one run."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from crenel.auditor.audit import SCAN, Event, Listener, declarative, now, workplace
from crenel.auditor.execute import Result
from crenel.auditor.isolation import Worker
from crenel.auditor.job import Applied, Job
from crenel.auditor.versions import versions
from crenel.auditor.workplace import Treated, Workplace
from crenel.check import load_checks
from crenel.errors import SubjectError, UsageError
from crenel.finding import Finding
from crenel.policy import Policy
from crenel.run import Run, RunInfo, State, TargetRecord
from crenel.store import Store

#: The remedy that applies a reviewer's decisions.
REVIEW = "apply-review"


def choose(run: Run, fingerprint: str | None) -> Finding:
    """The finding to treat: the one named, or the one whose fix gains most.

    Raises
    ------
    UsageError
        Where it does not exist, or there is no remedy for it.
    SubjectError
        Where no finding of the run has a remedy.
    """
    treatable = [f for f in run.findings if f.remedies and f.status != "accepted"]
    if fingerprint is None:
        if not treatable:
            raise SubjectError(f"no finding of run {run.run.id} has a remedy that can be applied")
        return max(treatable, key=lambda f: f.gain)
    named = [f for f in run.findings if f.fingerprint == fingerprint]
    if not named:
        raise UsageError(f"run {run.run.id} has no finding {fingerprint}")
    if not named[0].remedies:
        raise UsageError(f"there is no remedy yet for {fingerprint}: {named[0].fix}")
    return named[0]


def reviewed(finding: Finding, path: Path) -> Finding:
    """The finding with a reviewer's decisions among its evidence, which is what is kept of them.

    Raises
    ------
    UsageError
        Where the table cannot be read, or no remedy of the finding makes one.
    """
    from crenel.poisoning.labels.reviewing import read_decisions

    if not any(r.startswith("quarantine-") for r in finding.remedies):
        raise UsageError(
            f"{finding.fingerprint} is about no training records; name with --finding "
            "the one that the table belongs to"
        )
    lines = [[d.record, d.decision, d.given, d.label] for d in read_decisions(path)]
    values = {**finding.evidence.values, "review": lines}
    evidence = finding.evidence.model_copy(update={"values": values})
    return finding.model_copy(update={"evidence": evidence})


def limited(finding: Finding, policy: Policy) -> Finding:
    """The finding with the policy's limits on its check, budgets and harms, for the remedy."""
    limits = [
        [limit.budget, limit.harm]
        for limit in policy.limits
        if limit.harm is not None and not limit.series and fnmatch(finding.check, limit.check)
    ]
    if not limits:
        return finding
    values = {**finding.evidence.values, "limits": limits}
    evidence = finding.evidence.model_copy(update={"values": values})
    return finding.model_copy(update={"evidence": evidence})


def harden(
    run: Run,
    job: Job,
    *,
    finding: Finding,
    remedy: str | None = None,
    everything: bool = False,
    review: Path | None = None,
    out: Path,
    store: Store | None = None,
    listener: Listener = lambda event: None,
    log: Path = Path("crenel-out/worker.log"),
) -> Run:
    """Treat one finding and measure again what the remedy claims to lower.

    Parameters
    ----------
    run : Run
        The earlier run.
    job : Job
        What it measured; its own treatments are applied first.
    finding : Finding
        Of that run.
    remedy : str or None
        Id; the finding's first remedy where it is None.
    everything : bool
        Measure all checks of the target again, not only those that the remedy claims to lower.
        Without it the verdict is at best incomplete: nobody knows what became of the others.
    review : Path or None
        A quarantine table with a person's decisions, which are applied in the remedy's place.
    out : Path
        Folder for the hardened model and the remedy's tables.

    Returns
    -------
    Run
        Its ``before`` holds the earlier curves; ``run.treatment`` says what was done.

    Raises
    ------
    UsageError
        Where the remedy does not belong to the finding.
    """
    if review is not None:
        chosen, finding = REVIEW, reviewed(finding, review)
    else:
        chosen = remedy or finding.remedies[0]
    if review is None and chosen not in finding.remedies:
        raise UsageError(
            f"{chosen} is no remedy for {finding.fingerprint}; "
            f"there is {', '.join(finding.remedies)}"
        )
    finding = limited(finding, job.policy)
    target = next(t for t in job.targets if t.name == finding.target)
    place = workplace(target, job, log)
    try:
        how = f"--remedy {chosen}" if review is None else f"--review {review}"
        treated, info = _treat(run, job, finding, chosen, how, place, out, listener)
        again = _again(run, treated, finding, everything)
        if store is not None:
            step = Applied(finding=finding, remedy=chosen)
            after = job.model_copy(update={"treatments": (*job.treatments, step)})
            kept = after.model_dump_json(exclude_unset=True) if declarative(target) else ""
            store.begin(info, name=f"{finding.target}, hardened", job=kept)
        listener(Event("plan", tasks=len(again)))
        results = _measure(run, job, finding, again, info, place, store, listener)
        hardened = _conclude(run, job, finding, treated, info, results)
        if store is not None:
            store.end(hardened)
        return hardened
    finally:
        if isinstance(place, Worker):
            place.close()


def _treat(
    run: Run,
    job: Job,
    finding: Finding,
    remedy: str,
    how: str,
    place: Worker | Workplace,
    out: Path,
    listener: Listener,
) -> tuple[Treated, RunInfo]:
    listener(Event("load", finding.target))
    place.load()
    for earlier in job.treatments:  # a hardened run is hardened further from where it stood
        place.treat(
            earlier.remedy, earlier.finding, out=out, seed=run.run.seed, jobs=job.settings.jobs
        )
    listener(Event("start", finding.target, remedy))
    treated = place.treat(remedy, finding, out=out, seed=run.run.seed, jobs=job.settings.jobs)
    info = RunInfo(
        id=secrets.token_hex(6),
        created=now(),
        seed=run.run.seed,
        command=f"crenel harden {run.run.id} --finding {finding.fingerprint} {how}",
        versions=versions(),
        digests=run.run.digests,
        before=run.run.id,
    )
    return treated, info


def _again(run: Run, treated: Treated, finding: Finding, everything: bool) -> list[str]:
    order = list(load_checks())
    again = {finding.check, *treated.checks}
    if everything:
        # The files are those of the audited model: their scan says nothing of the hardened one.
        again |= {o.check for o in run.outcomes if o.target == finding.target} - {SCAN}
    return sorted(again, key=order.index)


def _measure(
    run: Run,
    job: Job,
    finding: Finding,
    again: Sequence[str],
    info: RunInfo,
    place: Worker | Workplace,
    store: Store | None,
    listener: Listener,
) -> list[Result]:
    results = []
    earlier = {o.check: o.seconds for o in run.outcomes if o.target == finding.target}
    for check in again:
        listener(Event("start", finding.target, check))
        # At least as much time as the first measurement had, so that the two can be compared.
        result = place.measure(
            check,
            seed=run.run.seed,
            seconds=max(60.0, 2 * earlier.get(check, 0.0)),
            jobs=job.settings.jobs,
            level=job.settings.level,
            progress=lambda share: None,
        )
        results.append(result)
        if store is not None:
            store.add(info.id, result)
        listener(Event("done", finding.target, check, 1.0, result=result))
    return results


def _conclude(
    run: Run, job: Job, finding: Finding, treated: Treated, info: RunInfo, results: list[Result]
) -> Run:
    again = {r.outcome.check for r in results}
    left = [
        o.model_copy(
            update={
                "outcome": State.NOT_RUN,
                "reason": "the remedy does not aim at it; crenel harden --all measures it again",
                "seconds": 0.0,
                "notes": (),
            }
        )
        for o in run.outcomes
        if o.target == finding.target
        and o.check not in again
        and o.outcome is not State.NOT_APPLICABLE
    ]
    findings = tuple(f for r in results for f in r.findings)
    return Run.judged(
        run=info.model_copy(
            update={
                "status": "complete",
                "finished": now(),
                "seconds": sum(r.outcome.seconds for r in results),
                "treatment": _record(treated, finding, results),
            }
        ),
        target=TargetRecord(name=f"{finding.target}, hardened", parts=(treated.loaded.part,)),
        outcomes=(*(r.outcome for r in results), *left),
        exposures=tuple(e for r in results for e in r.exposures),
        findings=findings,
        policy=job.policy,
        before=tuple(e for e in run.exposures if e.target == finding.target and e.check in again),
    )


def _record(treated: Treated, finding: Finding, results: Sequence[Result]) -> dict[str, Any]:
    """What was done, and what became of the finding."""
    return {
        **treated.model_dump(mode="json", exclude={"loaded", "checks"}),
        "finding": finding.sentence,
        "result": f"before: {finding.sentence.rstrip('.')}; now: {_fate(finding, results)}",
    }


def _fate(finding: Finding, results: Sequence[Result]) -> str:
    """The finding as it was measured again; silence is only good news where the check measured."""
    same = [f for r in results for f in r.findings if f.fingerprint == finding.fingerprint]
    if same:
        return same[0].sentence
    own = [r.outcome for r in results if r.outcome.check == finding.check]
    if own and own[0].outcome is State.MEASURED:
        return "gone"
    return "not measured" + (f" ({own[0].reason})" if own and own[0].reason else "")
