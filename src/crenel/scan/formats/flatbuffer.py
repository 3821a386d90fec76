"""Flatbuffers in place: tables, vectors and strings, every offset held against the bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from crenel.scan.source import Unreadable, Window

MAX_ITEMS = 10_000_000


@dataclass(frozen=True)
class Table:
    """A flatbuffer table in place; every offset is held against the file."""

    window: Window
    pos: int
    left: list[int]

    def spend(self, count: int) -> None:
        """Count items, which may be read again and again by the offsets that lead to them."""
        self.left[0] -= count
        if self.left[0] < 0:
            raise Unreadable("The model has too many parts to read all.", "over-budget", self.pos)

    def number(self, at: int, code: str) -> int:
        """Read a little-endian number."""
        size = struct.calcsize("<" + code)
        raw = self.window.read(at, size) if at >= 0 else b""
        if len(raw) < size:
            raise Unreadable("An offset of the model leads out of the file.", "bounds", at)
        value: int = struct.unpack("<" + code, raw)[0]
        return value

    def place(self, index: int) -> int:
        """Return where a field lies, 0 where the table lacks it."""
        layout = self.pos - self.number(self.pos, "i")
        size = self.number(layout, "H")
        slot = 4 + 2 * index
        offset = self.number(layout + slot, "H") if slot + 2 <= size else 0
        return self.pos + offset if offset else 0

    def scalar(self, index: int, code: str) -> int:
        """Return a scalar field, 0 where the table lacks it."""
        at = self.place(index)
        return self.number(at, code) if at else 0

    def follow(self, index: int) -> int:
        """Return where a vector, string or table of a field lies, 0 where there is none."""
        at = self.place(index)
        return at + self.number(at, "I") if at else 0

    def span(self, index: int, size: int = 1) -> tuple[int, int]:
        """Return where the items of a vector begin and how many there are."""
        at = self.follow(index)
        if not at:
            return 0, 0
        count = self.number(at, "I")
        if at + 4 + count * size > len(self.window):
            raise Unreadable("A vector of the model leads out of the file.", "bounds", at)
        return at + 4, count

    def tables(self, index: int) -> Iterator[Table]:
        """Yield the tables of a vector."""
        start, count = self.span(index, 4)
        self.spend(count)
        for at in range(start, start + 4 * count, 4):
            target = at + self.number(at, "I")
            self.number(target, "i")
            yield Table(self.window, target, self.left)

    def text(self, index: int) -> str:
        """Return a string, shortened."""
        start, count = self.span(index)
        return self.window.read(start, min(count, 200)).decode("utf-8", "replace")

    def texts(self, index: int) -> Iterator[str]:
        """Yield the strings of a vector, shortened."""
        start, count = self.span(index, 4)
        self.spend(count)
        for at in range(start, start + 4 * count, 4):
            target = at + self.number(at, "I")
            length = self.number(target, "I")
            yield self.window.read(target + 4, min(length, 200)).decode("utf-8", "replace")


def root_of(window: Window) -> Table:
    """Return the outermost table of a flatbuffer."""
    left = [MAX_ITEMS]
    return Table(window, Table(window, 0, left).number(0, "I"), left)
