"""Protobuf messages written byte by byte, for the tests of the formats made of them."""

from __future__ import annotations


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number: int, body: bytes | int) -> bytes:
    """A varint field for a number, a field with a length for bytes."""
    if isinstance(body, int):
        return varint(number << 3) + varint(body)
    return varint(number << 3 | 2) + varint(len(body)) + body
