"""`crenel.audit`: the main job from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crenel.auditor.audit import Listener, run_job
from crenel.auditor.job import Job, Settings, read_job, seconds
from crenel.check import Level
from crenel.policy import Policy, default_policy
from crenel.run import Run
from crenel.target import Target

if TYPE_CHECKING:
    from crenel.store import Store


def audit(
    target: Target | Sequence[Target] | str | Path,
    *,
    time: str | float | None = "10m",
    seed: int = 0,
    checks: Sequence[str] = ("*",),
    risks: Sequence[str] = (),
    jobs: int = 2,
    level: Level = "standard",
    policy: Policy | None = None,
    store: Store | None = None,
    listener: Listener = lambda event: None,
) -> Run:
    """Measure how much harm an attacker could do to a model.

    Parameters
    ----------
    target : Target, sequence of Target, or path of a crenel.toml
        A target that holds objects is audited in place; one that names files is loaded in an
        isolated worker process. A file's own settings are used in place of the arguments below.
    time : str, float or None
        For all checks together: seconds, or "2m"; None: as long as it takes.
    seed : int
        Same seed, same figures.
    checks, risks : sequence of str
        Ids or patterns of checks; risks by name; all where empty.
    jobs : int
        Threads at most.
    level : {"quick", "standard", "deep"}
        How hard attacks try.
    policy : Policy or None
        Limits; the built-in ones where it is None.
    store : Store or None
        Where the run is kept; nowhere where it is None.
    listener : callable
        Hears of progress: `crenel.auditor.audit.Event`.

    Returns
    -------
    Run
        Outcomes, exposures, findings and the verdict.

    Raises
    ------
    crenel.errors.UsageError
        Where the target or an argument is wrong.
    """
    if isinstance(target, (str, Path)):
        return run_job(read_job(Path(target)), store=store, listener=listener)
    targets = (target,) if isinstance(target, Target) else tuple(target)
    job = Job(
        name=", ".join(t.name for t in targets),
        targets=targets,
        settings=Settings(
            time=None if time is None else seconds(time),
            seed=seed,
            checks=tuple(checks),
            risks=tuple(risks),
            jobs=jobs,
            level=level,
        ),
        policy=policy or default_policy(),
        root=Path.cwd(),
    )
    return run_job(job, store=store, listener=listener)
