"""Runs as they are in the store, finished or not."""

from __future__ import annotations

from crenel.auditor.job import Job
from crenel.policy import default_policy
from crenel.run import Run, TargetPart, TargetRecord
from crenel.store import Store


def stored_run(store: Store, run_id: str) -> Run:
    """The record of a run, made of its finished results where it was killed before its end."""
    record = store.record(run_id)
    if record is not None:
        return record
    results = store.results(run_id)
    text = store.job(run_id)
    policy = Job.model_validate_json(text).policy if text else default_policy()
    names = list(dict.fromkeys(r.outcome.target for r in results))
    return Run.judged(
        run=store.info(run_id).model_copy(update={"status": "interrupted"}),
        target=TargetRecord(name=", ".join(names), parts=tuple(TargetPart(name=n) for n in names)),
        outcomes=tuple(r.outcome for r in results),
        exposures=tuple(e for r in results for e in r.exposures),
        findings=tuple(f for r in results for f in r.findings),
        policy=policy,
    )
