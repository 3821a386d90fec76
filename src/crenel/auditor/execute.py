"""Run one check on one subject, and turn whatever happens into an outcome."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from crenel.check import Check, Context, Level, Measurement
from crenel.errors import CrenelError, Inconclusive, MissingExtra, NotApplicable
from crenel.exposure import Exposure, Frozen
from crenel.finding import Finding
from crenel.run import Outcome, State
from crenel.subject import Subject

log = logging.getLogger("crenel")


class Result(Frozen):
    """How one check ended, and what it measured.

    Parameters
    ----------
    outcome : Outcome
    exposures : tuple of Exposure
    findings : tuple of Finding
    """

    outcome: Outcome
    exposures: tuple[Exposure, ...] = ()
    findings: tuple[Finding, ...] = ()


def outcome_of(
    check: Check, target: str, state: State, reason: str = "", seconds: float = 0.0
) -> Result:
    """A result without a measurement."""
    return Result(
        outcome=Outcome(
            check=check.id,
            risk=check.risk,
            title=check.title,
            target=target,
            outcome=state,
            reason=reason,
            seconds=seconds,
        )
    )


def execute(
    check: Check,
    subject: Subject,
    *,
    seed: int = 0,
    seconds: float | None = None,
    jobs: int = 2,
    progress: Callable[[float], None] = lambda share: None,
    level: Level = "standard",
) -> Result:
    """Measure one subject with one check.

    Parameters
    ----------
    check : Check
    subject : Subject
    seed : int
        Of the run; the check derives its own.
    seconds : float or None
        Time allotted; the check returns what it has by then.
    jobs : int
        Threads at most.
    progress : callable
        Takes the share done.
    level : {"quick", "standard", "deep"}
        How hard attacks try.

    Returns
    -------
    Result
        Never raises on account of the check: a crash is an outcome, with its reason.
    """
    started = time.monotonic()

    def ended(state: State, reason: str) -> Result:
        return outcome_of(check, subject.name, state, reason, time.monotonic() - started)

    lacking = list(subject.lacks(check.needs))
    if lacking:
        return ended(State.NOT_APPLICABLE, "; ".join(lacking))
    deadline = None if seconds is None else started + seconds
    context = Context(check.id, seed, deadline, jobs, progress, level=level)
    try:
        measurement = check.measure(subject, context)
        return _accept(check, subject, measurement, time.monotonic() - started)
    except NotApplicable as reason:
        return ended(State.NOT_APPLICABLE, str(reason))
    except Inconclusive as reason:
        return ended(State.INCONCLUSIVE, str(reason))
    except MissingExtra as reason:
        return ended(State.NOT_RUN, str(reason))
    except CrenelError as reason:
        return ended(State.ERROR, str(reason))
    except MemoryError:
        log.exception("%s on %s", check.id, subject.name)
        return ended(State.ERROR, "ran out of memory; give more with [audit] memory")
    except Exception as error:  # a check must never take the run down
        log.exception("%s on %s", check.id, subject.name)
        return ended(State.ERROR, one_line(error))


def _accept(check: Check, subject: Subject, measurement: Any, seconds: float) -> Result:
    if not isinstance(measurement, Measurement):
        raise TypeError(f"{check.id} returned {type(measurement).__name__}, not a Measurement")
    state = State.INCONCLUSIVE if measurement.partial else State.MEASURED
    outcome = outcome_of(check, subject.name, state, measurement.partial, seconds).outcome
    exposures = tuple(
        e.model_copy(update={"target": subject.name, "check": check.id, "risk": check.risk.value})
        for e in measurement.exposures
    )
    return Result(
        outcome=outcome.model_copy(update={"notes": measurement.notes}),
        exposures=exposures,
        findings=tuple(f.of(subject.name) for f in measurement.findings),
    )


def one_line(error: BaseException) -> str:
    """The type and first line of an error, at most 300 characters."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else 'no message'}"[:300]
