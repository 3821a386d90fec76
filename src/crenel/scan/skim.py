"""A compiled walk over large pickle streams of plain data: hundreds of megabytes in a second.

It knows the opcodes that make numbers, strings, bytes and containers, and what each takes from and
gives to the stack. At anything else (a name, a call, a persistent id, text opcodes of protocol 0,
an underflow, an odd length) it gives up, and the symbolic machine reads the stream from its start.
"""

from __future__ import annotations

import pickle

import numpy as np
import numpy.typing as npt
from numba import njit

from crenel.scan.source import Window, window_of

Bytes = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]
OTHER, PLAIN, SIZED, MARK, CLOSE, PUT, GET, DUP, FRAME, STOP = range(10)
ANY, VALUE, LIST, DICT, SET = range(5)
MAX_MEMO = 1 << 28
MAX_DEPTH = 1 << 24
MAX_MARKS = 10_000


def _table() -> Counts:
    """Return what each byte value does.

    Returns
    -------
    array, shape (256, 6)
        Role; width of the operand in bytes; items taken; kind of the item made, 0 where none;
        items that must be left below; kind that the item below must have, 0 where any.
    """
    table = np.zeros((256, 6), dtype=np.int64)
    for row, codes in (
        ((PLAIN, 0, 0, VALUE, 0, ANY), "NONE NEWTRUE NEWFALSE EMPTY_TUPLE"),
        ((PLAIN, 0, 0, LIST, 0, ANY), "EMPTY_LIST"),
        ((PLAIN, 0, 0, DICT, 0, ANY), "EMPTY_DICT"),
        ((PLAIN, 0, 0, SET, 0, ANY), "EMPTY_SET"),
        ((PLAIN, 1, 0, VALUE, 0, ANY), "BININT1"),
        ((PLAIN, 2, 0, VALUE, 0, ANY), "BININT2"),
        ((PLAIN, 4, 0, VALUE, 0, ANY), "BININT"),
        ((PLAIN, 8, 0, VALUE, 0, ANY), "BINFLOAT"),
        ((SIZED, 1, 0, VALUE, 0, ANY), "SHORT_BINUNICODE SHORT_BINBYTES LONG1"),
        ((SIZED, 4, 0, VALUE, 0, ANY), "BINUNICODE BINBYTES"),
        ((SIZED, 8, 0, VALUE, 0, ANY), "BINUNICODE8 BINBYTES8"),
        ((PLAIN, 0, 1, ANY, 1, LIST), "APPEND"),
        ((PLAIN, 0, 2, ANY, 1, DICT), "SETITEM"),
        ((PLAIN, 0, 1, VALUE, 0, ANY), "TUPLE1"),
        ((PLAIN, 0, 2, VALUE, 0, ANY), "TUPLE2"),
        ((PLAIN, 0, 3, VALUE, 0, ANY), "TUPLE3"),
        ((PLAIN, 0, 1, ANY, 0, ANY), "POP"),
        ((DUP, 0, 0, VALUE, 1, ANY), "DUP"),
        ((FRAME, 8, 0, ANY, 0, ANY), "FRAME"),
        ((MARK, 0, 0, ANY, 0, ANY), "MARK"),
        ((CLOSE, 0, 0, ANY, 1, LIST), "APPENDS"),
        ((CLOSE, 0, 0, ANY, 1, DICT), "SETITEMS"),
        ((CLOSE, 0, 0, ANY, 1, SET), "ADDITEMS"),
        ((CLOSE, 0, 0, VALUE, 0, ANY), "TUPLE FROZENSET"),
        ((PUT, 0, 0, ANY, 1, ANY), "MEMOIZE"),
        ((PUT, 1, 0, ANY, 1, ANY), "BINPUT"),
        ((PUT, 4, 0, ANY, 1, ANY), "LONG_BINPUT"),
        ((GET, 1, 0, VALUE, 0, ANY), "BINGET"),
        ((GET, 4, 0, VALUE, 0, ANY), "LONG_BINGET"),
        ((STOP, 0, 0, ANY, 1, ANY), "STOP"),
    ):
        for code in codes.split():
            table[getattr(pickle, code)[0]] = row
    return table


TABLE = _table()


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _number(data: Bytes, pos: int, width: int) -> int:
    """Return a little-endian number, -1 where it is cut short."""
    value = 0
    if pos + width > data.size:
        return -1
    for index in range(width):
        value |= int(np.int64(data[pos + index])) << (8 * index)
    return value


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _walk(
    data: Bytes, table: Counts, memo: Bytes, marks: Counts, stack: Bytes, limit: int
) -> tuple[int, int]:  # fmt: skip
    """Return where the stream ends, -1 where it is not plain, and the operations walked."""
    depth, base, level, stored, count = 0, 0, 0, 0, 0
    pos = 2 if data.size > 1 and data[0] == 0x80 and data[1] <= 5 else 0
    while pos < data.size and count < limit:
        role, width, takes, makes, below, wants = table[data[pos]]
        count += 1
        value = _number(data, pos + 1, width) if SIZED <= role <= FRAME else 0
        pos += 1 + width + (value if role == SIZED else 0)
        if role == OTHER or value < 0 or pos < 0 or pos > data.size:
            break
        if role == CLOSE:
            if level == 0 or (wants == DICT and (depth - base) % 2):
                break
            level -= 1
            depth, base = base, marks[level]
        depth -= takes
        top = stack[depth - 1] if depth > base else 0
        if depth - base < below or (wants and top != wants):
            break
        if PUT <= role <= GET:
            index = stored if width == 0 else value
            if index >= memo.size or (role == GET and memo[index] == 0):
                break
            if role == PUT:
                stored += memo[index] == 0
                memo[index] = top
            top = memo[index]
        elif role == MARK:
            if level == marks.size:
                break
            marks[level], base, level = base, depth, level + 1
        elif role == STOP:
            return (pos if level == 0 else -1), count
        elif role == FRAME and value > data.size - pos:
            break
        if makes:
            if depth == stack.size:
                break
            stack[depth] = top if role in (DUP, GET) else makes
            depth += 1
    return -1, count


def plain_data(window: Window, limit: int) -> tuple[int, int]:
    """Walk one stream from the first byte of a window.

    Parameters
    ----------
    window : Window
        Bytes that may be a pickle stream.
    limit : int
        Operations that may be walked.

    Returns
    -------
    end : int
        Where the stream ends; -1 where it holds more than plain data, or is damaged. Strings are
        not decoded: a loader stops at one that is no UTF-8, and calls nothing either way.
    operations : int
        How many there were.
    """
    data = np.frombuffer(window.base, dtype=np.uint8)[window.start : window.end]
    memo = np.zeros(min(len(window) + 1, MAX_MEMO), dtype=np.uint8)
    marks = np.zeros(MAX_MARKS, dtype=np.int64)
    stack = np.zeros(min(len(window) + 1, MAX_DEPTH), dtype=np.uint8)
    end, count = _walk(data, TABLE, memo, marks, stack, limit)
    return int(end), int(count)


def warm_up() -> None:
    """Compile the walk, which is kept for later runs."""
    plain_data(window_of(pickle.dumps([1, "a"], 4)), 100)
