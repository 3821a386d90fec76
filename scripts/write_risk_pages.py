"""Write docs/risks/*.md from the checks themselves, so that there is one text of each.

python scripts/write_risk_pages.py
"""

from __future__ import annotations

from importlib import import_module
from inspect import getdoc
from pathlib import Path

from crenel.check import Check, Risk, load_checks
from crenel.references import lookup
from crenel.remedy import Remedy, load_remedies
from crenel.subject import CAPABILITIES

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "risks"


def pages() -> dict[str, str]:
    """The page of each risk, by file name."""
    return {f"{risk}.md": page(risk) for risk in Risk}


def page(risk: Risk) -> str:
    """One risk: what it is, its checks, its remedies."""
    checks = [c for c in load_checks().values() if c.risk is risk]
    remedies = [r for r in load_remedies().values() if r.risk is risk]
    parts = [f"# {risk.capitalize()}", getdoc(import_module(f"crenel.{risk}")) or ""]
    parts += [section(c) for c in checks]
    parts += [treatment(r) for r in remedies]
    return "\n\n".join(parts) + "\n"


def section(check: Check) -> str:
    """One check."""
    needs = "; ".join(CAPABILITIES[n] for n in check.needs)
    references = "; ".join(
        f"{r.framework} {r.id} ({r.title})" for r in map(lookup, check.references)
    )
    return "\n\n".join(
        [
            f"## {check.id} {check.title}",
            f"*{check.question}*",
            check.doc,
            f"Not applicable where: {needs}.",
            f"References: {references}.",
        ]
    )


def treatment(remedy: Remedy) -> str:
    """One remedy."""
    doc = getdoc(remedy.apply) or ""
    text = doc.partition("\nParameters\n")[0].rstrip()
    again = ", ".join(remedy.checks)
    return f"## Remedy `{remedy.id}`\n\n{remedy.title}. Measured again by {again}.\n\n{text}"


def main() -> None:
    """Write the pages."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
