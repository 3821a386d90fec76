"""The register of accepted risks, and matching against a baseline."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date

from crenel.exposure import Frozen
from crenel.finding import Finding, Severity


class Acceptance(Frozen):
    """A risk that somebody accepted.

    Parameters
    ----------
    fingerprint : str
        Of the finding.
    owner, reason : str
        Who accepts it, and why.
    until : date
        The last day on which it holds.
    severity : Severity or None
        Of the finding when it was accepted: a worse one is open again. None: any.
    """

    fingerprint: str
    owner: str
    reason: str
    until: date
    severity: Severity | None = None

    def covers(self, finding: Finding, day: date) -> bool:
        """Whether it holds for this finding on this day."""
        return (
            self.fingerprint == finding.fingerprint
            and self.until >= day
            and (self.severity is None or finding.severity.rank <= self.severity.rank)
        )


def mark(
    findings: Sequence[Finding],
    accepted: Iterable[Acceptance] = (),
    baseline: Iterable[Finding] = (),
    today: date | None = None,
) -> tuple[Finding, ...]:
    """Findings with their status: accepted, known from the baseline, or open.

    Each entry of the baseline absorbs one finding with its fingerprint, not any number of them,
    and none that is worse than it: what grew from low to critical is news.

    Parameters
    ----------
    findings : sequence of Finding
    accepted : iterable of Acceptance
        Expired ones do not count, nor those of a milder finding.
    baseline : iterable of Finding
    today : date or None
        For expiry; today where it is None.
    """
    day = today or date.today()
    register = list(accepted)
    known: dict[str, list[int]] = defaultdict(list)
    for entry in baseline:
        known[entry.fingerprint].append(entry.severity.rank)
    marked = []
    for finding in findings:
        status = "open"
        if any(a.covers(finding, day) for a in register):
            status = "accepted"
        elif finding.severity.rank <= max(known[finding.fingerprint], default=-1):
            known[finding.fingerprint].remove(max(known[finding.fingerprint]))
            status = "known"
        marked.append(finding.model_copy(update={"status": status}))
    return tuple(marked)
