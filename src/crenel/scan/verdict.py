"""What a scan says: verdicts, reasons, results and the exit code they lead to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crenel.scan.holds import Hold, Kept

MAX_REASONS = 100


class Verdict(StrEnum):
    """How safe a file is to load, from best to worst.

    ``clean``: everything in the file was read, and nothing but listed callables with arguments of
    the listed shape would run. ``review``: something unlisted, which a person has to judge.
    ``unreadable``: part of the file was not read, so nothing is claimed. ``dangerous``: loading
    can execute, read, write or reach the network. ``malicious``: loading calls such a thing.
    """

    CLEAN = "clean"
    REVIEW = "review"
    UNREADABLE = "unreadable"
    DANGEROUS = "dangerous"
    MALICIOUS = "malicious"

    @property
    def severity(self) -> int:
        """Rank from 0 (clean) to 4 (malicious)."""
        return _ORDER[self]


_ORDER = {verdict: rank for rank, verdict in enumerate(Verdict)}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the most severe of some verdicts; clean where there are none."""
    return max(verdicts, key=lambda v: v.severity, default=Verdict.CLEAN)


@dataclass(frozen=True)
class Reason:
    """Why a verdict is not clean.

    Parameters
    ----------
    code : str
        Stable identifier, such as ``hostile-call``.
    sentence : str
        One sentence for a person.
    verdict : Verdict
        What this reason alone amounts to.
    offset : int or None
        Byte offset in the file, or in the (decompressed) member.
    call : str or None
        The call that loading would make, reconstructed and shortened.
    member : str or None
        Path inside the archive, parts joined by ``!``.
    """

    code: str
    sentence: str
    verdict: Verdict
    offset: int | None = None
    call: str | None = None
    member: str | None = None

    def to_json(self) -> dict[str, object]:
        """Return the five published fields."""
        return {
            "code": self.code,
            "sentence": self.sentence,
            "offset": self.offset,
            "call": self.call,
            "member": self.member,
        }


@dataclass(frozen=True)
class ScanResult:
    """The scan of one file.

    Parameters
    ----------
    path : str
        As given, or as found in a folder.
    sha256 : str
        Hexadecimal digest of the file's bytes; empty where the file could not be read.
    format : str
        Recognised from the content, such as ``pickle`` or ``torch-zip``.
    verdict : Verdict
        The worst of the reasons, clean where there are none.
    reasons : list of Reason
        Most severe first, at most 100.
    modules : tuple of str
        Modules of listed callables that loading would import, whose code a verdict trusts.
    holds : tuple of Hold
        Rows of data sets in it; see `crenel.scan.holds_of`.
    """

    path: str
    sha256: str
    format: str
    verdict: Verdict
    reasons: list[Reason]
    modules: tuple[str, ...] = ()
    holds: tuple[Hold, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return a JSON-ready dict with path, sha256, format, verdict and reasons."""
        return {
            "path": self.path,
            "sha256": self.sha256,
            "format": self.format,
            "verdict": str(self.verdict),
            "reasons": [reason.to_json() for reason in self.reasons],
        }


@dataclass
class Report:
    """Collects the reasons of one file while it is scanned.

    One reason is kept per key, the most severe and, among equals, the one with the longer call,
    so that "would resolve X" gives way to "would call X(...)". Beside them are noted what the
    objects of classes that keep rows hold, by member and class, and the formats of members.
    """

    found: dict[tuple[str, ...], Reason] = field(default_factory=dict)
    overflow: Verdict = Verdict.CLEAN
    modules: set[str] = field(default_factory=set)
    kept: dict[tuple[str, str], Kept] = field(default_factory=dict)
    members: list[tuple[str, str]] = field(default_factory=list)

    def add(self, reason: Reason, key: str | None = None) -> None:
        """Add a reason; ``key`` names its subject where several reasons share one."""
        place = (reason.member or "", key or f"{reason.code} {reason.call or ''}")
        old = self.found.get(place)
        if old is None and len(self.found) >= MAX_REASONS:
            self.overflow = worst([self.overflow, reason.verdict])
        elif old is None or _weight(reason) > _weight(old):
            self.found[place] = reason

    def merge(self, other: Report) -> None:
        """Add all that another report found."""
        for place, reason in other.found.items():
            self.add(reason, place[1])
        self.overflow = worst([self.overflow, other.overflow])
        self.modules |= other.modules
        for place, kept in other.kept.items():
            own = self.kept.setdefault(place, kept)
            if own is not kept:
                own.join(kept)

    def at_least(self, verdict: Verdict) -> Report:
        """Return a report of the reasons that are as severe as a verdict, or more."""
        low = verdict.severity
        found = {place: r for place, r in self.found.items() if r.verdict.severity >= low}
        overflow = self.overflow if self.overflow.severity >= low else Verdict.CLEAN
        return Report(found, overflow)

    def reasons(self) -> list[Reason]:
        """Return what was found, most severe first."""
        listed = sorted(self.found.values(), key=lambda r: (-r.verdict.severity, r.offset or 0))
        if self.overflow is not Verdict.CLEAN:
            sentence = f"More than {MAX_REASONS} reasons were found; only the first are listed."
            listed.append(Reason("more", sentence, self.overflow))
        return listed

    def verdict(self) -> Verdict:
        """Return the worst verdict of all reasons, listed or not."""
        return worst([*(reason.verdict for reason in self.found.values()), self.overflow])


def _weight(reason: Reason) -> tuple[int, int]:
    return reason.verdict.severity, len(reason.call or "")


def exit_code(results: Iterable[ScanResult]) -> int:
    """Return the command's exit status for some results.

    Returns
    -------
    int
        0 if all are clean; 2 if the worst is unreadable, or nothing was scanned; otherwise 1.
    """
    verdicts = [result.verdict for result in results]
    verdict = worst(verdicts) if verdicts else Verdict.UNREADABLE
    if verdict is Verdict.CLEAN:
        return 0
    return 2 if verdict is Verdict.UNREADABLE else 1
