"""Decompression in pieces of bounded size, so that a bomb meets the budget and not the memory."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Generator
from typing import Protocol

from crenel.scan.source import Unreadable, Window

PIECE = 1 << 20


class Decompressor(Protocol):
    """What the decompressor objects of zlib, bz2 and lzma have in common."""

    @property
    def eof(self) -> bool:
        """Whether the end of the stream was reached."""

    @property
    def unused_data(self) -> bytes | None:
        """What was fed beyond the end; lz4 says None for nothing."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Return at most ``max_length`` bytes of output."""


def inflate(part: Window, machine: Decompressor) -> Generator[bytes, None, int]:
    """Yield what one compressed stream expands to and return how many bytes it took.

    Parameters
    ----------
    part : Window
        Begins with the stream.
    machine : Decompressor
        Fresh.

    Raises
    ------
    Unreadable
        Where the stream is damaged or cut short.
    """
    fed = 0
    try:
        for chunk in part.chunks():
            fed += len(chunk)
            data = chunk
            while True:
                piece = machine.decompress(data, PIECE)
                if piece:
                    yield piece
                if machine.eof:
                    return fed - len(machine.unused_data or b"")
                data = getattr(machine, "unconsumed_tail", b"")
                if not data and getattr(machine, "needs_input", len(piece) < PIECE):
                    break
    except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError) as error:
        raise Unreadable(f"The compressed data is damaged: {error}.") from None
    raise Unreadable("The compressed data is cut short.")
