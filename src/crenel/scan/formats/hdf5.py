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
SUFFIX = re.compile(rb"\.\w{2,5}")
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
    # a message that uses no slot keeps nothing
    for at, heap in _leading(window, rb"\x01\0\0\0..(?!\0\0)..", 8, b"HEAP", width):
        count = int.from_bytes(window.read(at + 6, 2), "little")
        most = int.from_bytes(window.read(at + 4, 2), "little")
        data = int.from_bytes(window.read(heap + 8 + 2 * width, width), "little")
        for slot in range(count if count <= most else 0):
            start = at + 8 + width + 3 * width * slot
            name = _text(window, data + int.from_bytes(window.read(start, width), "little"))
            if name:
                yield at, name


def _virtual(window: Window, width: int) -> Iterator[tuple[int, str]]:
    """Yield the files that virtual datasets are made of: their names lie in a global heap."""
    for at, heap in _leading(window, rb"\x04\x03", 2, b"GCOL", width):
        index = int.from_bytes(window.read(at + 2 + width, 4), "little")
        yield from ((at, name) for name in _sources(window, heap, index, width))


def _leading(
    window: Window, before: bytes, length: int, mark: bytes, width: int
) -> Iterator[tuple[int, int]]:
    """Yield the places of messages that end in the address of a heap, and that, in one pass.

    Files of many groups have many heaps: the bytes are not gone through for each.
    """
    heaps = set(_every(window, mark))
    if not heaps:
        return
    # no address is beyond the file, so that its last bytes are zeros and rule out most places
    zeros = width - max(1, (max(heaps).bit_length() + 7) // 8)
    message = re.compile(before + b".{%d}" % (width - zeros) + b"\\0" * zeros, re.S)
    at = -1
    for _ in range(MAX_FOUND):
        at = window.search(message, at + 1, length + width)
        if at < 0:
            return
        heap = int.from_bytes(window.read(at + length, width), "little")
        if heap in heaps:
            yield at, heap
    raise Unreadable("The HDF5 file has too many places that look like messages.", "over-budget")


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
    chosen = name if name != b"." else next(_suffixed(body), b".")
    return chosen.decode("utf-8", "replace")


def _suffixed(body: bytes) -> Iterator[bytes]:
    """Yield what looks like paths: each entry of a mapping is two names and two selections."""
    for text in re.findall(rb"[\x20-\x7e]+", body):
        ends = [match.end() for match in SUFFIX.finditer(text)]
        name = text[: ends[-1]] if ends else b""
        if b"/" in name or b".." in name:
            yield name


def _every(window: Window, mark: bytes) -> Iterator[int]:
    at = window.find(mark)
    for _ in range(MAX_FOUND):
        if at < 0:
            return
        yield at
        at = window.find(mark, at + 4)
    raise Unreadable("The HDF5 file has too many heaps.", "over-budget")


def _text(window: Window, at: int) -> str:
    return window.read(at, LONGEST).partition(b"\0")[0].decode("utf-8", "replace")
