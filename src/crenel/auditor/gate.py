"""Judge a run again: another policy, another baseline, today's register."""

from __future__ import annotations

from collections.abc import Iterable

from crenel.finding import Finding
from crenel.policy import Policy
from crenel.register import Acceptance, mark
from crenel.run import Run


def rejudge(
    run: Run,
    *,
    policy: Policy | None = None,
    accepted: Iterable[Acceptance] = (),
    baseline: Iterable[Finding] | None = None,
) -> Run:
    """The same measurements under another policy.

    Parameters
    ----------
    run : Run
    policy : Policy or None
        The run's own limits where it is None.
    accepted : iterable of Acceptance
    baseline : iterable of Finding or None
        None: the statuses "known" of the run stay as they are.
    """
    own = Policy(
        name=run.policy.name, limits=tuple(dict.fromkeys(j.limit for j in run.policy.limits))
    )
    known = [f for f in run.findings if f.status == "known"] if baseline is None else baseline
    return Run.judged(
        run=run.run,
        target=run.target,
        outcomes=run.outcomes,
        exposures=run.exposures,
        findings=mark(run.findings, accepted, known),
        policy=policy or own,
        before=run.before,
    )
