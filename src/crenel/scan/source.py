"""Bytes to scan, without copying them: files are mapped, members are windows, rest is spooled."""

from __future__ import annotations

import hashlib
import io
import mmap
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

CHUNK = 1 << 20
RELEASE = 16 << 20
STEP = 64 << 20
IN_MEMORY = 16 << 20


class Unreadable(Exception):
    """Part of a file cannot be read; the text is the sentence of the reason."""

    def __init__(self, sentence: str, code: str = "damaged", offset: int | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.code = code
        self.offset = offset


@dataclass
class Budget:
    """What one scan of one file may spend before it stops and says so.

    Parameters
    ----------
    operations : int
        Pickle operations left.
    expanded : int
        Bytes that compressed parts may still expand to.
    members : int
        Archive members that may still be opened.
    depth : int
        Archives inside archives.
    memory : int
        Bytes that reading one pickle stream operation by operation may hold, as estimated.
    """

    operations: int = 200_000_000
    expanded: int = 4 << 30
    members: int = 100_000
    depth: int = 6
    memory: int = 1 << 30

    def spend_member(self) -> None:
        """Count one archive member; raise Unreadable when there are too many."""
        self.members -= 1
        if self.members < 0:
            raise Unreadable("The archives hold too many members to read all.", "over-budget")


@dataclass(frozen=True)
class Window:
    """A run of bytes ``base[start:end]`` that is read in place.

    Parameters
    ----------
    base : bytes or mmap
        The bytes that hold the run.
    start, end : int
        Its bounds.
    """

    base: bytes | mmap.mmap
    start: int
    end: int
    keep: object = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return self.end - self.start

    def read(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``offset``, which counts from the window's start."""
        first = self.start + max(offset, 0)
        return self.base[first : min(first + max(length, 0), self.end)]

    def find(self, needle: bytes, offset: int = 0) -> int:
        """Return the offset of ``needle`` at or after ``offset``, or -1."""
        for first, last in self._steps(offset, len(needle)):
            at = self.base.find(needle, first, last)
            if at >= 0:
                return at - self.start
        return -1

    def search(self, pattern: re.Pattern[bytes], offset: int, longest: int) -> int:
        """Return where a pattern of at most ``longest`` bytes matches next, or -1."""
        for first, last in self._steps(offset, longest):
            match = pattern.search(self.base, first, last)
            if match is not None:
                return match.start() - self.start
        return -1

    def _steps(self, offset: int, overlap: int) -> Iterator[tuple[int, int]]:
        """Yield bounds in the base that cover the rest; mapped pages are given back behind them."""
        first = self.start + offset
        step = STEP if isinstance(self.base, mmap.mmap) else len(self)
        while first < self.end:
            yield first, min(first + step + overlap, self.end)
            first += step
            if first < self.end and isinstance(self.base, mmap.mmap):
                release(self.base, first)

    def rfind(self, needle: bytes, offset: int = 0) -> int:
        """Return the last offset of ``needle`` at or after ``offset``, or -1."""
        at = self.base.rfind(needle, self.start + offset, self.end)
        return at if at < 0 else at - self.start

    def window(self, offset: int, length: int | None = None) -> Window:
        """Return a part of the window, clipped to it."""
        first = min(self.start + max(offset, 0), self.end)
        last = self.end if length is None else min(first + max(length, 0), self.end)
        return Window(self.base, first, last, self.keep)

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes in pieces of at most a mebibyte; mapped pages are given back."""
        for offset in range(0, len(self), CHUNK):
            if offset and offset % RELEASE == 0 and isinstance(self.base, mmap.mmap):
                release(self.base, self.start + offset)
            yield self.read(offset, CHUNK)

    def startswith(self, prefix: bytes | tuple[bytes, ...]) -> bool:
        """Tell whether the window begins with ``prefix``, or with one of several."""
        longest = len(prefix) if isinstance(prefix, bytes) else max(map(len, prefix))
        return self.read(0, longest).startswith(prefix)


def release(mapped: mmap.mmap, end: int) -> None:
    """Give back the pages before an offset, which are read again from the file where needed."""
    if hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED, 0, end // mmap.PAGESIZE * mmap.PAGESIZE)


def window_of(data: bytes) -> Window:
    """Return a window on all of ``data``."""
    return Window(data, 0, len(data))


class WindowFile(io.RawIOBase):
    """A window as a file, for readers that want one."""

    def __init__(self, window: Window) -> None:
        super().__init__()
        self.window = window
        self.pos = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to an offset from the start (0), the place (1) or the end (2)."""
        base = (0, self.pos, len(self.window))[whence]
        self.pos = base + offset
        return self.pos

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill a buffer and return how many bytes it got."""
        data = self.window.read(self.pos, len(buffer))
        buffer[: len(data)] = data
        self.pos += len(data)
        return len(data)


@contextmanager
def opened(path: Path) -> Iterator[Window]:
    """Map a regular file for reading; raises OSError where it cannot be opened."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            yield window_of(b"")
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            yield Window(mapped, 0, size)


def spooled(pieces: Iterator[bytes], budget: Budget) -> Window:
    """Collect decompressed pieces, on disk beyond 16 MiB; raise Unreadable over the budget."""
    file: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - kept by the window
    size = 0
    for piece in pieces:
        size += len(piece)
        budget.expanded -= len(piece)
        if budget.expanded < 0:
            file.close()
            raise Unreadable(
                "The compressed data expands beyond the limit; nothing behind it was read.",
                "over-budget",
            )
        file.write(piece)
    if size <= IN_MEMORY:
        file.seek(0)
        with file:
            return window_of(file.read())
    file.flush()
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return Window(mapped, 0, size, keep=file)


def digest(path: str | os.PathLike[str]) -> str:
    """Return ``"sha256:"`` and the hexadecimal digest of a file, read in pieces.

    This is what ``trust`` in crenel.toml is compared with. Raises OSError where the file cannot
    be read.
    """
    with Path(path).open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
