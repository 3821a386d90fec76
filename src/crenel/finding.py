"""A named, located weakness."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Any, Literal

from pydantic import model_validator

from crenel.access import EASE, Access
from crenel.exposure import Frozen


class Severity(StrEnum):
    """How bad, mildest first."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for low to 3 for critical."""
        return list(Severity).index(self)


#: Smallest score of each severity, worst first.
THRESHOLDS = (
    (0.4, Severity.CRITICAL),
    (0.15, Severity.HIGH),
    (0.05, Severity.MEDIUM),
    (0.01, Severity.LOW),
)


def severity(effect: float, access: Access, cheapness: float = 1.0) -> Severity | None:
    """Severity of a harm: effect × ease of access × cheapness, against fixed thresholds.

    Parameters
    ----------
    effect : float
        Harm above its baseline at the conservative (low) end of its interval, in [0, 1].
    access : Access
        The attacker; `crenel.access.EASE` says how easily that access is had.
    cheapness : float
        In (0, 1]: 1 where the budget is trifling, less where it is dear.

    Returns
    -------
    Severity or None
        ``critical`` from 0.4, ``high`` from 0.15, ``medium`` from 0.05, ``low`` from 0.01;
        None below that, where there is no finding.
    """
    score = max(0.0, effect) * EASE[access.attacker] * cheapness
    return next((level for least, level in THRESHOLDS if score >= least), None)


class Evidence(Frozen):
    """What shows the weakness, by reference: ids, names and digests, not raw rows.

    Parameters
    ----------
    rows : tuple of str or int
        Record ids, or row numbers where there are none.
    columns, files : tuple of str
    images : tuple of str
        ``data:image/png;base64,…``.
    values : dict
        Figures by name.
    """

    rows: tuple[str | int, ...] = ()
    columns: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    values: dict[str, Any] = {}


class Edit(Frozen):
    """One field of a row, before and after."""

    field: str
    before: str
    after: str


class Example(Frozen):
    """One example, shown as a person would read it.

    Parameters
    ----------
    title : str
        "row 4217: refused → granted, 118 queries".
    edits : tuple of Edit
        A row as the difference of its fields.
    images : tuple of str
        Data URIs: before, after, difference magnified.
    text : str
        Anything else, shown in fixed width.
    """

    title: str
    edits: tuple[Edit, ...] = ()
    images: tuple[str, ...] = ()
    text: str = ""


class Finding(Frozen):
    """A weakness, with what it rests on and what would lower it.

    Parameters
    ----------
    check, risk : str
    target : str
        Name of the target; filled in by the run.
    severity : Severity
    subject : str
        Canonical name of the weak place ("column capital-gain", "source branch-7", "row 17"):
        the fingerprint rests on it, so it never holds a measured number.
    sentence : str
        What is wrong, in the attacker's terms.
    attack, fix : str
        How an attacker does it; how to fix it.
    evidence : Evidence
    examples : tuple of Example
        At most three are shown.
    remedies : tuple of str
        Ids of remedies that `crenel harden` can apply.
    gain : float
        Harm in [0, 1] that a complete fix would take away; findings are ordered by it.
    fingerprint : str
        Computed: stable over runs.
    """

    check: str
    risk: str
    target: str = ""
    severity: Severity
    subject: str
    sentence: str
    attack: str = ""
    fix: str = ""
    evidence: Evidence = Evidence()
    examples: tuple[Example, ...] = ()
    remedies: tuple[str, ...] = ()
    gain: float = 0.0
    status: Literal["open", "accepted", "known"] = "open"
    fingerprint: str = ""

    @model_validator(mode="after")
    def _fingerprint(self) -> Finding:
        object.__setattr__(self, "fingerprint", fingerprint(self.check, self.target, self.subject))
        return self

    def of(self, target: str) -> Finding:
        """The same finding, belonging to a named target."""
        return Finding(**{**dict(self), "target": target})


def fingerprint(check: str, target: str, subject: str) -> str:
    """Stable name of a finding: check, target and canonical subject, never the number."""
    digest = hashlib.sha256("\x1f".join([check, target, subject]).encode()).hexdigest()
    return f"{check.split('-')[0].lower()}-{digest[:8]}"
