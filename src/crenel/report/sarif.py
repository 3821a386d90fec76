"""SARIF 2.1.0, for code hosts: findings as results, checks as rules."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from crenel.finding import Finding, Severity
from crenel.report.attribution import Attribution, references_of
from crenel.report.words import sentence
from crenel.run import Outcome, Run, State

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {
    Severity.CRITICAL: "error",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "note",
}
#: What code hosts read as a score out of ten.
SCORES = {
    Severity.CRITICAL: "9.5",
    Severity.HIGH: "8.0",
    Severity.MEDIUM: "5.5",
    Severity.LOW: "3.0",
}
#: Rows named of one finding's evidence.
ROWS = 50


def to_sarif(
    run: Run, *, config: str = "crenel.toml", lines: Mapping[str, int] | None = None
) -> str:
    """The run as SARIF 2.1.0.

    A finding is about a model, not about a line of code; it is anchored where its target is
    configured, so that code hosts show it and keep it apart from others by its fingerprint.

    Parameters
    ----------
    run : Run
    config : str
        Path of the configuration, relative to the repository.
    lines : mapping of str to int, optional
        Line of each target in it, from `target_lines`; 1 where absent.
    """
    log = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [_run(run, config, lines or {})],
    }
    return json.dumps(log, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def target_lines(text: str) -> dict[str, int]:
    """Line, from 1, of each ``[target.NAME]`` of a configuration."""
    found: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r"""\s*\[(?:tool\.crenel\.)?target\.["']?([^\]"'.]+)["']?\]""", line)
        if match:
            found.setdefault(match[1], number)
    return found


def _run(run: Run, config: str, lines: Mapping[str, int]) -> dict[str, Any]:
    risks = {o.check: o.risk for o in run.outcomes} | {f.check: f.risk for f in run.findings}
    ids, attributions = list(risks), references_of(run)
    known = any(f.status == "known" for f in run.findings)
    failed = [o for o in run.outcomes if o.outcome is State.ERROR]
    return {
        "tool": {
            "driver": {
                "name": "crenel",
                "version": run.run.versions.get("crenel", "0"),
                "rules": [_rule(run, c, risks[c], attributions.get(c)) for c in ids],
            }
        },
        "automationDetails": {"id": f"crenel/{run.target.name}/{run.run.id}"},
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {
                "commandLine": run.run.command,
                "startTimeUtc": run.run.created,
                **({"endTimeUtc": run.run.finished} if run.run.finished else {}),
                "executionSuccessful": run.run.status == "complete" and not failed,
                "toolExecutionNotifications": [
                    _notification(o) for o in run.outcomes if o.outcome is not State.MEASURED
                ],
            }
        ],
        "results": [_result(f, ids.index(f.check), config, lines, known) for f in run.findings],
        "properties": {"verdict": run.verdict.value, "sentence": run.policy.sentence},
    }


def _rule(run: Run, check: str, risk: str, attribution: Attribution | None) -> dict[str, Any]:
    title = next((o.title for o in run.outcomes if o.check == check and o.title), check)
    own = [f for f in run.findings if f.check == check]
    worst = max((f.severity for f in own), key=lambda s: s.rank, default=Severity.LOW)
    references = attribution.references if attribution else ()
    return {
        "id": check,
        "name": "".join(word.capitalize() for word in re.findall(r"[A-Za-z0-9]+", title)),
        "shortDescription": {"text": sentence(title)},
        "help": {"text": f"Run `crenel explain {check}` for what it measures and how to lower it."},
        "properties": {
            "tags": ["security", risk, *(r.key for r in references)],
            "security-severity": SCORES[worst],
        },
    }


def _notification(o: Outcome) -> dict[str, Any]:
    level = "error" if o.outcome is State.ERROR else "note"
    where = f" on {o.target}" if o.target else ""
    text = f"{o.check}{where} {str(o.outcome).replace('_', ' ')}: {o.reason}"
    return {"level": level, "message": {"text": text}, "descriptor": {"id": o.check}}


def _result(
    f: Finding, rule: int, config: str, lines: Mapping[str, int], baseline: bool
) -> dict[str, Any]:
    fix = f" Fix: {sentence(f.fix)}" if f.fix else ""
    result: dict[str, Any] = {
        "ruleId": f.check,
        "ruleIndex": rule,
        "level": LEVELS[f.severity],
        "kind": "fail",
        "message": {"text": f"{sentence(f.sentence)}{fix}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": config, "uriBaseId": "%SRCROOT%"},
                    "region": {"startLine": lines.get(f.target, 1)},
                },
                "logicalLocations": [
                    {"name": f.subject, "fullyQualifiedName": f"{f.target}: {f.subject}"}
                ],
            }
        ],
        "partialFingerprints": {"crenel/v1": f.fingerprint},
        "properties": {
            "severity": f.severity.value,
            "risk": f.risk,
            "target": f.target,
            "gain": f.gain,
            "remedies": list(f.remedies),
            "rows": [str(r) for r in f.evidence.rows[:ROWS]],
            "rowCount": len(f.evidence.rows),
            "columns": list(f.evidence.columns),
            "files": list(f.evidence.files),
        },
    }
    if baseline:
        result["baselineState"] = "unchanged" if f.status == "known" else "new"
    if f.status == "accepted":
        result["suppressions"] = [
            {"kind": "external", "status": "accepted", "justification": "accepted in the register"}
        ]
    return result
