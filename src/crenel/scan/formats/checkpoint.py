"""The index of TensorFlow's checkpoints: a sorted table of strings, which holds no code.

It is read so that its bytes are accounted for: LevelDB's table format, uncompressed, as
TensorFlow writes it.
"""

from __future__ import annotations

from crenel.scan.context import Context
from crenel.scan.formats.wire import varint
from crenel.scan.source import Unreadable, Window
from crenel.scan.verdict import Verdict

MAGIC = bytes.fromhex("57fb808b247547db")
FOOTER = 48
TRAILER = 5
MAX_ENTRIES = 5_000_000


def is_index(window: Window) -> bool:
    """Tell whether the bytes end as a table does."""
    return window.read(len(window) - 8, 8) == MAGIC


def scan_index(window: Window, context: Context) -> str:
    """Read a table; raises Unreadable where it is damaged, and reports bytes outside its blocks."""
    at = len(window) - FOOTER
    if at < 0:
        raise Unreadable("The checkpoint's index is cut short.")
    blocks: list[tuple[int, int]] = []
    for _ in range(2):
        offset, at = varint(window, at, len(window))
        size, at = varint(window, at, len(window))
        blocks.append((offset, size))
    for value in _values(window, *blocks[1]):
        part = window.window(value[0], value[1] - value[0])
        offset, pos = varint(part, 0, len(part))
        size, _ = varint(part, pos, len(part))
        blocks.append((offset, size))
    pos = 0
    for offset, size in sorted(blocks):
        if offset < pos:
            raise Unreadable("The blocks of the checkpoint's index overlap.", offset=offset)
        if offset > pos:
            sentence = "Bytes of the checkpoint's index belong to none of its blocks."
            context.add("hidden-data", sentence, Verdict.REVIEW, pos)
        _values(window, offset, size)
        pos = offset + size + TRAILER
    return "tensorflow-index"


def _values(window: Window, start: int, size: int) -> list[tuple[int, int]]:
    """Return where the values of a block lie."""
    if start + size + TRAILER > len(window) - FOOTER or size < 4:
        raise Unreadable("A block of the checkpoint's index leads out of it.", offset=start)
    if window.read(start + size, 1) != b"\0":
        raise Unreadable("The checkpoint's index is compressed, which is not read.", "no-reader")
    restarts = int.from_bytes(window.read(start + size - 4, 4), "little")
    end = start + size - 4 - 4 * restarts
    pos = start
    found: list[tuple[int, int]] = []
    while pos < end:
        _, pos = varint(window, pos, end)
        key, pos = varint(window, pos, end)
        length, pos = varint(window, pos, end)
        pos += key
        if pos + length > end or len(found) > MAX_ENTRIES:
            raise Unreadable("A block of the checkpoint's index is damaged.", offset=pos)
        found.append((pos, pos + length))
        pos += length
    return found
