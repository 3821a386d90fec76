"""Checks: one measurement each, found by entry point, with two controls that prove it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from crenel.access import Access
from crenel.exposure import Exposure
from crenel.finding import Finding
from crenel.statistics import derive_seed

if TYPE_CHECKING:
    from crenel.subject import Subject

T = TypeVar("T")
R = TypeVar("R")
#: How hard an attack tries.
Level = Literal["quick", "standard", "deep"]


class Risk(StrEnum):
    """The five risks, in the order of reports."""

    EVASION = "evasion"
    POISONING = "poisoning"
    ONLINE = "online"
    TRANSFER = "transfer"
    CONFIDENTIALITY = "confidentiality"


@dataclass(frozen=True)
class Measurement:
    """What a check measured.

    Attributes
    ----------
    exposures : tuple of Exposure
    findings : tuple of Finding
    notes : tuple of str
        Sentences about what was left out or assumed; shown with the check.
    partial : str
        Why silence about the rest means nothing: part of the subject was not looked at. What was
        found is kept, and the check ends inconclusive for this reason.
    """

    exposures: tuple[Exposure, ...] = ()
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    partial: str = ""


@dataclass(frozen=True)
class Cost:
    """What a check costs, so that a plan can be made within a time.

    Attributes
    ----------
    seconds : float
        Fixed part, on two cores.
    queries : int
        Model queries (rows).
    fits : float
        Trainings of the user's model.
    least : float
        Share of the whole cost below which the check has no answer at all, in (0, 1].
    sample : int
        Training rows that each of these trainings is done on at most; 0: all there are.
    whole : float
        Trainings on all training rows beside those.
    """

    seconds: float = 1.0
    queries: int = 0
    fits: float = 0.0
    least: float = 0.3
    sample: int = 0
    whole: float = 0.0

    def estimate(
        self, query_seconds: float, fit_seconds: float, rows: int = 0, fit_fixed: float = 0.0
    ) -> float:
        """Seconds on a model with these measured speeds (seconds a row, seconds a training).

        A training of ``fit_seconds`` is one on so many ``rows``; ``fit_fixed`` of them do not
        grow with the rows.
        """
        part = self.sample / rows if 0 < self.sample < rows else 1.0
        sampled = fit_fixed + part * (fit_seconds - fit_fixed)
        fits = self.fits * sampled + self.whole * fit_seconds
        return self.seconds + self.queries * query_seconds + fits


@dataclass
class Context:
    """What a running check is handed beside its subject; nothing of it is global.

    Attributes
    ----------
    check : str
        Its id.
    seed : int
        Of the run.
    deadline : float or None
        On `time.monotonic`'s clock; a check returns what it has by then.
    jobs : int
        Worker threads at most.
    progress : callable
        Takes the share done, in [0, 1].
    level : {"quick", "standard", "deep"}
        How hard attacks try.
    """

    check: str
    seed: int = 0
    deadline: float | None = None
    jobs: int = 2
    progress: Callable[[float], None] = field(default=lambda share: None)
    started: float = field(default_factory=time.monotonic)
    level: Level = "standard"

    def rng(self, *shard: object) -> np.random.Generator:
        """A generator for one shard of this check's work."""
        return np.random.default_rng(self.derive_seed(*shard))

    def derive_seed(self, *shard: object) -> int:
        """A seed for one shard of this check's work, in [0, 2**32)."""
        return derive_seed(self.seed, self.check, *shard)

    def time_left(self) -> float:
        """Seconds until the deadline; infinite without one, never negative."""
        if self.deadline is None:
            return float("inf")
        return max(0.0, self.deadline - time.monotonic())

    @property
    def expired(self) -> bool:
        """Whether the deadline has passed."""
        return self.time_left() <= 0

    @contextmanager
    def untimed(self) -> Iterator[None]:
        """Move the deadline by what is done inside: work of a first use, not of measuring."""
        started = time.monotonic()
        yield
        if self.deadline is not None:
            self.deadline += time.monotonic() - started

    @property
    def elapsed(self) -> float:
        """Seconds since the check began."""
        return time.monotonic() - self.started

    def map(self, function: Callable[[T], R], tasks: Iterable[T], share: bool = True) -> list[R]:
        """Results of the tasks in order, over threads, until the deadline: maybe fewer.

        Parameters
        ----------
        function : callable
            Of one task. Seeds must come from the task, so that any engine gives the same figures.
        tasks : iterable
            In order of importance; those not begun by the deadline are left out. The first one
            is always done.
        share : bool
            Whether to report progress as the share of tasks done.
        """
        from joblib import Parallel, delayed

        work = list(tasks)
        results: list[R] = []

        def guarded(position: int, task: T) -> tuple[bool, R | None]:
            if position and self.expired:
                return False, None
            return True, function(task)

        stream = Parallel(n_jobs=self.jobs, prefer="threads", return_as="generator")(
            delayed(guarded)(i, task) for i, task in enumerate(work)
        )
        for i, (done, result) in enumerate(stream):
            if not done:
                break
            results.append(result)
            if share:
                self.progress((i + 1) / len(work))
        return results


@dataclass(frozen=True)
class Controls:
    """The two subjects that prove a check.

    Attributes
    ----------
    weak : callable
        Makes a subject with a planted weakness; the check must report a finding on it.
    sound : callable
        Makes a sound subject; the check must measure it and report no finding.
    """

    weak: Callable[[], Subject]
    sound: Callable[[], Subject]


@dataclass(frozen=True)
class Check:
    """One measurement. Made by the decorator `check`; call ``measure``.

    Attributes
    ----------
    id : str
        "EVA-101".
    risk : Risk
    title, question : str
        A few words; the question that the measurement answers.
    measure : callable
        ``measure(subject, context) -> Measurement``; its docstring is the page of `explain`.
    needs : tuple of str
        Keys of `crenel.subject.CAPABILITIES`.
    cost : Cost
    references : tuple of str
        Keys of the crosswalk in `crenel.references`.
    controls : Controls
    """

    id: str
    risk: Risk
    title: str
    question: str
    measure: Callable[[Subject, Context], Measurement]
    needs: tuple[str, ...]
    cost: Cost
    references: tuple[str, ...]
    controls: Controls

    @property
    def doc(self) -> str:
        """The docstring of the measurement, without a first line that repeats the question."""
        import inspect

        text = inspect.getdoc(self.measure) or ""
        first, _, rest = text.partition("\n")
        return rest.lstrip("\n") if first.rstrip(".") == self.question.rstrip("?") else text


def check(
    id: str,
    *,
    risk: Risk,
    title: str,
    question: str,
    needs: tuple[str, ...],
    cost: Cost,
    references: tuple[str, ...],
    controls: Controls,
) -> Callable[[Callable[[Subject, Context], Measurement]], Check]:
    """Make a `Check` of a function ``(subject, context) -> Measurement``.

    Returns
    -------
    callable
        The decorator; see `Check` for the parameters.
    """

    def decorate(measure: Callable[[Subject, Context], Measurement]) -> Check:
        return Check(id, risk, title, question, measure, needs, cost, references, controls)

    return decorate


def load_checks() -> dict[str, Check]:
    """Every installed check by id: ours and plug-ins', from the entry points ``crenel.checks``.

    Raises
    ------
    crenel.errors.UsageError
        Where two checks share an id.
    """
    return {c.id: c for c in sorted(_installed("crenel.checks", Check), key=lambda c: _order(c))}


def _order(c: Check) -> tuple[int, str]:
    return list(Risk).index(c.risk), c.id


def _installed(group: str, kind: type[Any]) -> list[Any]:
    from importlib.metadata import entry_points

    from crenel.errors import UsageError

    found: dict[str, Any] = {}
    for point in entry_points(group=group):
        try:
            module = point.load()
        except ImportError as error:
            raise UsageError(
                f"the plug-in {point.value} of {group} cannot be imported ({error}); "
                "mend or uninstall it"
            ) from error
        for value in vars(module).values():
            if isinstance(value, kind):
                if found.get(value.id, value) is not value:
                    raise UsageError(f"two plug-ins of {group} share the id {value.id}")
                found[value.id] = value
    return list(found.values())


def access_of(subject: Subject, **changes: Any) -> Access:
    """The target's access with some fields changed: what one check's attacker has."""
    return subject.access.model_copy(update=changes)
