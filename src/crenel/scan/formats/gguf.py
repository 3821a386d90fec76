"""GGUF files: header, key-values and tensor spans, with the arithmetic that loaders overflow in.

The layout is that of the GGUF specification (versions 1 to 3, either byte order) and of ggml's
table of block sizes. CVE-2025-53630 and CVE-2026-33298 are sums of tensor sizes that wrap round
in 64 bits; CVE-2026-7482 is a tensor that lies outside its file.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field

from crenel.scan.context import Context
from crenel.scan.credentials import judge_credentials
from crenel.scan.source import Unreadable, Window
from crenel.scan.verdict import Verdict

STRING, ARRAY = 8, 9
SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
# ggml type -> elements in a block, bytes of a block.
BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    9: (32, 36), 10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
    15: (256, 292), 16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18),
    21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8),
    28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
    40: (64, 36), 41: (128, 18),
}  # fmt: skip
MAX_AXES = 4
MAX_NAME = 63
MAX_ARRAY_DEPTH = 4
MAX_ITEMS = 5_000_000
MAX_STRING = 64 << 20
LIMIT = 1 << 63


@dataclass
class _Reader:
    """Reads numbers and strings one after the other; every length is held against the file."""

    window: Window
    order: str
    version: int
    pos: int = 8
    alignment: int = 32
    left: int = MAX_ITEMS
    templates: list[tuple[str, str, int]] = field(default_factory=list)

    def number(self, code: str) -> int | float:
        """Read a number of a struct code."""
        size = struct.calcsize(self.order + code)
        raw = self.window.read(self.pos, size)
        if len(raw) < size:
            raise Unreadable("The GGUF file ends inside its header.", offset=self.pos)
        self.pos += size
        value: int | float = struct.unpack(self.order + code, raw)[0]
        return value

    def spend(self) -> None:
        """Count one item."""
        self.left -= 1
        if self.left < 0:
            raise Unreadable("The GGUF file has too many items to read.", "over-budget", self.pos)

    def count(self) -> int:
        """Read a length or a count: 32 bits in version 1, else 64."""
        return int(self.number("I" if self.version == 1 else "Q"))

    def room(self, count: int, size: int, what: str, context: Context) -> None:
        """Raise Unreadable where ``count`` items of at least ``size`` bytes cannot follow."""
        if count * size <= len(self.window) - self.pos:
            return
        if count * size >= 1 << 62:
            sentence = f"The {what} {count} makes a loader's arithmetic overflow."
            context.add("overflow", sentence, Verdict.DANGEROUS, self.pos)
        raise Unreadable(f"The {what} {count} does not fit into the file.", offset=self.pos)

    def string(self, what: str, context: Context, keep: bool = True) -> str:
        """Read a string, or pass over it."""
        self.spend()
        length = self.count()
        self.room(length, 1, f"length of {what},", context)
        if keep and length > MAX_STRING:
            raise Unreadable(f"The {what} is too long to read.", "over-budget", self.pos)
        raw = self.window.read(self.pos, length) if keep else b""
        self.pos += length
        return raw.decode("utf-8", "replace")


def scan_gguf(window: Window, context: Context) -> str:
    """Scan a file; raises Unreadable where its header or a tensor does not fit it."""
    reader = _opened(window)
    tensors, pairs = reader.count(), reader.count()
    reader.room(pairs, 9, "number of key-values,", context)
    seen: set[str] = set()
    for _ in range(pairs):
        _pair(reader, seen, context)
    reader.room(tensors, 20, "number of tensors,", context)
    _tensors(reader, tensors, context)
    judge_credentials(window.window(0, reader.pos), context)
    _templates(reader, context)
    return "gguf"


def _templates(reader: _Reader, context: Context) -> None:
    if not reader.templates:
        return
    from crenel.scan.formats.templates import judge_template

    for key, text, offset in reader.templates:
        judge_template(text, context, offset, key)


def _opened(window: Window) -> _Reader:
    for order in "<>":
        version = struct.unpack(order + "I", window.read(4, 4).ljust(4, b"\0"))[0]
        if version in (1, 2, 3):
            return _Reader(window, order, version)
    raise Unreadable("The GGUF version is not known.", "no-reader", 4)


def _pair(reader: _Reader, seen: set[str], context: Context) -> None:
    at = reader.pos
    key = reader.string("key", context)
    kind = int(reader.number("I"))
    if key in seen:
        sentence = f"The key {key[:80]} is there twice; which one counts depends on the reader."
        context.add("duplicate-key", sentence, Verdict.REVIEW, at, key[:80])
    seen.add(key)
    start = reader.pos
    template = "chat_template" in key
    if kind == STRING:
        text = reader.string("value", context, keep=template)
        if template:
            reader.templates.append((key, text, start + (4 if reader.version == 1 else 8)))
        return
    value = _value(reader, kind, template, key, context)
    if key == "general.alignment":
        if not isinstance(value, int) or value <= 0 or value % 8 or value > 1 << 20:
            sentence = f"The alignment {value} is not a multiple of 8; loaders divide by it."
            context.add("alignment", sentence, Verdict.DANGEROUS, at)
            raise Unreadable("The tensors' places cannot be computed.", offset=at)
        reader.alignment = value


def _value(
    reader: _Reader, kind: int, keep: bool, key: str, context: Context, depth: int = 0
) -> object:
    reader.spend()
    if kind in SCALARS:
        return reader.number(SCALARS[kind])
    if kind == STRING:
        start = reader.pos
        text = reader.string("value", context, keep)
        if keep:
            reader.templates.append((key, text, start))
        return None
    if kind != ARRAY or depth >= MAX_ARRAY_DEPTH:
        raise Unreadable(f"The value of {key[:80]} is of an unknown type.", offset=reader.pos)
    inner, count = int(reader.number("I")), reader.count()
    if inner in SCALARS:
        size = struct.calcsize("=" + SCALARS[inner])
        reader.room(count, size, "length of an array,", context)
        reader.pos += count * size
        return None
    reader.room(count, 4, "length of an array,", context)
    for _ in range(count):
        _value(reader, inner, keep, key, context, depth + 1)
    return None


def _tensors(reader: _Reader, count: int, context: Context) -> None:
    """Read where each tensor lies, and hold the spans against each other and the file."""
    spans: list[tuple[int, int, str]] = []
    names: set[str] = set()
    for _ in range(count):
        at = reader.pos
        name = reader.string("tensor name", context)
        size = _size(reader, name[:80], context)
        offset = int(reader.number("Q"))
        if offset + size >= LIMIT:
            sentence = f"The end of the tensor {name[:80]} overflows 64 bits."
            context.add("overflow", sentence, Verdict.DANGEROUS, at)
        if offset % reader.alignment:
            raise Unreadable(f"The tensor {name[:80]} is not aligned.", offset=at)
        if name in names or len(name.encode()) > MAX_NAME:
            why = "is there twice" if name in names else "has a name longer than loaders hold"
            context.add("tensor-name", f"The tensor {name[:80]} {why}.", Verdict.REVIEW, at)
        names.add(name)
        spans.append((offset, size, name))
    _spans(reader, spans, context)


def _size(reader: _Reader, name: str, context: Context) -> int:
    """Return the bytes of the tensor described next."""
    axes = int(reader.number("I"))
    if axes > MAX_AXES:
        raise Unreadable(f"The tensor {name} has {axes} axes, more than 4.", offset=reader.pos - 4)
    at = reader.pos
    shape = [reader.count() for _ in range(axes)]
    kind = int(reader.number("I"))
    if kind not in BLOCKS:
        raise Unreadable(f"The tensor {name} is of the unknown type {kind}.", offset=reader.pos - 4)
    elements, size = BLOCKS[kind]
    total = math.prod(shape)
    if total >= LIMIT or total // elements * size >= LIMIT:
        sentence = f"The size of the tensor {name} overflows 64 bits."
        context.add("overflow", sentence, Verdict.DANGEROUS, at)
    if (shape[0] if shape else 1) % elements:
        raise Unreadable(f"A row of the tensor {name} is no number of whole blocks.", offset=at)
    return total // elements * size


def _spans(reader: _Reader, spans: list[tuple[int, int, str]], context: Context) -> None:
    step = reader.alignment
    start = -(-reader.pos // step) * step
    pos = 0
    for offset, size, name in sorted(spans):
        if offset < pos:
            raise Unreadable(f"The tensor {name[:80]} overlaps another.", offset=start + offset)
        if offset > -(-pos // step) * step:
            sentence = (
                f"{offset - pos} bytes before the tensor {name[:80]} belong to nothing known."
            )
            context.add("hidden-data", sentence, Verdict.REVIEW, start + pos)
        pos = offset + size
    end = start + pos if spans else reader.pos
    if end > len(reader.window):
        sentence = "A tensor lies outside the file: it is cut short, or made to be read beyond it."
        raise Unreadable(sentence, offset=len(reader.window))
    rest = len(reader.window) - -(-end // step) * step
    if rest > 0:
        sentence = f"{rest} bytes after the tensors belong to nothing known."
        context.add("trailing-data", sentence, Verdict.REVIEW, end)
