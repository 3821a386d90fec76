"""Reading the bytes of a stream, for the compiled walk (see `kernel`)."""
# mypy: disable-error-code="return-value, no-any-return, assignment, arg-type, call-overload, index"
# numba infers the types; what mypy takes for int is a NumPy integer where the function runs as is.

from __future__ import annotations

import numpy as np

from crenel.scan.kernel_tags import (
    BINUNICODE,
    CODEC,
    COUNTED,
    COUNTED1,
    FIXED,
    GET1,
    GET4,
    HALF,
    HIGH,
    LONGEST_SPAN,
    LOW,
    MAKES,
    NAME,
    PUT,
    PUT4,
    ROLES,
    TEXT,
    TUPLE2,
    UTF8,
    UTF8_MORE,
    WAYS,
    WIDTHS,
    Bytes,
    Offsets,
    Places,
    Spans,
    U,
    compiled,
    inlined,
)
from crenel.scan.values import LONGEST


@inlined  # type: ignore[untyped-decorator]
def number_at(data: Bytes, first: int, width: int) -> int:
    """Return a little-endian number; one of eight bytes may come out negative."""
    value = np.int64(data[U(first)])
    for index in range(1, width):
        value |= np.int64(data[U(first + index)]) << (8 * index)
    return value


@compiled  # type: ignore[untyped-decorator]
def is_utf8(data: Bytes, first: int, last: int) -> bool:
    """Tell whether bytes are UTF-8, surrogates allowed, as pickle decodes them."""
    pos = first
    while pos < last:
        lead = data[pos]
        if lead < 0x80:
            pos += 1
            continue
        more = 1 if lead < 0xE0 else 2 if lead < 0xF0 else 3
        if lead < 0xC2 or lead > 0xF4 or pos + more >= last:
            return False
        second = data[pos + 1]
        if (lead == 0xE0 and second < 0xA0) or (lead == 0xF0 and second < 0x90):
            return False
        if lead == 0xF4 and second > 0x8F:
            return False
        for index in range(1, more + 1):
            if data[pos + index] & 0xC0 != 0x80:
                return False
        pos += more + 1
    return True


@inlined  # type: ignore[untyped-decorator]
def is_ascii(data: Bytes, words: Places, first: int, last: int) -> bool:
    """Tell whether no byte is above 127; ``words`` are the eight bytes at each offset."""
    size = last - first
    if size >= 8:
        high = words[U(first)] | words[U(last - 8)]
        for index in range(first + 8, last - 8, 8):
            high |= words[U(index)]
    elif first + 8 <= data.size:
        high = words[U(first)] & ((U(1) << U(8 * size)) - U(1))
    else:
        high = np.uint64(0)
        for index in range(first, last):
            high |= np.uint64(data[U(index)])
    return high & HIGH == 0


@inlined  # type: ignore[untyped-decorator]
def is_dunder(data: Bytes, first: int, last: int) -> bool:
    """Tell whether a string begins and ends with two underscores; one too long is not kept."""
    return (
        2 <= last - first <= LONGEST
        and data[U(first)] == 0x5F
        and data[U(first + 1)] == 0x5F
        and data[U(last - 1)] == 0x5F
        and data[U(last - 2)] == 0x5F
    )


@inlined  # type: ignore[untyped-decorator]
def passed(data: Bytes, pos: int, last: int) -> int:
    """Return where the operations that only put into the memo end."""
    while pos < last and PUT <= ROLES[data[U(pos)]] <= PUT4:
        pos += 1 + np.int64(WIDTHS[data[U(pos)]])
    return pos


@inlined  # type: ignore[untyped-decorator]
def behind(data: Bytes, pos: int, last: int) -> int:
    """Return where the operation at a place ends, ``last`` where it would end later."""
    role, width = ROLES[data[U(pos)]], np.int64(WIDTHS[data[U(pos)]])
    after = pos + 1 + width
    if after <= last and (role == UTF8 or COUNTED1 <= role <= COUNTED):
        after += number_at(data, pos + 1, width)
    elif role == NAME and MAKES[data[U(pos)]] == 0:
        for _ in range(2):  # the lines of GLOBAL
            while after < last and data[U(after)] != 0x0A:
                after += 1
            after += 1
    return after if pos < after < last else last


@compiled  # type: ignore[untyped-decorator]
def alike(data: Bytes, begin: int, end: int, first: int, last: int) -> bool:
    """Tell whether two runs of operations are the same but for what they put into the memo."""
    while True:
        begin, first = passed(data, begin, end), passed(data, first, last)
        if begin >= end or first >= last:
            return begin >= end and first >= last
        after = behind(data, begin, end)
        if after - begin > last - first:
            return False
        while begin < after:
            if data[U(begin)] != data[U(first)]:
                return False
            begin += 1
            first += 1


@inlined  # type: ignore[untyped-decorator]
def same(data: Bytes, words: Places, begin: int, first: int, size: int) -> bool:
    """Tell whether two runs of bytes are the same; ``words`` are the eight bytes at each offset."""
    if size >= 8:
        differ = words[U(begin + size - 8)] ^ words[U(first + size - 8)]
        for index in range(0, size - 8, 8):
            differ |= words[U(begin + index)] ^ words[U(first + index)]
        return differ == 0
    odd = np.uint8(0)
    for index in range(size):
        odd |= data[U(begin + index)] ^ data[U(first + index)]
    return odd == 0


@inlined  # type: ignore[untyped-decorator]
def repeated(
    data: Bytes, words: Places, spans: Spans, callee: int, new: int, first: int, last: int
) -> int:  # fmt: skip
    """Return what was returned for the last arguments, if these are the very same bytes, else -1.

    That is `returned` where nothing but MEMOIZE puts into the memo, for the loop of common
    operations.
    """
    begin, end = np.int64(spans[U(callee), U(new), 0, 0]), np.int64(spans[U(callee), U(new), 0, 1])
    size = last - first
    if end - begin != size or size > LONGEST_SPAN or not same(data, words, begin, first, size):
        return -1
    return np.int64(spans[U(callee), U(new), 0, 2])


@compiled  # type: ignore[untyped-decorator]
def returned(data: Bytes, spans: Offsets, first: int, last: int) -> int:
    """Return what was returned for arguments made by the very same operations, -1 if none.

    The memo is written once, so that the same operations make the same value, wherever they put it.
    """
    if last - first > LONGEST_SPAN:
        return -1
    for way in range(WAYS):
        begin, end = np.int64(spans[way, 0]), np.int64(spans[way, 1])
        if begin < end and alike(data, begin, end, first, last):
            return np.int64(spans[way, 2])
    return -1


@inlined  # type: ignore[untyped-decorator]
def is_latin1(data: Bytes, pos: int, last: int) -> bool:
    """Tell whether the operation at a place is a short string that names the codec."""
    size = np.int64(data[U(pos + 1)]) if pos + 2 <= last else 0
    at = pos + 2
    if data[U(pos)] == BINUNICODE and pos + 5 <= last:
        size, at = number_at(data, pos + 1, 4), pos + 5
    elif ROLES[data[U(pos)]] != UTF8:
        return False
    if not 6 <= size <= 7 or at + size > last:
        return False
    same = True
    for index in range(5):
        same &= data[U(at + index)] == CODEC[index]
    dash = size == 7 and data[U(at + 5)] == 0x2D
    return same and data[U(at + size - 1)] == 0x31 and (size == 6 or dash)


@compiled  # type: ignore[untyped-decorator]
def is_encoded(data: Bytes, memo_tags: Bytes, memo: Offsets, first: int, last: int) -> bool:
    """Tell whether some operations make a tuple of a text and the name latin1, and nothing else.

    Protocol 2 writes byte strings so, as ``_codecs.encode(text, "latin1")``.
    """
    if first >= last or (ROLES[data[U(first)]] != UTF8 and ROLES[data[U(first)]] != UTF8_MORE):
        return False
    pos = behind(data, first, last)
    # One byte is shared by all that hold it, so that it is fetched from the memo as an object.
    if pos - first - 1 - np.int64(WIDTHS[data[U(first)]]) < 2:
        return False
    pos = passed(data, pos, last)
    if pos >= last:
        return False
    role, named = ROLES[data[U(pos)]], pos
    if GET1 <= role <= GET4:
        index = number_at(data, pos + 1, 1 if role == GET1 else 4) if pos + 5 <= data.size else -1
        if index < 0 or index >= memo.size or memo_tags[U(index)] & 15 != TEXT:
            return False
        named = np.int64(memo[U(index)])
    if not is_latin1(data, named, data.size) or (named == 0):
        return False
    pos = passed(data, behind(data, pos, last), last)
    if pos >= last or data[U(pos)] != TUPLE2:
        return False
    return passed(data, pos + 1, last) == last


@compiled  # type: ignore[untyped-decorator]
def reference(late: Places, count: int, index: int) -> int:
    """Return the reference of a late object of the memo, 0 where there is none."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if np.int64(late[middle] >> HALF) <= index:
            low = middle + 1
        else:
            high = middle
    return np.int64(late[low - 1] & LOW) if low else 0


@compiled  # type: ignore[untyped-decorator]
def memoised(data: Bytes, start: int, count: int) -> int:
    """Return where the number or string begins that was memoised so many MEMOIZEs after one.

    Parameters
    ----------
    data : array, shape (n,)
        The stream, walked before.
    start : int
        Offset of a MEMOIZE.
    count : int
        The number of MEMOIZE, BINPUT and LONG_BINPUT to pass from there.

    Returns 0 where what stands before the last of them is nothing of the kind.
    """
    pos, before = start, 0
    while pos < data.size:
        role, width = ROLES[data[pos]], np.int64(WIDTHS[data[pos]])
        if PUT <= role <= PUT4:
            if count == 0:
                kind = ROLES[data[before]]
                plain = FIXED <= kind <= UTF8 or COUNTED1 <= kind <= COUNTED
                return before if plain else 0
            count -= 1
        before = pos
        pos += 1 + width
        if role == UTF8 or COUNTED1 <= role <= COUNTED:
            pos += number_at(data, pos - width, width)
        elif role == NAME and MAKES[data[before]] == 0:
            for _ in range(2):  # the lines of GLOBAL
                while pos < data.size and data[pos] != 0x0A:
                    pos += 1
                pos += 1
    return 0
