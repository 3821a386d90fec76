"""Single compressed streams (gzip, zlib, bz2, xz, lzma), as joblib and others write them."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator

from crenel.scan.context import Context, Reader
from crenel.scan.formats.inflate import Decompressor, inflate
from crenel.scan.source import Unreadable, Window, spooled
from crenel.scan.verdict import Verdict

MAKERS: dict[str, Callable[[], Decompressor]] = {
    "gzip": lambda: zlib.decompressobj(31),
    "zlib": zlib.decompressobj,
    "bz2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ),
    "lzma": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE),
}


def compressed(kind: str) -> Reader:
    """Return the reader of one kind of compression; the format names what is inside too."""

    def read(window: Window, context: Context) -> str:
        inner = spooled(_streams(window, context, MAKERS[kind]), context.budget)
        if len(inner) == 0 and context.report.found:
            return kind
        deeper = context.inside(kind)
        found = deeper.guarded(deeper.dispatch, inner)
        return f"{found or 'unknown'}+{kind}"

    return read


def _streams(
    window: Window, context: Context, make: Callable[[], Decompressor]
) -> Iterator[bytes]:  # fmt: skip
    """Yield what all streams of the window expand to, one after the other.

    A loader has run what lies before the damage by the time that it meets it, so that much is read.
    """
    magic = window.read(0, 2)
    pos = 0
    while pos < len(window):
        try:
            pos += yield from inflate(window.window(pos), make())
        except Unreadable as error:
            context.add(error.code, error.sentence, Verdict.UNREADABLE, pos)
            return
        if window.read(pos, 2) != magic:
            break
    rest = len(window) - pos
    if rest and window.read(pos, 4096).strip(b"\0"):
        sentence = f"{rest} bytes after the compressed data belong to nothing known."
        context.add("trailing-data", sentence, Verdict.REVIEW, pos)
