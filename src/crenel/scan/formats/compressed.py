"""Single compressed streams (gzip, zlib, bz2, xz, lzma, lz4, zstd), as joblib and others write."""

from __future__ import annotations

import bz2
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

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
    "lz4": lambda: _lz4(),
    "zstd": lambda: _zstd(),
}
#: Logarithm of the bytes that a zstd stream may ask to be kept: 128 MiB.
WINDOW = 27


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
    if any(chunk.strip(b"\0") for chunk in window.window(pos).chunks()):
        sentence = f"{rest} bytes after the compressed data belong to nothing known."
        context.add("trailing-data", sentence, Verdict.REVIEW, pos)


@dataclass(frozen=True)
class _Translated:
    """A decompressor of another library, whose own errors are told as ValueError."""

    machine: Any
    errors: type[Exception]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.machine, name)

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        try:
            return bytes(self.machine.decompress(data, max_length))
        except self.errors as error:
            raise ValueError(str(error)) from None


def _lz4() -> Any:
    try:
        from lz4.frame import LZ4FrameDecompressor
    except ImportError:
        raise _missing("lz4", "lz4") from None
    return _Translated(LZ4FrameDecompressor(), RuntimeError)


def _zstd() -> Any:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError:
        raise _missing("zstd", "backports.zstd") from None
    options = {int(zstd.DecompressionParameter.window_log_max): WINDOW}
    return _Translated(zstd.ZstdDecompressor(options=options), zstd.ZstdError)


def _missing(kind: str, package: str) -> Unreadable:
    return Unreadable(
        f"Data compressed by {kind} is read with {package}: install crenel[archives], or unpack "
        "the file first.",
        "no-reader",
    )
