"""The roles of opcodes and the algebra of tags, for the compiled walk (see `kernel`)."""
# mypy: disable-error-code="return-value, no-any-return, assignment, arg-type, call-overload, index"
# numba infers the types; what mypy takes for int is a NumPy integer where the function runs as is.

from __future__ import annotations

import pickle

import numpy as np
import numpy.typing as npt
from numba import njit

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.uint32]
Places = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]
Decisions = npt.NDArray[np.int32]
Spans = npt.NDArray[np.uint32]

NUMBER, TEXT, DUNDER, BYTES, EMPTY, TUPLE, LISTED, LIST, DICT, SET, FROZEN, OBJECT = range(1, 13)
SHARED = 5  # from the kind of a list, dict or set to that of one which the memo holds too
SHARED_LIST, SHARED_DICT, SHARED_SET = LIST + SHARED, DICT + SHARED, SET + SHARED
HEIGHT, HIGHEST, MEMBER = 16, 7, 128
CONSTANT = HEIGHT | MEMBER
HIGH = np.uint64(0x8080808080808080)
HIGHEST_PROTOCOL = pickle.HIGHEST_PROTOCOL
# What may be done with an object besides calling it.
BUILDS, HOLDS, ENCODES = 1, 2, 4
# Arguments of which a decision may be kept, by what is known of them: none at all, constants,
# constants and listed names and values, any tuple.
NOTHING, CONSTANTS, ALL_LISTED, ANYTHING = range(4)
# The words of the state that survives from one call to the next.
POS, DEPTH, BASE, LEVEL, STORED, COUNT, DUNDERS, HOSTILE, LATE, WORDS = range(10)
GIVE_UP, DECIDE, MORE, END = range(4)
WAYS, LONGEST_SPAN = 4, 64
EARLY, EVERY = 1 << 20, 1 << 10
TUPLE2, BINUNICODE, MEMOIZE = pickle.TUPLE2[0], pickle.BINUNICODE[0], pickle.MEMOIZE[0]
CODEC = np.frombuffer(b"latin", dtype=np.uint8)
(OTHER, PAUSE, FIXED, FIXED1, FIXED2, FIXED4, FIXED8, UTF8, PUT, PUT1, PUT4, GET1, GET4, TUPLES,
 OPEN, COUNTED1, UTF8_MORE, LATIN1, COUNTED, ADD, PAIR, PAIRS, ADD_MANY, CLOSE_TUPLE, CLOSE,
 CLOSE_DICT, POP_MARK, POP, CALL, BUILD, NAME, FRAME, START, STOP) = range(34)  # fmt: skip


def _table() -> Bytes:
    """Return role, width of the operand in bytes, and tag of what is made, for each byte value."""
    table = np.zeros((3, 256), dtype=np.uint8)
    for role, width, tag, codes in (
        (FIXED, 0, NUMBER | CONSTANT, "NONE NEWTRUE NEWFALSE"),
        (FIXED1, 1, NUMBER | CONSTANT, "BININT1"), (FIXED2, 2, NUMBER | CONSTANT, "BININT2"),
        (FIXED4, 4, NUMBER | CONSTANT, "BININT"), (FIXED8, 8, NUMBER | CONSTANT, "BINFLOAT"),
        (FIXED, 0, EMPTY | CONSTANT, "EMPTY_TUPLE"), (FIXED, 0, LIST | CONSTANT, "EMPTY_LIST"),
        (FIXED, 0, DICT | CONSTANT, "EMPTY_DICT"), (FIXED, 0, SET | CONSTANT, "EMPTY_SET"),
        (COUNTED1, 1, NUMBER | CONSTANT, "LONG1"), (COUNTED, 4, NUMBER | CONSTANT, "LONG4"),
        (COUNTED1, 1, BYTES | CONSTANT, "SHORT_BINBYTES"),
        (COUNTED, 4, BYTES | CONSTANT, "BINBYTES"),
        (COUNTED, 8, BYTES | CONSTANT, "BINBYTES8 BYTEARRAY8"),
        (UTF8, 1, TEXT | CONSTANT, "SHORT_BINUNICODE"),
        (UTF8_MORE, 4, TEXT | CONSTANT, "BINUNICODE"),
        (UTF8_MORE, 8, TEXT | CONSTANT, "BINUNICODE8"),
        (LATIN1, 1, TEXT | CONSTANT, "SHORT_BINSTRING"), (LATIN1, 4, TEXT | CONSTANT, "BINSTRING"),
        (OPEN, 0, 0, "MARK"), (TUPLES, 0, 1, "TUPLE1"), (TUPLES, 0, 2, "TUPLE2"),
        (TUPLES, 0, 3, "TUPLE3"), (CLOSE_TUPLE, 0, 0, "TUPLE"), (CLOSE, 0, LIST, "LIST"),
        (CLOSE, 0, FROZEN, "FROZENSET"), (CLOSE_DICT, 0, 0, "DICT"), (ADD, 0, LIST, "APPEND"),
        (ADD_MANY, 0, LIST, "APPENDS"), (ADD_MANY, 0, SET, "ADDITEMS"), (PAIR, 0, 0, "SETITEM"),
        (PAIRS, 0, 0, "SETITEMS"), (PUT, 0, 0, "MEMOIZE"), (PUT1, 1, 0, "BINPUT"),
        (PUT4, 4, 0, "LONG_BINPUT"), (GET1, 1, 0, "BINGET"), (GET4, 4, 0, "LONG_BINGET"),
        (POP, 0, 0, "POP"), (POP_MARK, 0, 0, "POP_MARK"), (FRAME, 8, 0, "FRAME"),
        (START, 1, 0, "PROTO"), (STOP, 0, 0, "STOP"), (CALL, 0, 0, "REDUCE"),
        (CALL, 0, 1, "NEWOBJ"), (BUILD, 0, 0, "BUILD"), (NAME, 0, 0, "GLOBAL"),
        (NAME, 0, 2, "STACK_GLOBAL"), (NAME, 0, 3, "NEWOBJ_EX"),
    ):  # fmt: skip
        for code in codes.split():
            table[:, getattr(pickle, code)[0]] = role, width, tag
    return table


ROLES, WIDTHS, MAKES = _table()


def _tupled() -> Bytes:
    """Return the tag of the tuple of values of which `met` tells the common upper half."""
    table = np.full(16, TUPLE, dtype=np.uint8)
    table[MEMBER >> 4] = table[(MEMBER >> 4) + HIGHEST] = LISTED
    for height in range(1, HIGHEST):
        table[(MEMBER >> 4) + height] = TUPLE | MEMBER | (height + 1) * HEIGHT
    return table


def _known() -> npt.NDArray[np.int8]:
    """Return what each tag tells of the arguments of a call, -1 where it is no tuple."""
    table = np.full(256, -1, dtype=np.int8)
    for tag in range(256):
        kind = tag & 15
        if kind == EMPTY:
            table[tag] = NOTHING
        elif kind == LISTED:
            table[tag] = ALL_LISTED
        elif kind == TUPLE:
            table[tag] = CONSTANTS if tag >= MEMBER else ANYTHING
    return table


TUPLED, KNOWN = _tupled(), _known()

# Nothing is allocated, so no references are counted; unsigned indices need no check of the sign.
compiled = njit(cache=True, nogil=True, _nrt=False)
inlined = njit(cache=True, nogil=True, _nrt=False, forceinline=True)
U = np.uint64
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)


@inlined  # type: ignore[untyped-decorator]
def joined(tags: Bytes, first: int, last: int, floor: int) -> int:
    """Return the height part of the tag of a container of height ``floor`` and more items."""
    if floor == 0:
        return 0
    some, every = 0, 0xFF
    for index in range(first, last):
        tag = tags[U(index)]
        some |= tag
        every &= tag
    if floor <= 2 and every & 0xF0 == CONSTANT and some & 0xF0 == CONSTANT:
        return 2 * HEIGHT | MEMBER
    least, most = HIGHEST, floor - 1
    for index in range(first, last):
        height = (tags[U(index)] >> 4) & HIGHEST
        least = min(least, height)
        most = max(most, height)
    if least == 0 or most == HIGHEST:
        return 0
    return (most + 1) * HEIGHT | MEMBER


@inlined  # type: ignore[untyped-decorator]
def met(one: int, other: int) -> int:
    """Return what the upper halves of two tags have in common.

    A half is 0, or the bit of a member alone, or that with a height; the lesser one is what is
    known of both, unless both have heights, of which the greater one counts.
    """
    least = min(one, other)
    return max(one, other) if least > MEMBER >> 4 else least


@inlined  # type: ignore[untyped-decorator]
def joined_tuple(tags: Bytes, first: int, last: int) -> int:
    """Return the tag of the tuple of some items."""
    if first == last:
        return EMPTY | CONSTANT
    half = np.int64(tags[U(first)] >> 4)
    for index in range(first + 1, last):
        half = met(half, np.int64(tags[U(index)] >> 4))
    return np.int64(TUPLED[U(half)])


@inlined  # type: ignore[untyped-decorator]
def shared(tag: int) -> int:
    """Return the tag under which the memo keeps a value: what may be filled later is not known."""
    kind = tag & 15
    return kind + SHARED if LIST <= kind <= SET else tag


@inlined  # type: ignore[untyped-decorator]
def filled(target: int, wanted: int, tags: Bytes, first: int, last: int, holds: int) -> int:
    """Return the tag of a container after items were added, 0 where that is not followed.

    What holds a container that the memo knows too was judged by what was in it at the time, so
    that only numbers and strings may still come in by that way: they leave every height as it is.
    """
    kind = target & 15
    if kind == OBJECT:
        return target if holds else 0
    if kind == wanted:
        return kind | joined(tags, first, last, (target >> 4) & HIGHEST)
    if kind != wanted + SHARED:
        return 0
    for index in range(first, last):
        if tags[U(index)] & 15 > BYTES:
            return 0
    return target


@inlined  # type: ignore[untyped-decorator]
def updated(target: int, tags: Bytes, first: int, last: int, holds: int, state: Numbers) -> int:
    """Return the tag of a mapping after keys and values were set, 0 where that is not followed.

    A key that is a tuple may hold a list, which the machine tells apart and a height does not.
    """
    if (last - first) % 2:
        return 0
    dunder, most = 0, 0
    for index in range(first, last, 2):
        key = tags[U(index)] & 15
        dunder |= key == DUNDER
        most = max(most, key)
    kind = target & 15
    if dunder:
        if kind == OBJECT:
            return 0
        state[DUNDERS] = 1
    if most > BYTES and kind == DICT:
        target = DICT
    return filled(target, DICT, tags, first, last, holds)


@inlined  # type: ignore[untyped-decorator]
def set_one(target: int, key: int, value: int, holds: int) -> int:
    """Return the tag of a mapping after one plain item was set, 0 where `updated` has to tell."""
    kind = target & 15
    if key & 15 > BYTES or key & 15 == DUNDER:
        return 0
    if kind == OBJECT:
        return target if holds else 0
    return with_item(target, DICT, key | value, key & value)


@inlined  # type: ignore[untyped-decorator]
def with_item(target: int, wanted: int, some: int, every: int) -> int:
    """Return the tag of a container after plain constants came in, 0 where that is not so plain."""
    height = (target >> 4) & HIGHEST
    if target & 15 != wanted or height > 2:
        return 0
    if height == 0:
        return wanted
    constant = some & 0xF0 == CONSTANT and every & 0xF0 == CONSTANT
    return wanted | 2 * HEIGHT | MEMBER if constant else 0
