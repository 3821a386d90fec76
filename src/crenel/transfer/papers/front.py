"""Front matter with its nesting: the part of YAML that `model-index` needs, without trust."""

from __future__ import annotations

import re
from collections import deque
from typing import Any

from crenel.transfer.papers.card import plain_value

#: Levels of nesting that are followed.
DEEPEST = 24
_PAIR = re.compile(r"""(['"]?)([\w][\w.\-/ ]*?)\1\s*:(?:\s+(.*))?$""")


def nested(text: str) -> dict[str, Any]:
    """Read block mappings and lists of any depth, with plain values as text.

    What is not understood is left out; nothing raises, and anchors and tags are never followed.

    Returns
    -------
    dict
        Values are str, list of str (inline lists), dict, or list of any of these.
    """
    lines = deque(
        (len(line) - len(line.lstrip()), line.strip())
        for line in text.splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    )
    found = _block(lines, 0, 0)
    return found if isinstance(found, dict) else {}


def _block(lines: deque[tuple[int, str]], least: int, depth: int) -> Any:
    """The mapping or list that begins with the next line, which is indented by ``least`` or more.

    Lines of the block are taken from the left of ``lines``.
    """
    if not lines or lines[0][0] < least or depth > DEEPEST:
        return ""
    indent = lines[0][0]
    return (_list if _is_item(lines[0][1]) else _mapping)(lines, indent, depth)


def _is_item(content: str) -> bool:
    return content == "-" or content.startswith("- ")


def _list(lines: deque[tuple[int, str]], indent: int, depth: int) -> list[Any]:
    values: list[Any] = []
    while lines and lines[0][0] == indent and _is_item(lines[0][1]):
        _, content = lines.popleft()
        rest = content[1:].lstrip()
        inner = indent + len(content) - len(rest)
        if _is_item(rest) or _PAIR.match(rest):
            lines.appendleft((inner, rest))
            values.append(_block(lines, indent + 1, depth + 1))
        else:
            values.append(plain_value(rest) if rest else _block(lines, indent + 1, depth + 1))
        _drop(lines, indent + 1)
    return values


def _mapping(lines: deque[tuple[int, str]], indent: int, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    while lines and lines[0][0] >= indent:
        at, content = lines.popleft()
        pair = _PAIR.match(content)
        if at != indent or pair is None:
            continue
        value: Any = plain_value(pair.group(3) or "")
        if value in ("", ">", "|", ">-", "|-"):
            # A list may stand as far left as the key that it belongs to.
            least = indent if lines and _is_item(lines[0][1]) else indent + 1
            value = _block(lines, least, depth + 1)
        found.setdefault(pair.group(2).lower(), value)
    return found


def _drop(lines: deque[tuple[int, str]], least: int) -> None:
    """Take away what belongs to a block that was left early."""
    while lines and lines[0][0] >= least:
        lines.popleft()
