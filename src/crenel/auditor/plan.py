"""Which checks run, in what order, and how long each may take."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from crenel.check import Check
from crenel.errors import UsageError


@dataclass(frozen=True)
class Task:
    """One check on one target.

    Attributes
    ----------
    check : Check
    target : str
    estimate : float
        Seconds that it would like.
    """

    check: Check
    target: str
    estimate: float

    @property
    def least(self) -> float:
        """Seconds below which it has no answer."""
        return self.estimate * self.check.cost.least


def select(
    checks: Iterable[Check], patterns: Sequence[str] = ("*",), risks: Sequence[str] = ()
) -> list[Check]:
    """Checks whose id matches a pattern and whose risk is wanted.

    Raises
    ------
    UsageError
        Where a pattern or risk matches nothing.
    """
    pool = list(checks)
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(c.id, pattern.upper()) for c in pool):
            raise UsageError(f"no check matches {pattern!r}; see: crenel checks")
    known = {c.risk.value for c in pool}
    for risk in risks:
        if risk not in known:
            raise UsageError(f"no risk is called {risk!r}; risks are {', '.join(sorted(known))}")
    return [
        c
        for c in pool
        if any(fnmatch.fnmatchcase(c.id, p.upper()) for p in patterns)
        and (not risks or c.risk.value in risks)
    ]


def fit_in(tasks: Sequence[Task], seconds: float | None) -> tuple[list[Task], list[Task]]:
    """Split tasks into those that fit into the time and those to leave out.

    The costliest are left out first, but the last check of a risk only after all others.

    Parameters
    ----------
    tasks : sequence of Task
    seconds : float or None
        None: no limit.

    Returns
    -------
    tuple of list of Task
        Kept, left out; both in the order given.
    """
    kept = list(tasks)
    while seconds is not None and kept and sum(t.least for t in kept) > seconds:
        risks = [t.check.risk for t in kept]
        spare = [t for t in kept if risks.count(t.check.risk) > 1] or kept
        kept.remove(max(spare, key=lambda t: t.least))
    return kept, [t for t in tasks if t not in kept]


def allot(task: Task, waiting: Sequence[Task], seconds: float | None) -> float | None:
    """Seconds that a task may take of the time left: its share, or what the others leave.

    Parameters
    ----------
    task : Task
        About to start.
    waiting : sequence of Task
        Those that come after it.
    seconds : float or None
        Time left for all of them.
    """
    if seconds is None:
        return None
    others = sum(t.estimate for t in waiting)
    # Where there is more than all would like, none is cut short: what one leaves unused goes to
    # those after it.
    return max(task.least, seconds * task.estimate / (task.estimate + others), seconds - others)
