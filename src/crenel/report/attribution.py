"""Which public references belong to the checks of a run."""

from __future__ import annotations

from dataclasses import dataclass

from crenel.check import load_checks
from crenel.errors import UsageError
from crenel.references import Reference, lookup, of_risk
from crenel.run import Run


@dataclass(frozen=True)
class Attribution:
    """References of a check, or of its risk where the check itself is not installed here.

    Attributes
    ----------
    references : tuple of Reference
    own : bool
        Whether they are the check's own rather than its risk's.
    """

    references: tuple[Reference, ...]
    own: bool


def references_of(run: Run) -> dict[str, Attribution]:
    """References of every check of the run, by check id.

    A report may be rendered where the check that measured is not installed, or names a
    reference that this crosswalk lacks; the references of its risk then stand in.
    """
    declared = _declared()
    found: dict[str, Attribution] = {}
    for o in run.outcomes:
        if o.check in found:
            continue
        try:
            own = tuple(lookup(key) for key in declared[o.check])
            found[o.check] = Attribution(own, own=True)
        except (KeyError, UsageError):
            found[o.check] = Attribution(_of_risk(o.risk), own=False)
    return found


def _of_risk(risk: str) -> tuple[Reference, ...]:
    try:
        return of_risk(risk)
    except UsageError:
        # A plug-in may measure a risk of its own, which no framework names.
        return ()


def _declared() -> dict[str, tuple[str, ...]]:
    try:
        return {check.id: check.references for check in load_checks().values()}
    except (ImportError, UsageError):
        # A broken plug-in must not cost the report; its page then shows the risk's references.
        return {}
