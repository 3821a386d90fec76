"""The protobuf wire format, as far as a scan needs it: fields in place, without a schema."""

from __future__ import annotations

from collections.abc import Iterator

from crenel.scan.source import Unreadable, Window

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_FIELDS = 1_000_000


def fields(window: Window, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (field, wire type, start, end) of each field; a varint's value stands in ``start``.

    Raises
    ------
    Unreadable
        Where the bytes are no protobuf message.
    """
    pos = start
    while pos < end:
        tag, pos = varint(window, pos, end)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, pos = varint(window, pos, end)
            yield number, wire, value, pos
            continue
        if wire == BYTES:
            length, pos = varint(window, pos, end)
        elif wire in (FIXED32, FIXED64):
            length = 4 if wire == FIXED32 else 8
        else:
            raise Unreadable("The protobuf message is damaged.", offset=pos)
        if number == 0 or pos + length > end:
            raise Unreadable("The protobuf message is damaged.", offset=pos)
        yield number, wire, pos, pos + length
        pos += length


def varint(window: Window, pos: int, end: int) -> tuple[int, int]:
    """Return a number of variable length and where it ends; raise Unreadable where it does not."""
    value = shift = 0
    while pos < end and shift < 70:
        byte = window.base[window.start + pos]
        pos += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, pos
        shift += 7
    raise Unreadable("A number of variable length is damaged.", offset=pos)


def kinds(window: Window, start: int, end: int, highest: int) -> dict[int, int] | None:
    """Return the wire type of each field of a message.

    Returns
    -------
    dict or None
        None where the bytes are no message, or one with a field above ``highest``, a field of
        two types, or more than a million fields.
    """
    found: dict[int, int] = {}
    left = MAX_FIELDS
    try:
        for number, wire, _, _ in fields(window, start, end):
            left -= 1
            if number > highest or left < 0 or found.setdefault(number, wire) != wire:
                return None
    except Unreadable:
        return None
    return found


def first(window: Window, start: int, end: int, number: int) -> tuple[int, int] | None:
    """Return where the first field of a number with a length lies, or None."""
    for other, wire, begin, stop in fields(window, start, end):
        if other == number and wire == BYTES:
            return begin, stop
    return None


def string(window: Window, start: int, end: int, number: int) -> str:
    """Return the first string of a field number, shortened; empty where there is none."""
    place = first(window, start, end, number)
    if place is None:
        return ""
    return window.read(place[0], min(place[1] - place[0], 4096)).decode("utf-8", "replace")
