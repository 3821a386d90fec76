"""The compiled walk over the opcodes of a pickle, with a tag in place of each value.

A tag is one byte: the kind in the low four bits, then three bits of height, then one bit that
tells whether a value may be among the arguments of the rule ``listed_all``. The height is 0 where
a value is not known to be a constant in the sense of `crenel.scan.values.is_constant`, otherwise
one more than the depth of the containers in it. Beside the tag, each value on the stack has the
offset at which the operations that made it begin, and a reference: the offset of the operation
that made it for numbers and strings, the number of the object for objects.

The walk goes on only where the symbolic machine would go on without a word. It stops at what has
to be decided (`DECIDE`): names, and calls and states of which it has no earlier decision that
depends on the tags, or on the very bytes, alone. At anything that is rare, odd or damaged it gives
up (`GIVE_UP`). All of it is in one module, because numba keeps compiled code for as long as the
module of the compiled function is the same.
"""
# mypy: disable-error-code="return-value, no-any-return, assignment, arg-type, call-overload, index"
# numba infers the types; what mypy takes for int is a NumPy integer where the function runs as is.

from __future__ import annotations

import pickle

import numpy as np
import numpy.typing as npt
from numba import njit

from crenel.scan.values import LONGEST

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.uint32]
Places = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]

NUMBER, TEXT, DUNDER, BYTES, EMPTY, TUPLE, LISTED, LIST, DICT, SET, FROZEN, OBJECT = range(1, 13)
SHARED = 5  # from the kind of a list, dict or set to that of one which the memo holds too
SHARED_LIST, SHARED_DICT, SHARED_SET = LIST + SHARED, DICT + SHARED, SET + SHARED
HEIGHT, HIGHEST, MEMBER = 16, 7, 128
CONSTANT = HEIGHT | MEMBER
HIGH = np.uint64(0x8080808080808080)
HIGHEST_PROTOCOL = pickle.HIGHEST_PROTOCOL
# What may be done with an object besides calling it.
BUILDS, HOLDS = 1, 2
# Arguments of which a decision may be kept, by what is known of them: none at all, constants,
# constants and listed names and values, any tuple.
NOTHING, CONSTANTS, ALL_LISTED, ANYTHING = range(4)
# The words of the state that survives from one call to the next.
POS, DEPTH, BASE, LEVEL, STORED, COUNT, DUNDERS, HOSTILE, LATE, WORDS = range(10)
GIVE_UP, DECIDE, MORE, END = range(4)
WAYS, LONGEST_SPAN = 4, 64
EARLY, EVERY = 1 << 20, 1 << 10
(OTHER, PAUSE, FIXED, FIXED1, FIXED2, FIXED4, FIXED8, UTF8, PUT, PUT1, PUT4, GET1, GET4, TUPLES,
 OPEN, UTF8_MORE, LATIN1, COUNTED, ADD, PAIR, PAIRS, ADD_MANY, CLOSE_TUPLE, CLOSE, CLOSE_DICT,
 POP_MARK, POP, CALL, BUILD, NAME, FRAME, START, STOP) = range(33)  # fmt: skip


def _table() -> Bytes:
    """Return role, width of the operand in bytes, and tag of what is made, for each byte value."""
    table = np.zeros((3, 256), dtype=np.uint8)
    for role, width, tag, codes in (
        (FIXED, 0, NUMBER | CONSTANT, "NONE NEWTRUE NEWFALSE"),
        (FIXED1, 1, NUMBER | CONSTANT, "BININT1"), (FIXED2, 2, NUMBER | CONSTANT, "BININT2"),
        (FIXED4, 4, NUMBER | CONSTANT, "BININT"), (FIXED8, 8, NUMBER | CONSTANT, "BINFLOAT"),
        (FIXED, 0, EMPTY | CONSTANT, "EMPTY_TUPLE"), (FIXED, 0, LIST | CONSTANT, "EMPTY_LIST"),
        (FIXED, 0, DICT | CONSTANT, "EMPTY_DICT"), (FIXED, 0, SET | CONSTANT, "EMPTY_SET"),
        (COUNTED, 1, NUMBER | CONSTANT, "LONG1"), (COUNTED, 4, NUMBER | CONSTANT, "LONG4"),
        (COUNTED, 1, BYTES | CONSTANT, "SHORT_BINBYTES"),
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

# Nothing is allocated, so no references are counted; unsigned indices need no check of the sign.
compiled = njit(cache=True, nogil=True, _nrt=False)
inlined = njit(cache=True, nogil=True, _nrt=False, forceinline=True)
U = np.uint64
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)


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
def joined_tuple(tags: Bytes, first: int, last: int) -> int:
    """Return the tag of the tuple of some items."""
    if first == last:
        return EMPTY | CONSTANT
    height = joined(tags, first, last, 1)
    if height:
        return TUPLE | height
    for index in range(first, last):
        if tags[U(index)] < MEMBER:
            return TUPLE
    return LISTED


@inlined  # type: ignore[untyped-decorator]
def shared(tag: int) -> int:
    """Return the tag under which the memo keeps a value: what may be filled later is not known."""
    kind = tag & 15
    return kind + SHARED if LIST <= kind <= SET else tag


@compiled  # type: ignore[untyped-decorator]
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


@compiled  # type: ignore[untyped-decorator]
def updated(target: int, tags: Bytes, first: int, last: int, holds: int, state: Numbers) -> int:
    """Return the tag of a mapping after keys and values were set, 0 where that is not followed.

    A key that is a tuple may hold a list, which the machine tells apart and a height does not.
    """
    kind = target & 15
    if (last - first) % 2:
        return 0
    for index in range(first, last, 2):
        key = tags[index] & 15
        if key == DUNDER:
            if kind == OBJECT:
                return 0
            state[DUNDERS] = 1
        elif key > BYTES and kind == DICT:
            target = DICT
    return filled(target, DICT, tags, first, last, holds)


@compiled  # type: ignore[untyped-decorator]
def what_is_known(arguments: int) -> int:
    """Return what a tag tells of the arguments of a call, -1 where it is no tuple."""
    kind = arguments & 15
    if kind == EMPTY:
        return NOTHING
    if kind == LISTED:
        return ALL_LISTED
    if kind == TUPLE:
        return CONSTANTS if arguments >= MEMBER else ANYTHING
    return -1


@compiled  # type: ignore[untyped-decorator]
def returned(data: Bytes, spans: Numbers, first: int, last: int) -> int:
    """Return what was returned for arguments made by the very same bytes, -1 if none.

    The memo is written once, so that the same bytes make the same value.
    """
    for way in range(WAYS):
        begin, end = spans[way, 0], spans[way, 1]
        if end - begin != last - first or last - first > LONGEST_SPAN:
            continue
        at = 0
        while at < last - first and data[U(begin + at)] == data[U(first + at)]:
            at += 1
        if at == last - first:
            return spans[way, 2]
    return -1


@compiled  # type: ignore[untyped-decorator]
def reference(late: Places, count: int, index: int, other: int) -> int:
    """Return the reference of a late object of the memo, ``other`` where it is none."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if np.int64(late[middle] >> HALF) < index:
            low = middle + 1
        else:
            high = middle
    if low < count and np.int64(late[low] >> HALF) == index:
        return np.int64(late[low] & LOW)
    return other


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
                plain = FIXED <= kind <= UTF8 or UTF8_MORE <= kind <= COUNTED
                return before if plain and role == PUT else 0
            count -= 1
        before = pos
        pos += 1 + width
        if role == UTF8 or UTF8_MORE <= role <= COUNTED:
            pos += number_at(data, pos - width, width)
        elif role == NAME and MAKES[data[before]] == 0:
            for _ in range(2):  # the lines of GLOBAL
                while pos < data.size and data[pos] != 0x0A:
                    pos += 1
                pos += 1
    return 0


@compiled  # type: ignore[untyped-decorator]
def walk(  # noqa: C901, PLR0915 - one switch over the opcodes, whose variables stay in registers
    data: Bytes, words: Places, state: Numbers, tags: Bytes, places: Places, marks: Numbers,
    memo_tags: Bytes, memo: Offsets, late: Places, checks: Offsets, objects: Bytes, made: Numbers,
    spans: Numbers, until: int, limit: int,
) -> int:  # fmt: skip
    """Walk on from where the state stands.

    Parameters
    ----------
    data : array, shape (n,)
        The stream, from its first byte.
    words : array, shape (max(n - 7, 0),)
        The eight bytes at each offset, as one little-endian number.
    state : array, shape (WORDS,)
        Read and left behind; ``POS`` is the offset of the next operation.
    tags, places : array, shape (d,)
        The stack: tag of each value, and its reference with the offset of its first operation in
        the upper half.
    marks : array, shape (m, 2)
        For each open mark the depth at which the part below begins, and the mark's offset.
    memo_tags, memo : array, shape (k,)
        The memo: tags, 0 where nothing is stored, and references. Late ones are left out, for
        they would take most of the memory: numbers and strings are found by `memoised`.
    late : array, shape (k,)
        References of late objects, with their places in the memo in the upper half, in order.
    checks : array, shape (k / EVERY + 1,)
        Offset of the MEMOIZE of every so many entries of the memo.
    objects : array, shape (o, 2)
        Tag of each object, and what may be done with it.
    made : array, shape (o, 2, 4)
        Object that a call returns, by callee, REDUCE or NEWOBJ, and what is known of the
        arguments; -1 where that has to be decided.
    spans : array, shape (o, 2, WAYS, 3)
        Arguments of earlier calls, by callee and REDUCE or NEWOBJ: offsets at which their
        operations begin and end, and the object that was returned; 0 and 0 where there is none.
    until : int
        Offset at which to pause.
    limit : int
        Operations allowed.

    Returns
    -------
    int
        ``GIVE_UP``; ``DECIDE`` with the offset of the operation in the state; ``MORE`` at
        ``until``; ``END`` after STOP.
    """
    size, room, cells = data.size, tags.size, memo_tags.size
    pos, depth, base, level = state[POS], state[DEPTH], state[BASE], state[LEVEL]
    stored, left = state[STORED], limit - state[COUNT]
    stop, outcome = min(size, until), MORE
    while pos < stop and left > 0:
        role, new, after = OTHER, 0, pos
        # Values and the memo, in a loop of their own for the sake of the compiler. Widths are
        # constants, so that the processor need not wait for a table to know the next offset.
        while pos < stop and left > 0 and depth < room:
            code = data[U(pos)]
            role, new, after = np.int64(ROLES[code]), np.int64(MAKES[code]), pos + 1
            place = U(pos)
            left -= 1
            if role == FIXED1:
                after = pos + 2
            elif role == FIXED:
                after = pos + 1
            elif role == UTF8:
                after = pos + 2 + (np.int64(data[U(pos + 1)]) if pos + 1 < size else size)
                if after > size:
                    role = OTHER
                    break
                if not is_ascii(data, words, pos + 2, after):
                    break
                if is_dunder(data, pos + 2, after):
                    new = DUNDER | CONSTANT
            elif role == PUT:
                if depth == base or stored == cells or memo_tags[U(stored)]:
                    role = OTHER
                    break
                tag = np.int64(tags[U(depth - 1)])
                memo_tags[U(stored)] = shared(tag)
                if stored < EARLY:
                    memo[U(stored)] = places[U(depth - 1)] & LOW
                elif tag & 15 == OBJECT:
                    late[state[LATE]] = U(stored) << HALF | (places[U(depth - 1)] & LOW)
                    state[LATE] += 1
                if stored & (EVERY - 1) == 0:
                    checks[U(stored) // U(EVERY)] = pos
                stored += 1
                pos += 1
                role = PAUSE
                continue
            elif GET1 <= role <= GET4:
                index = cells
                if role == GET4 and pos + 5 <= size:
                    index = number_at(data, pos + 1, 4)
                    after = pos + 5
                elif role == GET1 and pos + 2 <= size:
                    index = np.int64(data[U(pos + 1)])
                    after = pos + 2
                if index >= cells or memo_tags[U(index)] == 0:
                    role = OTHER
                    break
                new = np.int64(memo_tags[U(index)])
                what = np.int64(memo[U(index)])
                if index >= EARLY and new & 15 == OBJECT:
                    what = reference(late, state[LATE], index, what)
                tags[U(depth)] = new
                places[U(depth)] = place << HALF | U(what)
                depth += 1
                pos = after
                role = PAUSE
                continue
            elif role == FIXED8:
                after = pos + 9
            elif role == FIXED4:
                after = pos + 5
            elif role == FIXED2:
                after = pos + 3
            elif role == TUPLES:
                first = depth - new
                if first < base:
                    role = OTHER
                    break
                tags[U(first)] = joined_tuple(tags, first, depth)
                depth = first + 1
                pos += 1
                role = PAUSE
                continue
            else:
                break
            tags[U(depth)] = new
            places[U(depth)] = place << HALF | place
            depth += 1
            pos = after
            role = PAUSE
        if role == PAUSE:
            continue
        what = since = pos
        if role == OPEN:
            if level == len(marks):
                outcome = GIVE_UP
                break
            marks[level, 0], marks[level, 1] = base, pos
            level += 1
            base = depth
        elif ADD <= role <= POP_MARK:
            first, last = depth - 1, depth
            if role == PAIR:
                first -= 1
            elif role >= PAIRS:
                if level == 0:
                    outcome = GIVE_UP
                    break
                level -= 1
                first, base, since = base, marks[level, 0], marks[level, 1]
            depth = first
            if role == CLOSE_TUPLE:
                new = joined_tuple(tags, first, last)
            elif role == CLOSE:
                new |= joined(tags, first, last, 1)
            elif role == CLOSE_DICT:
                new = updated(DICT | CONSTANT, tags, first, last, 0, state)
                if new == 0:
                    outcome = GIVE_UP
                    break
            elif role != POP_MARK:
                if depth <= base:
                    outcome = GIVE_UP
                    break
                target, holds = np.int64(tags[U(depth - 1)]), 0
                if target & 15 == OBJECT:
                    holds = objects[places[U(depth - 1)] & LOW, 1] & HOLDS
                if PAIR <= role <= PAIRS:
                    target = updated(target, tags, first, last, holds, state)
                else:
                    target = filled(target, new, tags, first, last, holds)
                if target == 0:
                    outcome = GIVE_UP
                    break
                tags[U(depth - 1)] = target
                new = 0
        elif role == UTF8 or UTF8_MORE <= role <= COUNTED:
            width = np.int64(WIDTHS[data[U(pos)]])
            after = pos + 1 + width
            value = number_at(data, pos + 1, width) if after <= size else -1
            if value < 0 or value > size - after:
                outcome = GIVE_UP
                break
            if role != COUNTED:
                if role != LATIN1 and value <= LONGEST and not is_utf8(data, after, after + value):
                    outcome = GIVE_UP
                    break
                if is_dunder(data, after, after + value):
                    new = DUNDER | CONSTANT
            after += value
        elif PUT1 <= role <= PUT4:
            after = pos + (2 if role == PUT1 else 5)
            if depth == base or stored == cells or after > size:
                outcome = GIVE_UP
                break
            index = number_at(data, pos + 1, after - pos - 1)
            if index >= cells or memo_tags[U(index)]:
                outcome = GIVE_UP
                break
            memo_tags[U(index)] = shared(np.int64(tags[U(depth - 1)]))
            ref = places[U(depth - 1)] & LOW
            if index < EARLY or index != stored:
                memo[U(index)] = ref
            elif tags[U(depth - 1)] & 15 == OBJECT:
                late[state[LATE]] = U(index) << HALF | ref
                state[LATE] += 1
            stored += 1
        elif role == POP:
            depth -= 1
            if depth < base:
                outcome = GIVE_UP
                break
        elif CALL <= role <= NAME:
            operands = new if role == NAME else 2
            if depth - operands < base:
                outcome = GIVE_UP
                break
            result = -1
            if role != NAME and tags[U(depth - 2)] & 15 == OBJECT:
                callee = np.int64(places[U(depth - 2)] & LOW)
                if role == BUILD:
                    if objects[callee, 1] & BUILDS and not state[DUNDERS]:
                        result = callee
                else:
                    known = what_is_known(np.int64(tags[U(depth - 1)]))
                    if known >= 0 and not (known == ANYTHING and state[HOSTILE]):
                        result = made[callee, new, known]
                    if result < 0:
                        begin = np.int64(places[U(depth - 1)] >> HALF)
                        result = returned(data, spans[callee, new], begin, pos)
            if result < 0:
                left += 1
                outcome = DECIDE
                break
            depth -= 2
            since, what = np.int64(places[U(depth)] >> HALF), result
            new = np.int64(objects[result, 0])
        elif role == FRAME:
            after = pos + 9
            value = number_at(data, pos + 1, 8) if after <= size else -1
            if value < 0 or value > size - after:
                outcome = GIVE_UP
                break
        elif role == START:
            after = 2
            if pos or size < 2 or data[1] > HIGHEST_PROTOCOL:
                outcome = GIVE_UP
                break
        elif role == STOP:
            # A number on top may be the first of the five streams of torch's legacy form.
            plain = level == 0 and depth > 0 and tags[U(depth - 1)] & 15 != NUMBER
            outcome = END if plain else GIVE_UP
            pos = after
            break
        else:
            outcome = GIVE_UP
            break
        if new:
            if depth == room:
                outcome = GIVE_UP
                break
            tags[U(depth)] = new
            places[U(depth)] = U(since) << HALF | U(what)
            depth += 1
        pos = after
    if outcome == MORE and (pos >= size or left <= 0):
        outcome = GIVE_UP
    state[POS], state[DEPTH], state[BASE], state[LEVEL] = pos, depth, base, level
    state[STORED], state[COUNT] = stored, limit - left
    return outcome
