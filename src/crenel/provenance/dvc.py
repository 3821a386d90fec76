"""The files that DVC writes: a small part of YAML, read without loading anything else of it."""

from __future__ import annotations

import re
from typing import Any

from crenel.errors import SubjectError

_ITEM = re.compile(r"(?P<indent> *)(?P<dash>(?:- +)*)(?P<rest>.*)")
_PAIR = re.compile(r"(?P<key>[A-Za-z_][\w.-]*|'[^']*'|\"[^\"]*\"):(?: +(?P<value>.*))?$")
_QUOTED = re.compile(r"""(?:'((?:[^']|'')*)'|"([^"\\]*)")(?: +#.*)?""")


def read_dvc(text: str, name: str) -> dict[str, Any]:
    """A ``.dvc`` file as nested dicts and lists of text.

    Parameters
    ----------
    text : str
        Block mappings and lists, plain and quoted scalars on one line: what DVC writes.
    name : str
        For messages.

    Raises
    ------
    SubjectError
        Where it holds anything else.
    """
    lines: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#") or line.strip() == "---":
            continue
        match = _ITEM.fullmatch(line)
        if match is None or "\t" in line[: len(line) - len(line.lstrip())]:
            raise _unreadable(name, number)
        indent = len(match["indent"])
        for dash in re.findall("- +", match["dash"]):
            lines.append((indent, "-"))
            indent += len(dash)
        lines.append((indent, match["rest"]))
    try:
        value, rest = _block(lines, 0, lines[0][0] if lines else 0)
    except (ValueError, IndexError, RecursionError) as error:
        raise _unreadable(name) from error
    if rest != len(lines) or not isinstance(value, dict):
        raise _unreadable(name)
    return value


def _unreadable(name: str, line: int = 0) -> SubjectError:
    where = f", line {line}" if line else ""
    return SubjectError(f"{name}{where} is not in the form that DVC writes")


def _block(lines: list[tuple[int, str]], at: int, indent: int) -> tuple[Any, int]:
    """The mapping or list that begins at a line, and where it ends."""
    if lines[at][1] == "-":
        items = []
        while at < len(lines) and lines[at] == (indent, "-"):
            deeper, text = lines[at + 1]
            if text == "-" or _PAIR.fullmatch(text):
                item, at = _block(lines, at + 1, deeper)
            else:
                item, at = _scalar(text), at + 2
            items.append(item)
        return items, at
    found: dict[str, Any] = {}
    while at < len(lines) and lines[at][0] == indent and lines[at][1] != "-":
        pair = _PAIR.fullmatch(lines[at][1])
        if pair is None:
            raise ValueError(lines[at][1])
        key, value = _scalar(pair["key"]), pair["value"]
        at += 1
        if value:
            found[key] = _scalar(value)
        elif at < len(lines) and (lines[at][0] > indent or lines[at] == (indent, "-")):
            found[key], at = _block(lines, at, lines[at][0])
        else:
            found[key] = ""
    return found, at


def _scalar(text: str) -> str:
    text = text.strip()
    if text[:1] in "[{&*!|>%@`":
        raise ValueError(text)
    if quoted := _QUOTED.fullmatch(text):
        return quoted[2] if quoted[1] is None else quoted[1].replace("''", "'")
    return text.partition(" #")[0].rstrip()
