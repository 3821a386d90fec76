"""The main job: bench the targets, plan, measure, judge; nothing finished is ever lost."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crenel.auditor.digests import digests_of
from crenel.auditor.execute import Result, outcome_of
from crenel.auditor.isolation import Worker
from crenel.auditor.job import Job
from crenel.auditor.plan import Task, allot, fit_in, select
from crenel.auditor.versions import versions
from crenel.auditor.workplace import Loaded, Workplace
from crenel.check import Check, load_checks
from crenel.errors import CrenelError, UsageError
from crenel.finding import Finding
from crenel.register import mark
from crenel.run import Run, RunInfo, State, TargetPart, TargetRecord
from crenel.store import Store
from crenel.target import Target

SCAN = "TRA-101"
#: Seconds below which a check goes before all that take longer.
QUICK = 3.0


@dataclass(frozen=True)
class Event:
    """Something happened; for progress displays.

    Attributes
    ----------
    kind : {"load", "plan", "start", "progress", "done"}
    target, check : str
    share : float
        Done of this check, in [0, 1].
    left : float or None
        Seconds planned for what is still to do.
    result : Result or None
        With "done".
    tasks : int
        With "plan": how many checks will run.
    """

    kind: str
    target: str = ""
    check: str = ""
    share: float = 0.0
    left: float | None = None
    result: Result | None = None
    tasks: int = 0


Listener = Callable[[Event], None]


@dataclass
class Bench:
    """One target with its workplace, and what loading it said."""

    target: Target
    place: Worker | Workplace
    loaded: Loaded | None = None
    refusal: str = ""
    part: TargetPart = field(init=False)

    def __post_init__(self) -> None:
        self.part = TargetPart(name=self.target.name)

    def close(self) -> None:
        """End the worker process, where there is one."""
        if isinstance(self.place, Worker):
            self.place.close()


def run_job(
    job: Job,
    *,
    store: Store | None = None,
    listener: Listener = lambda event: None,
    resume: str | None = None,
    log: Path = Path("crenel-out/worker.log"),
) -> Run:
    """Do an audit.

    Parameters
    ----------
    job : Job
    store : Store or None
        Keeps each result as soon as it is there.
    listener : callable
        Hears of progress.
    resume : str or None
        Id of an interrupted run of the same job, whose finished checks are not done again.
    log : Path
        Where workers' own output goes.

    Returns
    -------
    Run
        With status "interrupted" where Ctrl-C ended it.

    Raises
    ------
    UsageError
        Where the job itself is wrong, or the inputs changed since the run to be resumed.
    """
    checks = select(load_checks().values(), job.settings.checks, job.settings.risks)
    digests = digests_of(job)
    info, done = _open_run(job, digests, store, resume)
    benches = [Bench(t, workplace(t, job, log)) for t in job.targets]
    audit = _Audit(job, info, store, listener, done)
    try:
        audit.measure(benches, checks)
        status = "complete"
    except KeyboardInterrupt:
        status = "interrupted"
    finally:
        for bench in benches:
            bench.close()
    run = audit.conclude(benches, checks, status)
    if store is not None:
        store.end(run)
    return run


def workplace(target: Target, job: Job, log: Path) -> Worker | Workplace:
    """A worker process for a target that is named by files; in place for one of objects."""
    if declarative(target):
        return Worker(target, job.root, log, job.settings.memory, job.settings.jobs)
    return Workplace(target, job.root)


def declarative(target: Target) -> bool:
    """Whether a target names files and functions only, so that it can travel to a worker."""
    return _is_plain(target.model_dump(exclude_unset=True))


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_plain(v) for v in value.values())
    if isinstance(value, (list, tuple)):
        return all(_is_plain(v) for v in value)
    return value is None or isinstance(value, (str, int, float, bool, Path))


def _open_run(
    job: Job, digests: dict[str, str], store: Store | None, resume: str | None
) -> tuple[RunInfo, list[Result]]:
    if resume is None:
        info = RunInfo(
            id=secrets.token_hex(6),
            created=now(),
            seed=job.settings.seed,
            command=job.command,
            versions=versions(),
            digests=digests,
            time_limit=job.settings.time,
        )
        if store is not None:
            named = all(declarative(t) for t in job.targets)
            kept = job.model_dump_json(exclude_unset=True) if named else ""
            store.begin(info, name=job.name, job=kept)
        return info, []
    if store is None:
        raise UsageError("a run can only be resumed from a store")
    info = store.info(resume)
    changed = [name for name, digest in info.digests.items() if digests.get(name) != digest]
    if changed:
        raise UsageError(
            f"{', '.join(changed)} changed since run {resume}; start a new audit instead"
        )
    again = (State.ERROR, State.NOT_RUN)
    return info, [r for r in store.results(resume) if r.outcome.outcome not in again]


class _Audit:
    """The state of one audit while it runs."""

    def __init__(
        self,
        job: Job,
        info: RunInfo,
        store: Store | None,
        listener: Listener,
        done: Sequence[Result],
    ) -> None:
        self.job, self.info, self.store, self.listener = job, info, store, listener
        self.results = {(r.outcome.target, r.outcome.check): r for r in done}
        self.started = time.monotonic()

    def time_left(self) -> float | None:
        if self.job.settings.time is None:
            return None
        return max(0.0, self.job.settings.time - (time.monotonic() - self.started))

    def keep(self, result: Result) -> None:
        outcome = result.outcome
        self.results[outcome.target, outcome.check] = result
        if self.store is not None:
            self.store.add(self.info.id, result)
        self.listener(Event("done", outcome.target, outcome.check, 1.0, result=result))

    def measure(self, benches: Sequence[Bench], checks: Sequence[Check]) -> None:
        """Scan and load every target, plan over all of them, and measure."""
        self.started = time.monotonic()
        waiting: list[Task] = []
        for bench in benches:
            self._load(bench, checks)
            waiting += self._tasks(bench, checks)
        kept, left_out = fit_in(waiting, self.time_left())
        for task in left_out:
            self._leave_out(task)
        self.listener(Event("plan", left=sum(t.estimate for t in kept), tasks=len(kept)))
        places = {b.target.name: b.place for b in benches}
        # What takes no time comes first, so that a tight limit never costs an answer that is free.
        kept.sort(key=lambda t: min(t.estimate, QUICK))
        for i, task in enumerate(kept):
            self._run(task, kept[i + 1 :], places[task.target])

    def _load(self, bench: Bench, checks: Sequence[Check]) -> None:
        name = bench.target.name
        self.listener(Event("load", name))
        if any(c.id == SCAN for c in checks) and (name, SCAN) not in self.results:
            quiet = self._progress(name, SCAN, None)
            self.keep(bench.place.scan(seed=self.info.seed, progress=quiet))
        try:
            bench.loaded = bench.place.load()
            bench.part = bench.loaded.part
        except UsageError:
            raise
        except CrenelError as error:
            if error.exit_code == UsageError.exit_code:
                raise UsageError(str(error)) from error
            bench.refusal = str(error)
            self.listener(Event("refused", name, bench.refusal))

    def _tasks(self, bench: Bench, checks: Sequence[Check]) -> list[Task]:
        name, loaded, tasks = bench.target.name, bench.loaded, []
        for check in checks:
            if (name, check.id) in self.results:
                continue
            if loaded is None:
                self.keep(outcome_of(check, name, State.NOT_RUN, bench.refusal))
                continue
            lacking = _lacking(check, loaded)
            if lacking:
                self.keep(outcome_of(check, name, State.NOT_APPLICABLE, lacking))
            else:
                rows = loaded.part.train_rows or 0
                cost = check.cost.estimate(
                    loaded.query_seconds, loaded.fit_seconds, rows, loaded.fit_fixed
                )
                tasks.append(Task(check, name, cost))
        return tasks

    def _leave_out(self, task: Task) -> None:
        reason = (
            f"left out: it needs at least {task.least:.0f} s, and the time given "
            "does not stretch to it; give more with --time"
        )
        self.keep(outcome_of(task.check, task.target, State.NOT_RUN, reason))

    def _run(self, task: Task, waiting: Sequence[Task], place: Worker | Workplace) -> None:
        left = self.time_left()
        if left is not None and left < min(task.least, 1.0):
            self._leave_out(task)
            return
        planned = task.estimate + sum(t.estimate for t in waiting)
        self.listener(Event("start", task.target, task.check.id, left=planned))
        self.keep(
            place.measure(
                task.check.id,
                seed=self.info.seed,
                seconds=allot(task, waiting, left),
                jobs=self.job.settings.jobs,
                level=self.job.settings.level,
                progress=self._progress(task.target, task.check.id, planned),
            )
        )

    def _progress(self, target: str, check: str, left: float | None) -> Callable[[float], None]:
        return lambda share: self.listener(Event("progress", target, check, share, left))

    def conclude(self, benches: Sequence[Bench], checks: Sequence[Check], status: str) -> Run:
        """The judged run of whatever is there."""
        for bench in benches:
            for check in checks:
                name = bench.target.name
                if (name, check.id) not in self.results:
                    reason = f"interrupted; continue with: crenel audit --resume {self.info.id}"
                    self.keep(outcome_of(check, name, State.NOT_RUN, reason))
        order = [(b.target.name, c.id) for b in benches for c in checks]
        results = [self.results[key] for key in order]
        found = [f for r in results for f in r.findings]
        accepted = self.store.accepted() if self.store is not None else []
        run = Run.judged(
            run=self.info.model_copy(
                update={
                    "status": status,
                    "finished": now(),
                    "seconds": self.info.seconds + time.monotonic() - self.started,
                }
            ),
            target=TargetRecord(name=self.job.name, parts=tuple(b.part for b in benches)),
            outcomes=tuple(r.outcome for r in results),
            exposures=tuple(e for r in results for e in r.exposures),
            findings=mark(found, accepted, _baseline(self.job.settings.baseline, self.store)),
            policy=self.job.policy,
        )
        unselected = len(load_checks()) - len(checks)
        if not unselected:
            return run
        sentence = f"{run.policy.sentence}; {unselected} checks were not selected"
        return run.model_copy(
            update={"policy": run.policy.model_copy(update={"sentence": sentence})}
        )


def _lacking(check: Check, loaded: Loaded) -> str:
    from crenel.subject import CAPABILITIES

    return "; ".join(CAPABILITIES[n] for n in check.needs if n not in loaded.capabilities)


def _baseline(name: str, store: Store | None) -> tuple[Finding, ...]:
    if not name:
        return ()
    if store is None:
        raise UsageError("a baseline needs a store")
    record = store.record(store.find(name))
    return record.findings if record is not None else ()


def now() -> str:
    """The time, ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
