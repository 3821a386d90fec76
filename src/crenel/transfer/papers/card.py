"""Model cards: front matter and sections, read without a YAML library and without trust."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Bytes of a card that are read.
MOST_BYTES = 1_000_000
_PLACEHOLDER = re.compile(
    r"more information needed|^\s*(todo|tbd|tba|n/?a|none|unknown|coming soon|xxx+)\W*$",
    re.IGNORECASE,
)
_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$|^(?:[-*]\s+)?\*\*(.{2,80}?):?\*\*:?\s*(.*)$")


@dataclass(frozen=True)
class Section:
    """A heading with all the text below it, that of deeper headings too."""

    title: str
    level: int
    text: str


@dataclass(frozen=True)
class Card:
    """A model card.

    Attributes
    ----------
    front : dict
        Front matter: str, or list of str, by lower-case key; nested keys are joined by dots.
    sections : tuple of Section
    text : str
        All that follows the front matter.
    raw_front : str
        The front matter as it stands.
    """

    front: dict[str, Any]
    sections: tuple[Section, ...]
    text: str
    raw_front: str = ""

    @property
    def prose(self) -> str:
        """The text without fenced code, whose numbers are examples and no claims."""
        kept, fenced = [], False
        for line in self.text.splitlines():
            mark = line.lstrip().startswith(("```", "~~~"))
            if not mark and not fenced:
                kept.append(line)
            fenced ^= mark
        return "\n".join(kept)

    def says(self, *words: str) -> str:
        """Text of the first section with one of the words in its title; empty where none has.

        A section that holds only a placeholder ("More Information Needed", "TODO") says nothing.
        """
        pattern = re.compile("|".join(rf"\b{w}" for w in words), re.IGNORECASE)
        for section in self.sections:
            if pattern.search(section.title) and telling(section.text):
                return section.text
        return ""


def telling(text: str) -> bool:
    """Whether a text says anything beside headings and the usual placeholders."""
    lines = [line for line in text.splitlines() if line.strip() and not _PLACEHOLDER.search(line)]
    return any(re.search(r"\w", line) for line in lines if not line.startswith("#"))


def read_card(path: Path) -> Card:
    """Read the first megabyte of a card; bytes that are no UTF-8 are replaced."""
    with path.open("rb") as file:
        return parse_card(file.read(MOST_BYTES).decode("utf-8", errors="replace"))


def parse_card(text: str) -> Card:
    """Take a card apart; any text is a card, if perhaps an empty one."""
    text = text.lstrip("\ufeff").replace("\r\n", "\n")
    front, body = "", text
    match = re.match(r"---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|$)", text, re.DOTALL)
    if match:
        front, body = match.group(1), text[match.end() :]
    return Card(front_matter(front), _sections(body), body, front)


def front_matter(text: str) -> dict[str, Any]:
    """Read the part of YAML that cards use: keys, lists, inline lists, quotes, nesting.

    What is not understood is left out; nothing raises. Anchors, tags and objects are never made.
    """
    found: dict[str, Any] = {}
    stack: list[tuple[int, str]] = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        indent = len(line) - len(line.lstrip())
        item = re.match(r"\s*-\s+(.*)$", line)
        if item and stack and not re.match(r"[\w.-]+:(\s|$)", item.group(1)):
            while len(stack) > 1 and stack[-1][0] > indent:
                stack.pop()
            values = found.setdefault(_path(stack), [])
            if isinstance(values, list):
                values.append(plain_value(item.group(1)))
            continue
        pair = re.match(r"\s*(?:-\s+)?([\w][\w.\- ]*?)\s*:(?:\s+(.*))?$", line)
        if not pair:
            continue
        indent = pair.start(1)
        while stack and stack[-1][0] >= indent:
            stack.pop()
        stack.append((indent, pair.group(1).lower()))
        value = plain_value(pair.group(2) or "")
        if value not in ("", ">", "|", ">-", "|-"):
            found.setdefault(_path(stack), value)
    return found


def _path(stack: list[tuple[int, str]]) -> str:
    return ".".join(key for _, key in stack)


def plain_value(text: str) -> Any:
    """A value without its quotes or comment, or an inline list."""
    text = text.strip()
    if text[:1] in ("'", '"'):
        end = text.find(text[0], 1)
        return text[1:end] if end > 0 else text[1:]
    text = re.sub(r"\s+#.*$", "", text)
    if text.startswith("[") and text.endswith("]"):
        parts = (part.strip().strip("'\"") for part in text[1:-1].split(","))
        return [part for part in parts if part]
    return text


def _sections(body: str) -> tuple[Section, ...]:
    """Headings with their text; fenced code is text, whatever it looks like."""
    heads: list[tuple[int, int, str, str]] = []
    lines, fenced = body.splitlines(), False
    for i, line in enumerate(lines):
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        match = None if fenced else _HEADING.match(line)
        if match and match.group(1):
            heads.append((i, len(match.group(1)), match.group(2), ""))
        elif match:
            heads.append((i, 7, match.group(3), match.group(4) or ""))
    found = []
    for at, (i, level, title, same_line) in enumerate(heads):
        below = (j for j, deeper, _, _ in heads[at + 1 :] if deeper <= level)
        text = "\n".join([same_line, *lines[i + 1 : next(below, len(lines))]]).strip()
        found.append(Section(title.strip(" *"), level, text))
    return tuple(found)
