"""Apply remedies to a run's findings and measure again: before and after in one run."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

from crenel.auditor.audit import Event, Listener, now, workplace
from crenel.auditor.isolation import Worker
from crenel.auditor.job import Job
from crenel.auditor.versions import versions
from crenel.auditor.workplace import Treated, Workplace
from crenel.check import load_checks
from crenel.errors import UsageError
from crenel.finding import Finding
from crenel.run import Run, RunInfo, TargetRecord
from crenel.store import Store


def choose(run: Run, fingerprint: str | None) -> Finding:
    """The finding to treat: the one named, or the one whose fix gains most.

    Raises
    ------
    UsageError
        Where there is none, or no remedy for it.
    """
    treatable = [f for f in run.findings if f.remedies and f.status != "accepted"]
    if fingerprint is None:
        if not treatable:
            raise UsageError(f"no finding of run {run.run.id} has a remedy that can be applied")
        return max(treatable, key=lambda f: f.gain)
    named = [f for f in run.findings if f.fingerprint == fingerprint]
    if not named:
        raise UsageError(f"run {run.run.id} has no finding {fingerprint}")
    if not named[0].remedies:
        raise UsageError(f"there is no remedy yet for {fingerprint}: {named[0].fix}")
    return named[0]


def harden(
    run: Run,
    job: Job,
    *,
    finding: Finding,
    remedy: str | None = None,
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
        What it measured.
    finding : Finding
        Of that run.
    remedy : str or None
        Id; the finding's first remedy where it is None.
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
    chosen = remedy or finding.remedies[0]
    if chosen not in finding.remedies:
        raise UsageError(
            f"{chosen} is no remedy for {finding.fingerprint}; "
            f"there is {', '.join(finding.remedies)}"
        )
    target = next(t for t in job.targets if t.name == finding.target)
    place = workplace(target, job, log)
    try:
        return _treat(run, job, finding, chosen, place, out, store, listener)
    finally:
        if isinstance(place, Worker):
            place.close()


def _treat(
    run: Run,
    job: Job,
    finding: Finding,
    remedy: str,
    place: Worker | Workplace,
    out: Path,
    store: Store | None,
    listener: Listener,
) -> Run:
    listener(Event("load", finding.target))
    place.load()
    listener(Event("start", finding.target, remedy))
    treated = place.treat(remedy, finding, out=out, seed=run.run.seed, jobs=job.settings.jobs)
    info = RunInfo(
        id=secrets.token_hex(6),
        created=now(),
        seed=run.run.seed,
        command=f"crenel harden {run.run.id} --finding {finding.fingerprint} --remedy {remedy}",
        versions=versions(),
        digests=run.run.digests,
        before=run.run.id,
        treatment=treated.model_dump(mode="json", exclude={"loaded", "checks"}),
    )
    if store is not None:
        store.begin(info, name=f"{job.name}, hardened", job="")
    listener(Event("plan", tasks=len(_again(treated, finding))))
    return _measure_again(run, job, finding, treated, info, place, store, listener)


def _again(treated: Treated, finding: Finding) -> Sequence[str]:
    order = list(load_checks())
    return sorted({finding.check, *treated.checks}, key=order.index)


def _measure_again(
    run: Run,
    job: Job,
    finding: Finding,
    treated: Treated,
    info: RunInfo,
    place: Worker | Workplace,
    store: Store | None,
    listener: Listener,
) -> Run:
    from time import monotonic

    started = monotonic()
    results = []
    again = _again(treated, finding)
    earlier = {o.check: o.seconds for o in run.outcomes if o.target == finding.target}
    for check in again:
        listener(Event("start", finding.target, check))
        # As much time as the first measurement had, so that the two can be compared.
        result = place.measure(
            check,
            seed=run.run.seed,
            seconds=max(60.0, 2 * earlier.get(check, 0.0)),
            jobs=job.settings.jobs,
            progress=lambda share: None,
        )
        results.append(result)
        if store is not None:
            store.add(info.id, result)
        listener(Event("done", finding.target, check, 1.0, result=result))
    hardened = Run.judged(
        run=info.model_copy(
            update={"status": "complete", "finished": now(), "seconds": monotonic() - started}
        ),
        target=TargetRecord(name=f"{finding.target}, hardened", parts=(treated.loaded.part,)),
        outcomes=tuple(r.outcome for r in results),
        exposures=tuple(e for r in results for e in r.exposures),
        findings=tuple(f for r in results for f in r.findings),
        policy=job.policy,
        before=tuple(e for e in run.exposures if e.target == finding.target and e.check in again),
    )
    if store is not None:
        store.end(hardened)
    return hardened
