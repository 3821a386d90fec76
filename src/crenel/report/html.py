"""One self-contained HTML file: opens offline, prints, reads on a phone, needs no scripts."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from crenel.finding import Example, Finding
from crenel.references import Reference, by_framework
from crenel.report import charts, words
from crenel.report.attribution import references_of
from crenel.report.curves import Curve, Panel, Point
from crenel.report.view import View, view
from crenel.run import Run

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
#: Bytes of the whole file, and of all pictures in it together.
LIMIT, PICTURES = 600_000, 260_000
#: Examples of a finding; fields of an example; rows and columns named; figures of evidence.
EXAMPLES, EDITS, NAMES, VALUES = 3, 12, 60, 24
#: Findings shown in full, at most; the next ones are lines of a table.
FULL, LINES = 40, 300
#: Rows of a table of figures.
ROWS = 24
#: Longest text shown of a field, and of an example.
FIELD, TEXT = 160, 1200

_FIGURE = re.compile(r"\d[\d.,]* %(?: \[[\d., -]{1,24}\])?")
_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+")


@dataclass
class Pictures:
    """Lets pictures through while there is room for them, and nothing that is not a picture."""

    left: int = PICTURES
    refused: int = 0

    def take(self, uris: Sequence[str]) -> tuple[str, ...]:
        """Those of the data URIs that may be shown: all of a set or none."""
        good = tuple(u for u in uris if _PICTURE.fullmatch(u))
        size = sum(map(len, good))
        if len(good) < len(uris) or size > self.left:
            self.refused += len(uris)
            return ()
        self.left -= size
        return good


def render_html(run: Run) -> str:
    """The report of a run as one HTML document of at most 600 kB.

    Nothing in it is loaded from elsewhere, and a content policy forbids it; every text that came
    from data is escaped. Where findings are many, the mildest are left to report.json, and it
    says so.
    """
    v = view(run)
    full = FULL
    while True:
        page = _page(v, full)
        if len(page.encode()) <= LIMIT or full == 0:
            return page
        full //= 2


def embed(run: Run, height: int = 720) -> str:
    """The report in a frame of its own, for notebooks: its styles stay inside."""
    page = escape(render_html(run), quote=True)
    return (
        f'<iframe srcdoc="{page}" sandbox style="width:100%;height:{height}px;border:0" '
        f'title="crenel report {escape(run.run.id)}"></iframe>'
    )


def _page(v: View, full: int) -> str:
    references = references_of(v.run)
    pictures = Pictures(left=PICTURES if full else 0)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            v=v,
            run=v.run,
            info=v.run.run,
            shown=v.findings[:full],
            listed=v.findings[full : full + LINES],
            left_out=max(0, len(v.findings) - full - LINES),
            pictures=pictures,
            references=references,
            style=(TEMPLATES / "style.css").read_text(encoding="utf-8"),
        )
    )


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        chart=charts.chart,
        spark=charts.spark,
        numbers=numbers,
        examples=examples,
        named=named,
        figures=figures,
        command=_command,
        groups=_groups,
        slug=_slug,
        EDITS=EDITS,
    )
    environment.filters.update(
        percent=words.percent,
        number=words.number,
        sentence=words.sentence,
        duration=words.duration,
        count=words.count,
        axis_name=words.axis_name,
        unbroken=unbroken,
        state=lambda s: str(s).replace("_", " "),
        field=lambda s: words.cut(str(s), FIELD),
        passage=lambda s: words.cut(str(s), TEXT),
    )
    return environment


def numbers(panel: Panel) -> list[tuple[Curve, list[tuple[str, str]], int]]:
    """For each curve its points as (budget, harm with interval), and how many were left out."""
    return [(c, [_row(c, p) for p in _few(c)], len(c.points) - len(_few(c))) for c in panel.curves]


def _few(c: Curve) -> tuple[Point, ...]:
    return charts.thin(c.points, ROWS)


def _row(c: Curve, p: Point) -> tuple[str, str]:
    e = c.exposure
    unit = "share" if words.is_share(e.harm.unit) else ""
    harm = words.interval(p.value, p.low, p.high, unit)
    return words.percent(p.budget) if words.is_share(e.budget.unit) else words.number(
        p.budget
    ), harm


def examples(finding: Finding, pictures: Pictures) -> list[tuple[Example, tuple[str, ...]]]:
    """The examples to show, each with the pictures that may be shown."""
    return [(e, pictures.take(e.images)) for e in finding.examples[:EXAMPLES]]


def named(items: Sequence[str | int], most: int = NAMES) -> tuple[str, int]:
    """Names as one list, and how many more there are."""
    kept = [words.cut(str(item), 80) for item in items[:most]]
    return ", ".join(kept), len(items) - len(kept)


def figures(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Figures of evidence by name, as text, at most `VALUES` of them."""
    return [(words.cut(str(k), 80), _figure(v)) for k, v in list(values.items())[:VALUES]]


def _figure(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, int | float):
        return words.number(value)
    if isinstance(value, list | tuple):
        text, more = named([_figure(v) for v in value], 12)
        return f"{text} and {more:,} more" if more else text
    if isinstance(value, dict):
        return words.cut("; ".join(f"{k}: {_figure(v)}" for k, v in value.items()), FIELD * 2)
    return words.cut(str(value), FIELD)


def unbroken(text: str) -> Markup:
    """A text whose figures keep their unit and interval on one line."""
    return Markup(_FIGURE.sub(r'<span class="figure">\g<0></span>', escape(text)))


def _command(v: View, finding: Finding) -> str:
    return v.command(finding)


def _groups(references: Sequence[Reference]) -> dict[str, tuple[Reference, ...]]:
    return by_framework(references)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "none"
