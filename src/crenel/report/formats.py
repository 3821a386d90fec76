"""Every format that a run can be written in, by name."""

from __future__ import annotations

from collections.abc import Callable

from crenel.report.html import render_html
from crenel.report.json import to_json
from crenel.report.junit import to_junit
from crenel.report.markdown import to_markdown
from crenel.report.sarif import to_sarif
from crenel.run import Run

FORMATS: dict[str, Callable[[Run], str]] = {
    "html": render_html,
    "json": to_json,
    "markdown": to_markdown,
    "sarif": to_sarif,
    "junit": to_junit,
}


def render(run: Run, format: str) -> str:
    """A run in one of the `FORMATS`."""
    return FORMATS[format](run)
