"""Remedies: changes that lower a curve, applied and then measured again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crenel.check import Context, Risk, _installed

if TYPE_CHECKING:
    from crenel.finding import Finding
    from crenel.subject import Subject


@dataclass(frozen=True)
class Treatment:
    """What a remedy did.

    Attributes
    ----------
    subject : Subject
        The hardened subject, to be measured again.
    sentence : str
        What was changed and what it costs, with figures.
    values : dict
        Those figures by name: ``accuracy_before``, ``accuracy_after``, …
    model : object or None
        The hardened native model, to be written beside the old one.
    tables : dict of str to pandas.DataFrame
        Tables to be written, by file name without extension ("quarantine").
    """

    subject: Subject
    sentence: str
    values: dict[str, float]
    model: Any = None
    tables: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Remedy:
    """A change that lowers a curve.

    Attributes
    ----------
    id : str
        "quarantine-labels".
    risk : Risk
    title : str
    checks : tuple of str
        Measured again after it.
    needs : tuple of str
        Keys of `crenel.subject.CAPABILITIES`.
    apply : callable
        ``apply(subject, finding, context) -> Treatment``.
    """

    id: str
    risk: Risk
    title: str
    checks: tuple[str, ...]
    needs: tuple[str, ...]
    apply: Callable[[Subject, Finding, Context], Treatment]


def remedy(
    id: str, *, risk: Risk, title: str, checks: tuple[str, ...], needs: tuple[str, ...]
) -> Callable[[Callable[[Subject, Finding, Context], Treatment]], Remedy]:
    """Make a `Remedy` of a function ``(subject, finding, context) -> Treatment``."""

    def decorate(apply: Callable[[Subject, Finding, Context], Treatment]) -> Remedy:
        return Remedy(id, risk, title, checks, needs, apply)

    return decorate


def load_remedies() -> dict[str, Remedy]:
    """Every installed remedy by id, from the entry points ``crenel.remedies``."""
    return {r.id: r for r in sorted(_installed("crenel.remedies", Remedy), key=lambda r: r.id)}
