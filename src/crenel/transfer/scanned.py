"""Findings of a static scan, one for each file that is not clean."""

from __future__ import annotations

from crenel.finding import Evidence, Example, Finding, Severity
from crenel.scan import ScanResult, Verdict

#: Severity and gain of each verdict.
LEVELS = {
    Verdict.MALICIOUS: (Severity.CRITICAL, 1.0),
    Verdict.DANGEROUS: (Severity.HIGH, 0.7),
    Verdict.UNREADABLE: (Severity.MEDIUM, 0.3),
    Verdict.REVIEW: (Severity.MEDIUM, 0.2),
}
_SAYS = {
    Verdict.MALICIOUS: "runs code that a model has no use for as soon as it is loaded",
    Verdict.DANGEROUS: "can run code, read, write or reach the network when it is loaded",
    Verdict.UNREADABLE: "could not be read in full, so nothing is known of the rest",
    Verdict.REVIEW: "would call something that is on no list when it is loaded",
}
_FIX = {
    Verdict.MALICIOUS: "Do not load it. Keep it as evidence and find out who supplied it.",
    Verdict.DANGEROUS: "Do not load it; ask for the weights in safetensors or ONNX.",
    Verdict.UNREADABLE: "Ask for the file in a plain format, whole and not encrypted.",
    Verdict.REVIEW: (
        "Look at the calls below; trust this very digest if they are yours, or store the weights "
        "in safetensors, skops or ONNX."
    ),
}


def finding_of(result: ScanResult) -> Finding | None:
    """The finding of one scanned file; None where it is clean."""
    if result.verdict not in LEVELS:
        return None
    level, gain = LEVELS[result.verdict]
    name = result.path.replace("\\", "/").rpartition("/")[2]
    worst = [r for r in result.reasons if r.verdict is result.verdict] or result.reasons
    because = f": {worst[0].sentence.rstrip('.')}" if worst else ""
    return Finding(
        check="TRA-101",
        risk="transfer",
        severity=level,
        subject=f"file {name}",
        sentence=f"{name} ({result.format}) {_SAYS[result.verdict]}{because}.",
        attack="Offer the file as a model; whoever loads it runs what is in it.",
        fix=_FIX[result.verdict],
        evidence=Evidence(
            files=(result.path,),
            values={
                "sha256": result.sha256,
                "verdict": str(result.verdict),
                "format": result.format,
                "reasons": [r.to_json() for r in result.reasons[:20]],
            },
        ),
        examples=tuple(
            Example(title=_where(r.offset, r.member), text=r.call) for r in worst[:3] if r.call
        ),
        gain=gain,
    )


def _where(offset: int | None, member: str | None) -> str:
    place = f"in {member}" if member else ""
    at = f"at byte {offset:,}" if offset is not None else ""
    return " ".join(["would run", at, place]).strip()
