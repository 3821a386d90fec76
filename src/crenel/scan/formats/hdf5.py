"""What an HDF5 file takes from other files: external links, external storage, virtual datasets.

A reader follows them as it opens a dataset, whatever path they name, so that a file of weights
shows it any file of the machine (CVE-2026-1669 of Keras). They are found by their encoding
(HDF5's file format specification, version 3): a link by its own lengths, the other two by the heap
that their message points to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from crenel.scan.context import Context
from crenel.scan.formats.zipfiles import leaves_folder
from crenel.scan.source import Unreadable, Window
from crenel.scan.verdict import Verdict

#: Version 1, flags by which the kind of the link is told, and its kind: external.
LINK = re.compile(rb"\x01[\x08-\x0f\x18-\x1f]\x40", re.S)
LONGEST = 4096
MAX_FOUND = 1_000_000


def judge_outside(window: Window, context: Context) -> None:
    """Report every file that an HDF5 file makes its reader open."""
    for at, name in _links(window):
        _report("links to", name, at, context)
    width = _width(window)
    for at, name in _storages(window, width):
        _report("keeps a dataset in", name, at, context)
    for at, name in _virtual(window, width):
        if name != ".":
            _report("makes a dataset of", name, at, context)


def _report(what: str, name: str, at: int, context: Context) -> None:
    outside = leaves_folder(name) or "://" in name
    sentence = f"The HDF5 file {what} {name[:120]}, which its reader opens and was not scanned."
    verdict = Verdict.DANGEROUS if outside else Verdict.REVIEW
    context.add("outside-file", sentence, verdict, at, name[:200])


def _width(window: Window) -> int:
    """Return the bytes of an address, as the superblock has it."""
    version = window.read(8, 1)
    width = window.read(13 if version in (b"\0", b"\1") else 9, 1)
    return width[0] if width in (b"\2", b"\4", b"\x08") else 8


def _links(window: Window) -> Iterator[tuple[int, str]]:
    """Yield the place of each external link and the file that it names."""
    pos = -1
    for _ in range(MAX_FOUND):
        pos = window.search(LINK, pos + 1, 3)
        if pos < 0:
            return
        name = _linked(window.read(pos, 32 + 2 * LONGEST))
        if name:
            yield pos, name
    raise Unreadable("The HDF5 file has too many places that look like links.", "over-budget")


def _linked(raw: bytes) -> str:
    """Return the file of a link whose lengths fit, or an empty string."""
    flags = raw[1]
    pos = 3 + (8 if flags & 4 else 0) + (1 if flags & 16 else 0)
    width = 1 << (flags & 3)
    length = int.from_bytes(raw[pos : pos + width], "little")
    pos += width
    name = raw[pos : pos + length]
    pos += length
    size = int.from_bytes(raw[pos : pos + 2], "little")
    value = raw[pos + 2 : pos + 2 + size]
    parts = value[1:].split(b"\0")
    fits = 0 < length == len(name) and len(value) == size and value[:1] == b"\0"
    fits = fits and b"\0" not in name and len(parts) == 3 and not parts[2]
    return parts[0].decode("utf-8", "replace") if fits and all(parts[:2]) else ""


def _storages(window: Window, width: int) -> Iterator[tuple[int, str]]:
    """Yield the files of datasets that are kept outside: their names lie in a local heap."""
    for heap in _every(window, b"HEAP"):
        address = re.escape(heap.to_bytes(width, "little"))
        message = re.compile(rb"\x01\0\0\0(..)(..)" + address, re.S)
        at = window.search(message, 0, 8 + width)
        while at >= 0:
            count = int.from_bytes(window.read(at + 6, 2), "little")
            most = int.from_bytes(window.read(at + 4, 2), "little")
            data = int.from_bytes(window.read(heap + 8 + 2 * width, width), "little")
            for slot in range(count if count <= most else 0):
                start = at + 8 + width + 3 * width * slot
                name = _text(window, data + int.from_bytes(window.read(start, width), "little"))
                if name:
                    yield at, name
            at = window.search(message, at + 1, 8 + width)


def _virtual(window: Window, width: int) -> Iterator[tuple[int, str]]:
    """Yield the files that virtual datasets are made of: their names lie in a global heap."""
    for heap in _every(window, b"GCOL"):
        layout = b"\x04\x03" + heap.to_bytes(width, "little")
        at = window.find(layout)
        while at >= 0:
            index = int.from_bytes(window.read(at + 2 + width, 4), "little")
            yield from ((at, name) for name in _sources(window, heap, index, width))
            at = window.find(layout, at + 1)


def _sources(window: Window, heap: int, index: int, width: int) -> Iterator[str]:
    """Yield the name that the mapping in an object of a global heap begins with."""
    size = int.from_bytes(window.read(heap + 8, width), "little")
    pos = heap + 8 + width
    while pos < min(heap + size, len(window)):
        number = int.from_bytes(window.read(pos, 2), "little")
        length = int.from_bytes(window.read(pos + 8, width), "little")
        if not number:
            return
        if number == index:
            body = window.read(pos + 8 + width, min(length, 1 << 20))
            yield _first(body, width)
            return
        pos += 8 + width + -(-length // 8) * 8


def _first(body: bytes, width: int) -> str:
    """Return the first source of a mapping that is another file; "." stands for the file itself."""
    name = body[1 + width :].partition(b"\0")[0]
    if body[:1] == b"\1":  # flags come first; one of them stands for the file itself
        name = b"." if name[:1] and name[0] & 4 else name[1:]
    # Each entry is two names and two selections; a file of another name is found by its suffix.
    others = re.findall(rb"[\x20-\x7e]*(?:/|\.\.)[\x20-\x7e]*(?:\.\w{2,5})", body)
    chosen = name if name != b"." else next((o for o in others if b"." in o), b".")
    return chosen.decode("utf-8", "replace")


def _every(window: Window, mark: bytes) -> Iterator[int]:
    at = window.find(mark)
    for _ in range(MAX_FOUND):
        if at < 0:
            return
        yield at
        at = window.find(mark, at + 4)


def _text(window: Window, at: int) -> str:
    return window.read(at, LONGEST).partition(b"\0")[0].decode("utf-8", "replace")
