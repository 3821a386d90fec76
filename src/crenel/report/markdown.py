"""A short summary in Markdown, for pull requests and chat."""

from __future__ import annotations

import re

from crenel.report.view import View, view
from crenel.report.words import cut, duration
from crenel.run import Run

#: Findings listed; the rest is counted.
FINDINGS = 10
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|<>~&$@-])")


def to_markdown(run: Run) -> str:
    """Verdict, the five risks, the worst findings and what was not measured."""
    v = view(run)
    parts = [
        f"## crenel: {escape(v.sentence)}",
        _risks(v),
        _findings(v),
        _unmeasured(v),
        f"Next: `{v.next}`" if v.next else "",
        f"Run `{run.run.id}`, {duration(run.run.seconds)}, seed {run.run.seed}. "
        f"Again: {_code(run.run.command or 'crenel audit')}",
    ]
    return "\n\n".join(p for p in parts if p) + "\n"


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    return "`" + " ".join(text.replace("`", "'").split()) + "`"


def _where(v: View, target: str) -> str:
    return f" · {escape(target)}" if v.several and target else ""


def _risks(v: View) -> str:
    lines = ["| risk | | status | limit |", "|---|---|---|---|"]
    lines += [
        f"| {r.name} | {escape(r.headline)}{_where(v, r.target)} | **{escape(r.status)}** "
        f"| {escape(r.limit)} |"
        for r in v.risks
    ]
    return "\n".join(lines)


def _findings(v: View) -> str:
    open_ = [f for f in v.findings if f.status != "accepted"]
    lines = [
        f"- **{f.severity}** {escape(cut(f.sentence, 200))}{_where(v, f.target)} `{f.fingerprint}`"
        for f in open_[:FINDINGS]
    ]
    if len(open_) > FINDINGS:
        lines.append(f"- and {len(open_) - FINDINGS} more")
    return "\n".join(lines)


def _unmeasured(v: View) -> str:
    if not v.unmeasured:
        return ""
    lines = [
        f"- {o.check}{_where(v, o.target)}, {str(o.outcome).replace('_', ' ')}: {escape(o.reason)}"
        for o in v.unmeasured
    ]
    return "Not measured:\n\n" + "\n".join(lines)
