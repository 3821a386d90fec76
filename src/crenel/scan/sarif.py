"""Scans as SARIF 2.1.0, for code hosts: reasons as results, their codes as rules."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from crenel._version import __version__
from crenel.scan.holds import Hold
from crenel.scan.loaders import LoaderHole
from crenel.scan.plain_json import dumped
from crenel.scan.shadowed import Shadowed
from crenel.scan.verdict import Reason, ScanResult, Verdict, worst

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
#: Level of a verdict, and what code hosts read as a score out of ten.
LEVELS = {
    Verdict.MALICIOUS: ("error", "9.5"),
    Verdict.DANGEROUS: ("error", "8.0"),
    Verdict.UNREADABLE: ("warning", "5.5"),
    Verdict.REVIEW: ("warning", "5.0"),
    Verdict.CLEAN: ("note", "0.0"),
}


def to_sarif(
    results: Iterable[ScanResult],
    holes: Iterable[LoaderHole] = (),
    shadows: Iterable[Shadowed] = (),
    holds: Iterable[Hold] = (),
) -> str:
    """Return scans as a SARIF log.

    Parameters
    ----------
    results : iterable of ScanResult
        Every file is listed as an artifact with its digest; each of its reasons is a result.
    holes : iterable of LoaderHole
        Of loaders installed here.
    shadows : iterable of Shadowed
        Modules that are not what was installed here. Like the holes they concern the environment
        and are told as notifications.
    holds : iterable of Hold
        Rows of data sets in files: notifications too, of level note.
    """
    listed = list(results)
    codes = sorted({reason.code for result in listed for reason in result.reasons})
    log = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "crenel scan",
                        "version": __version__,
                        "rules": [_rule(code, listed) for code in codes],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "artifacts": [_artifact(result) for result in listed],
                "invocations": [
                    {
                        "executionSuccessful": True,
                        "toolConfigurationNotifications": [
                            *(_notification(h) for h in holes),
                            *(_shadow(told) for told in shadows),
                            *(_held(hold) for hold in holds),
                        ],
                    }
                ],
                "results": [
                    _result(result, at, reason, codes.index(reason.code))
                    for at, result in enumerate(listed)
                    for reason in result.reasons
                ],
            }
        ],
    }
    return dumped(log, indent=1) + "\n"


def _rule(code: str, results: list[ScanResult]) -> dict[str, Any]:
    own = worst(r.verdict for result in results for r in result.reasons if r.code == code)
    return {
        "id": code,
        "name": "".join(word.capitalize() for word in code.split("-")),
        "shortDescription": {"text": f"{code.replace('-', ' ').capitalize()}."},
        "properties": {"tags": ["security", "transfer"], "security-severity": LEVELS[own][1]},
    }


def _artifact(result: ScanResult) -> dict[str, Any]:
    return {
        "location": {"uri": _uri(result.path)},
        **({"hashes": {"sha-256": result.sha256}} if result.sha256 else {}),
        "properties": {"format": result.format, "verdict": str(result.verdict)},
    }


def _result(result: ScanResult, at: int, reason: Reason, rule: int) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": _uri(result.path), "index": at}}
    if reason.offset is not None and reason.member is None:
        place["region"] = {"byteOffset": reason.offset, "byteLength": 0}
    location: dict[str, Any] = {"physicalLocation": place}
    if reason.member is not None:
        location["logicalLocations"] = [
            {"name": reason.member, "fullyQualifiedName": f"{result.path}!{reason.member}"}
        ]
    told = f"{result.sha256} {reason.code} {reason.member or ''} {reason.call or ''}"
    return {
        "ruleId": reason.code,
        "ruleIndex": rule,
        "level": LEVELS[reason.verdict][0],
        "kind": "review" if reason.verdict is Verdict.REVIEW else "fail",
        "message": {"text": reason.sentence},
        "locations": [location],
        "partialFingerprints": {
            "crenel/v1": hashlib.sha256(told.encode("utf-8", "backslashreplace")).hexdigest()[:32]
        },
        "properties": {
            "verdict": str(reason.verdict),
            **({"call": reason.call} if reason.call else {}),
            **({"offset": reason.offset} if reason.offset is not None else {}),
        },
    }


def _notification(hole: LoaderHole) -> dict[str, Any]:
    text = (
        f"{hole.package} {hole.installed} is installed: {hole.id}, it {hole.does}; "
        f"fixed in {hole.fixed}."
    )
    return {"level": "warning", "message": {"text": text}, "descriptor": {"id": hole.id}}


def _shadow(told: Shadowed) -> dict[str, Any]:
    descriptor = {"id": "shadowed-module"}
    return {"level": "error", "message": {"text": told.sentence}, "descriptor": descriptor}


def _held(hold: Hold) -> dict[str, Any]:
    return {
        "level": "note",
        "message": {"text": hold.sentence},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(hold.path)}}}],
        "descriptor": {"id": "holds-data"},
    }


def _uri(path: str) -> str:
    """A path relative to where the scan began, or a whole URI."""
    place = PurePath(path)
    raw = os.fsencode(place.as_posix())
    return Path(path).as_uri() if place.is_absolute() else quote(raw)
