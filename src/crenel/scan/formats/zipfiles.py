"""A zip reader that follows the central directory and the local headers, as loaders differ.

Encryption flags and checksums are not obeyed, because torch's reader does not obey them; what is
odd is reported. Members are read in place where they are stored.
"""

from __future__ import annotations

import bz2
import lzma
import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from crenel.scan.context import Context
from crenel.scan.formats.inflate import Decompressor, inflate
from crenel.scan.source import Budget, Unreadable, Window, spooled
from crenel.scan.verdict import Verdict

LOCAL = b"PK\x03\x04"
CENTRAL = b"PK\x01\x02"
END = b"PK\x05\x06"
WHOLE = 0xFFFFFFFF
UNICODE_PATH = 0x7075
MAX_HIDDEN = 1000


@dataclass(frozen=True)
class Entry:
    """One member as a header describes it; ``header`` is the offset of its local header.

    ``other`` is the name by which some readers know it, empty where all agree.
    """

    name: str
    method: int
    flags: int
    crc: int
    packed: int
    size: int
    header: int
    listed: bool = True
    link: bool = False
    other: str = ""


def leaves_folder(path: str) -> bool:
    """Tell whether unpacking to a path, or following a link there, leaves the folder."""
    parts = path.replace("\\", "/").split("/")
    return ".." in parts or path[:1] in ("/", "\\") or parts[0][1:2] == ":"


def find_end(window: Window) -> int:
    """Return the offset of the end of the central directory, or -1 where there is none."""
    return window.rfind(END, max(len(window) - 65_557, 0))


def entries(window: Window, context: Context) -> list[Entry]:
    """Return all members, those of the directory first, then those that only a walk finds.

    Raises
    ------
    Unreadable
        Where there is no directory.
    """
    end = find_end(window)
    if end < 0 or end + 22 > len(window):
        hidden = list(_walk(window, 0, len(window), context))
        context.add("damaged", "The zip archive has no central directory.", Verdict.UNREADABLE)
        return hidden
    count, size, offset, stop = _end_record(window, end)
    last = stop - size  # where Python's zipfile reads, whatever offset is given
    start = last if offset + size > end or window.read(offset, 4) != CENTRAL else offset
    found = list(_central(window, start, start + size, start - offset))
    if len(found) != count:
        raise Unreadable("The zip archive's directory is damaged.", offset=start)
    if start != last and size:
        sentence = "Bytes lie between the zip archive's directory and its end: readers differ in"
        context.add("polyglot", f"{sentence} where they look.", Verdict.REVIEW, start + size)
        found += _central(window, max(last, 0), stop, last - offset)
    _check_names(found, context)
    tail = len(window) - end - 22
    if tail > int.from_bytes(window.read(end + 20, 2), "little"):
        context.add(
            "trailing-data", f"{tail} bytes follow the zip archive.", Verdict.REVIEW, end + 22
        )
    return found + _hidden(window, found, start, context)


def _end_record(window: Window, end: int) -> tuple[int, int, int, int]:
    """Return how many members there are, the directory's size and offset, and where it must end."""
    count, size, offset = struct.unpack("<HII", window.read(end + 10, 10))
    stop = end
    locator = window.read(end - 20, 20) if end >= 20 else b""
    if locator.startswith(b"PK\x06\x07"):
        at = struct.unpack("<Q", locator[8:16])[0]
        record = window.read(at, 56)
        if record.startswith(b"PK\x06\x06") and len(record) == 56:
            count, size, offset = struct.unpack("<QQQ", record[32:56])
            stop = end - 76
    return count, size, offset, stop


def _central(window: Window, pos: int, end: int, shift: int) -> Iterator[Entry]:
    while pos < end and window.read(pos, 4) == CENTRAL:
        raw = window.read(pos, 46)
        if len(raw) < 46:
            return
        flags, method = struct.unpack("<HH", raw[8:12])
        crc, packed, size, named, extra, comment = struct.unpack("<IIIHHH", raw[16:34])
        mode, header = struct.unpack("<HI", raw[40:46])
        name = _decode(window.read(pos + 46, named))
        more = window.read(pos + 46 + named, extra)
        if WHOLE in (packed, size, header):
            size, packed, header = _wide(more, size, packed, header)
        link, other = stat.S_ISLNK(mode), _other_name(name, more)
        yield Entry(name, method, flags, crc, packed, size, header + shift, link=link, other=other)
        pos += 46 + named + extra + comment


def _wide(extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
    """Read the sizes that zip64 keeps in the extra field."""
    pos = 0
    values = [size, packed, header]
    while pos + 4 <= len(extra):
        tag, length = struct.unpack("<HH", extra[pos : pos + 4])
        if tag == 1:
            body = extra[pos + 4 : pos + 4 + length]
            for index, value in enumerate(values):
                if value == WHOLE and len(body) >= 8:
                    values[index] = struct.unpack("<Q", body[:8])[0]
                    body = body[8:]
        pos += 4 + length
    return values[0], values[1], values[2]


def _other_name(name: str, extra: bytes) -> str:
    """Return the name that other readers see: cut at a NUL, or Info-ZIP's field for Unicode."""
    pos = 0
    while pos + 4 <= len(extra):
        tag, length = struct.unpack("<HH", extra[pos : pos + 4])
        if tag == UNICODE_PATH and length > 5:
            told = _decode(extra[pos + 9 : pos + 4 + length])
            return told if told != name else ""
        pos += 4 + length
    return name.partition("\0")[0] if "\0" in name else ""


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _local(window: Window, at: int) -> tuple[Entry, int] | None:
    """Return the member that a local header describes and where its data begins."""
    raw = window.read(at, 30)
    if len(raw) < 30 or not raw.startswith(LOCAL):
        return None
    flags, method = struct.unpack("<HH", raw[6:10])
    crc, packed, size, named, extra = struct.unpack("<IIIHH", raw[14:30])
    name = _decode(window.read(at + 30, named))
    if WHOLE in (packed, size):
        more = window.read(at + 30 + named, extra)
        size, packed, _ = _wide(more, size, packed, 0)
    return Entry(name, method, flags, crc, packed, size, at, False), at + 30 + named + extra


def _walk(window: Window, pos: int, end: int, context: Context) -> Iterator[Entry]:
    for _ in range(MAX_HIDDEN):
        pos = window.find(LOCAL, pos)
        if pos < 0 or pos >= end:
            return
        found = _local(window, pos)
        if found is not None and found[0].method in (0, 8, 12, 14):
            yield replace(found[0], packed=found[0].packed or max(end - found[1], 0))
        pos += 4
    sentence = "More headers of members lie outside the directory than are followed."
    context.add("over-budget", sentence, Verdict.UNREADABLE, pos)


def _hidden(window: Window, found: list[Entry], stop: int, context: Context) -> list[Entry]:
    """Find members in the gaps that the directory leaves."""
    hidden: list[Entry] = []
    pos = 0
    for entry in sorted(found, key=lambda e: e.header):
        if entry.header > pos:
            hidden.extend(_walk(window, pos, entry.header, context))
        local = _local(window, entry.header)
        data = local[1] if local is not None else entry.header
        pos = max(pos, data + entry.packed)
    hidden.extend(_walk(window, pos, stop, context))
    for entry in hidden[:10]:
        sentence = f"The member {entry.name} is not in the archive's directory."
        context.add("hidden-member", sentence, Verdict.REVIEW, entry.header, entry.name)
    first = min((entry.header for entry in found), default=0)
    if first > 0 and window.read(0, 4) != LOCAL:
        sentence = f"The zip archive begins only after {first} other bytes."
        context.add("polyglot", sentence, Verdict.REVIEW, 0)
    return hidden


def _check_names(found: list[Entry], context: Context) -> None:
    seen: set[str] = set()
    for entry in found:
        if entry.name in seen:
            sentence = (
                f"{entry.name} is in the archive twice; which one loads depends on the reader."
            )
            context.add("duplicate-member", sentence, Verdict.REVIEW, entry.header, entry.name)
        seen.add(entry.name)
        if entry.other:
            sentence = f"Some readers take {entry.name!r} for {entry.other!r}."
            context.add("header-mismatch", sentence, Verdict.REVIEW, entry.header, entry.name)
        if leaves_folder(entry.name):
            sentence = f"Unpacking {entry.name} writes outside the folder."
            context.add("path-traversal", sentence, Verdict.DANGEROUS, entry.header, entry.name)


def contents(window: Window, entry: Entry, context: Context) -> Iterator[Window]:
    """Yield the bytes of a member, once per way in which its two headers let it be read.

    Raises
    ------
    Unreadable
        Where the data is damaged, encrypted or packed by an unknown method.
    """
    local = _local(window, entry.header)
    if local is None:
        raise Unreadable(f"The member {entry.name} has no local header.", offset=entry.header)
    other, data = local
    ways = [(entry.method, entry.packed)]
    if other.method != entry.method:
        ways.append((other.method, entry.packed))
    if other.packed not in (0, entry.packed):
        ways.append((entry.method, other.packed))
    overlong = entry.method == 0 and entry.size != entry.packed
    if other.name != entry.name or len(ways) > 1 or overlong:
        sentence = f"The two headers, or sizes, of {entry.name} disagree, so readers do too."
        context.add("header-mismatch", sentence, Verdict.REVIEW, entry.header, other.name)
    if (entry.flags | other.flags) & 1:
        sentence = f"The member {entry.name} is marked as encrypted."
        context.add("encrypted", sentence, Verdict.UNREADABLE, entry.header)
    for method, packed in ways:
        part = window.window(data, packed)
        if len(part) < packed:
            raise Unreadable(f"The member {entry.name} is cut short.", offset=entry.header)
        yield unpack(part, method, context.budget)


def unpack(part: Window, method: int, budget: Budget) -> Window:
    """Return the bytes of a member packed by a zip method; raise Unreadable where they break."""
    if method == 0:
        return part
    if method == 8:
        machine: Decompressor = zlib.decompressobj(-15)
    elif method == 12:
        machine = bz2.BZ2Decompressor()
    elif method == 14:
        machine = _zip_lzma(part)
        part = part.window(4 + int.from_bytes(part.read(2, 2), "little"))
    else:
        raise Unreadable(f"A member is packed by method {method}, which is not read.", "no-reader")
    return spooled(inflate(part, machine), budget)


def _zip_lzma(part: Window) -> Decompressor:
    properties = part.read(4, 5)
    if len(properties) < 5:
        raise Unreadable("A member's lzma header is cut short.")
    rest = properties[0] // 9
    options = {
        "id": lzma.FILTER_LZMA1, "lc": properties[0] % 9, "lp": rest % 5, "pb": rest // 5,
        "dict_size": int.from_bytes(properties[1:], "little"),
    }  # fmt: skip
    try:
        return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[options])
    except (lzma.LZMAError, ValueError) as error:
        raise Unreadable(f"A member's lzma header is damaged: {error}.") from None
