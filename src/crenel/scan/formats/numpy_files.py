"""NumPy's .npy: the header is parsed, never evaluated; object arrays are pickles."""

from __future__ import annotations

import ast
import math
import re

from crenel.scan.context import Context
from crenel.scan.formats.pickles import scan_streams
from crenel.scan.source import Unreadable, Window
from crenel.scan.verdict import Verdict

MAX_HEADER = 1 << 20
DESCR = re.compile(r"[<>|=]?([?biufcSUVMm])(\d{0,18})(?:\[[^\]]*\])?")


def scan_npy(window: Window, context: Context) -> str:
    """Scan one array, or several that follow each other in one file."""
    pos = 0
    while pos < len(window) and window.read(pos, 6) == b"\x93NUMPY":
        header, pos = _header(window, pos)
        size = _item_size(header["descr"])
        if size is None:
            scan_streams(window.window(pos), context)
            return "npy"
        shape = header["shape"]
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise Unreadable("The array's shape is damaged.", offset=pos)
        pos += size * math.prod(shape)
    if pos > len(window):
        raise Unreadable("The array is cut short.", offset=len(window))
    if pos < len(window):
        sentence = f"{len(window) - pos} bytes after the array belong to nothing known."
        context.add("trailing-data", sentence, Verdict.REVIEW, pos)
    return "npy"


def _header(window: Window, pos: int) -> tuple[dict[str, object], int]:
    major = window.read(pos + 6, 1)
    wide = 2 if major == b"\x01" else 4
    length = int.from_bytes(window.read(pos + 8, wide), "little")
    start = pos + 8 + wide
    if length > MAX_HEADER or start + length > len(window) or major not in (b"\1", b"\2", b"\3"):
        raise Unreadable("The array's header is damaged.", offset=pos)
    text = window.read(start, length).decode("latin-1")
    # Python 2 wrote long integers with an L.
    text = re.sub(r"(\d)L\b", r"\1", text)
    try:
        header = ast.literal_eval(text.strip())
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise Unreadable("The array's header is damaged.", offset=pos) from None
    if not isinstance(header, dict) or {"descr", "shape"} - header.keys():
        raise Unreadable("The array's header is damaged.", offset=pos)
    return header, start + length


def _item_size(descr: object) -> int | None:
    """Return the bytes of an item, or None where it holds objects."""
    if isinstance(descr, tuple) and len(descr) == 2 and not isinstance(descr[1], str):
        inner = _item_size(descr[0])
        shape = descr[1] if isinstance(descr[1], tuple) else (descr[1],)
        if not all(type(n) is int and n >= 0 for n in shape):
            raise Unreadable("The array's dtype is damaged.")
        return None if inner is None else inner * math.prod(shape)
    if isinstance(descr, list):
        total = 0
        for item in descr:
            if not isinstance(item, tuple) or len(item) not in (2, 3):
                raise Unreadable("The array's dtype is damaged.")
            inner = _item_size(tuple(item[1:]) if len(item) == 3 else item[1])
            if inner is None:
                return None
            total += inner
        return total
    if isinstance(descr, str) and "O" in descr:
        return None
    match = DESCR.fullmatch(descr) if isinstance(descr, str) else None
    if match is None or (not match[2] and match[1] != "?"):
        raise Unreadable("The array's dtype is not known.")
    return int(match[2] or 1) * (4 if match[1] == "U" else 1)
