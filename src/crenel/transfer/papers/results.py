"""The figures that a card claims: `model-index`, tables and sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from crenel.transfer.papers.card import Card
from crenel.transfer.papers.front import nested

_ACCURACY = re.compile(
    r"accuracy\b[^\d\n%]{0,40}?(\d{1,3}(?:\.\d+)?\s*%|[01]?\.\d+|1\.0|\d{2}\.\d+)", re.IGNORECASE
)
_METRICS = ("accuracy", "acc", "top-1 accuracy", "top1", "top_1_accuracy")
#: Cells that name an accuracy, and accuracies of something else than the model in use.
_NAMES = re.compile(
    r"(?:(?P<of>[\w./-]+(?: [\w./-]+)?)[ _-]+)?(?:acc|accuracy)(?:[ _@-]*(?:top-?)?1)?"
    r"(?:\s*[([]?%[)\]]?|\s*\(.*\))?$",
    re.IGNORECASE,
)
_SPLITS = re.compile(r"(?:test|eval|evaluation|validation|val|held-out|overall|top-?1)$", re.I)
_OTHERS = re.compile(
    r"baseline|random|chance|majority|previous|human|top-?[2-9]|train(?:ing)?\s+acc|\btrain\b|"
    r"training (?:set|data)|balanced|adversarial|robust|\b(?:drop|gain|loss|lost)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"^\**\s*(\d{1,3}(?:\.\d+)?\s*%?|\.\d+)\s*(?:±.*|\[.*|\(.*)?\**$")


@dataclass(frozen=True)
class Claim:
    """One figure.

    Attributes
    ----------
    metric : str
        "accuracy", "f1"…, as the card names it.
    value : float
        As written; see `share`.
    text : str
        The figure as it stands.
    dataset : str
        What it was measured on; empty where that is not told.
    where : str
        "model-index", "a table" or "the text".
    """

    metric: str
    value: float
    text: str
    dataset: str = ""
    where: str = "the text"

    @property
    def share(self) -> float:
        """The value as a share of one: 93, 93 % and 0.93 are the same."""
        return self.value / 100 if "%" in self.text or self.value > 1 else self.value

    @property
    def rounding(self) -> float:
        """Half a unit of the last digit that is given, as a share."""
        digits = self.text.partition(".")[2].rstrip(" %")
        unit = 0.5 * 10.0 ** -len(digits)
        return unit / 100 if "%" in self.text or self.value > 1 else unit


def claimed_results(card: Card) -> list[Claim]:
    """All figures that a card claims of its model: those of `model-index` first."""
    tables = list(_tables(card.prose))
    within = {i for table in tables for i in table.lines}
    rest = [line for i, line in enumerate(card.prose.splitlines()) if i not in within]
    return [*_indexed(card), *(c for t in tables for c in _in_table(t)), *_in_text(rest)]


def claimed_accuracies(card: Card) -> list[Claim]:
    """Those that are accuracies, as shares."""
    found = [c for c in claimed_results(card) if c.metric.lower() in _METRICS]
    return [c for c in found if 0 < c.share <= 1]


def _indexed(card: Card) -> Iterator[Claim]:
    for model in _maps(nested(card.raw_front).get("model-index")):
        for result in _maps(model.get("results")):
            data = result.get("dataset")
            data = data if isinstance(data, dict) else {}
            named = str(data.get("name") or data.get("type") or "")
            split = str(data.get("split") or "")
            for metric in _maps(result.get("metrics")):
                kind, text = str(metric.get("type") or ""), str(metric.get("value") or "")
                value, said = _number(text), f"{metric.get('name') or ''} {split} "
                if kind and value is not None and not _OTHERS.search(said):
                    yield Claim(kind, value, text.strip(), named, "model-index")


def _maps(value: Any) -> list[dict[str, Any]]:
    listed = value if isinstance(value, list) else [value]
    return [v for v in listed if isinstance(v, dict)]


@dataclass(frozen=True)
class _Table:
    """A table in Markdown: the cells of its head and rows, and which lines it takes."""

    head: list[str]
    rows: list[list[str]]
    lines: range


def _in_table(table: _Table) -> Iterator[Claim]:
    """Accuracies in a column that is named so, or in a row."""
    head = table.head
    columns = {i: of for i, cell in enumerate(head) if i and (of := _named(cell)) is not None}
    for row in table.rows:
        of = _named(row[0])
        if of is not None:
            cells = [(of or (head[i] if len(row) > 2 else ""), row[i]) for i in range(1, len(row))]
        else:
            cells = [(data or row[0], row[i]) for i, data in columns.items()]
        for named, cell in cells:
            value = _number(cell)
            if value is not None and not _OTHERS.search(f"{row[0]} {named}"):
                yield Claim("accuracy", value, _digits(cell), _data(named), "a table")


def _named(cell: str) -> str | None:
    """The data that a heading names an accuracy on, "" for none; None where it names no accuracy.

    "LFW accuracy" is one on LFW, "top-1 acc (%)" on nothing that is told.
    """
    match = _NAMES.match(cell.strip(" *`"))
    if match is None or _OTHERS.search(cell):
        return None
    of = match.group("of") or ""
    return "" if _SPLITS.match(of) else of


def _data(cell: str) -> str:
    """What a cell beside a figure names; headings that name nothing are none."""
    name = cell.strip(" *`")
    return "" if re.fullmatch(r"(?i)(value|score|result|test|ours|this model)?", name) else name


def _tables(text: str) -> Iterator[_Table]:
    lines, end = text.splitlines(), 0
    for i in range(1, len(lines)):
        if i < end or "-" not in lines[i] or not re.fullmatch(r"[\s|:-]*\|[\s|:-]*", lines[i]):
            continue
        head, end, rows = _cells(lines[i - 1]), i + 1, []
        while end < len(lines) and "|" in lines[end]:
            cells = _cells(lines[end])
            rows.append([*cells, *[""] * (len(head) - len(cells))][: len(head)])
            end += 1
        if len(head) > 1:
            yield _Table(head, rows, range(i - 1, end))


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _in_text(lines: list[str]) -> Iterator[Claim]:
    for line in lines:
        end = 0
        for match in _ACCURACY.finditer(line):
            value = _number(match.group(1))
            # What stands before, but for an earlier figure's own words, says whose it is.
            said = line[max(end, match.start() - 30) : match.end()]
            end = match.end()
            if value is not None and not _OTHERS.search(said):
                yield Claim("accuracy", value, match.group(1))


def _number(text: str) -> float | None:
    match = _NUMBER.match(text.strip())
    return float(match.group(1).rstrip(" %")) if match else None


def _digits(cell: str) -> str:
    match = _NUMBER.match(cell.strip())
    return match.group(1) if match else cell
