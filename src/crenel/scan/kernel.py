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
up (`GIVE_UP`). numba keeps compiled code for as long as the module of the compiled function is the
same, so that this one names the digest of the parts that are compiled into it.
"""
# mypy: disable-error-code="return-value, no-any-return, assignment, arg-type, call-overload, index"
# numba infers the types; what mypy takes for int is a NumPy integer where the function runs as is.

from __future__ import annotations

import numpy as np

from crenel.scan.kernel_strings import (
    is_ascii,
    is_dunder,
    is_encoded,
    is_utf8,
    number_at,
    reference,
    repeated,
    returned,
)
from crenel.scan.kernel_tags import (
    ADD,
    ANYTHING,
    BASE,
    BUILD,
    BUILDS,
    BYTES,
    CALL,
    CLOSE,
    CLOSE_DICT,
    CLOSE_TUPLE,
    CONSTANT,
    COUNT,
    COUNTED,
    COUNTED1,
    DECIDE,
    DEPTH,
    DICT,
    DUNDER,
    DUNDERS,
    EARLY,
    ENCODES,
    END,
    EVERY,
    FIXED,
    FIXED1,
    FIXED2,
    FIXED4,
    FIXED8,
    FRAME,
    GET1,
    GET4,
    GIVE_UP,
    HALF,
    HIGHEST_PROTOCOL,
    HOLDS,
    HOSTILE,
    KNOWN,
    LATE,
    LATIN1,
    LEVEL,
    LIST,
    LOW,
    MAKES,
    MEMOIZE,
    MORE,
    NAME,
    NUMBER,
    OBJECT,
    OPEN,
    OTHER,
    PAIR,
    PAIRS,
    PAUSE,
    POP,
    POP_MARK,
    POS,
    PUT,
    PUT1,
    PUT4,
    ROLES,
    START,
    STOP,
    STORED,
    TUPLED,
    TUPLES,
    UTF8,
    WIDTHS,
    Bytes,
    Decisions,
    Numbers,
    Offsets,
    Places,
    Spans,
    U,
    compiled,
    filled,
    inlined,
    joined,
    joined_tuple,
    met,
    set_one,
    shared,
    updated,
    with_item,
)
from crenel.scan.values import LONGEST

#: SHA-256, its first digits, of kernel_tags.py and kernel_strings.py.
PARTS = "fb9b748af5a8ccac"


@inlined  # type: ignore[untyped-decorator]
def put(
    stored: int, index: int, pos: int, tag: int, ref: int, state: Numbers, memo_tags: Bytes,
    memo: Offsets, late: Places, checks: Offsets,
) -> None:  # fmt: skip
    """Write a value into the memo, at an index that is free."""
    memo_tags[U(index)] = shared(tag)
    if index < EARLY:
        memo[U(index)] = ref
    elif tag & 15 == OBJECT:
        count = state[LATE]
        if count == 0 or late[U(count - 1)] & LOW != ref:
            late[U(count)] = U(index) << HALF | U(ref)
            state[LATE] = count + 1
    if stored & (EVERY - 1) == 0:
        checks[U(stored) // U(EVERY)] = pos


@inlined  # type: ignore[untyped-decorator]
def decided(
    new: int, callee: int, arguments: int, made: Decisions, state: Numbers
) -> int:  # fmt: skip
    """Return the object that a call makes by what is known of its arguments, -1 if that is open."""
    known = np.int64(KNOWN[U(arguments)])
    if known < 0 or (known == ANYTHING and state[HOSTILE]):
        return -1
    return np.int64(made[U(callee), U(new), U(known)])


@inlined  # type: ignore[untyped-decorator]
def plain_values(  # noqa: C901, PLR0915 - one switch, whose variables stay in registers
    data: Bytes, words: Places, state: Numbers, tags: Bytes, places: Places, marks: Numbers,
    memo_tags: Bytes, memo: Offsets, late: Places, checks: Offsets, objects: Bytes,
    made: Decisions, spans: Spans, pos: int, stop: int, depth: int, base: int, level: int,
    stored: int, left: int,
) -> tuple[int, int, int, int, int, int, int, int, int]:  # fmt: skip
    """Follow the most common operations, in a loop of its own for the sake of the compiler.

    Widths are constants, so that the processor need not wait for a table to know the next offset.

    Returns
    -------
    pos, depth, base, level, stored, left : int
        Where the walk stands.
    role, new, after : int
        Of the operation that is not followed here; role PAUSE where there is none.
    """
    size, room, cells = data.size, tags.size, memo_tags.size
    role, new, after = PAUSE, 0, pos
    while pos < stop and left > 0 and depth < room:
        code = data[U(pos)]
        role, new, after = np.int64(ROLES[code]), np.int64(MAKES[code]), pos + 1
        what = since = U(pos)
        left -= 1
        if role == FIXED1:
            after = pos + 2
        elif role == FIXED:
            after = pos + 1
        elif role == UTF8 or role == COUNTED1:  # noqa: SIM109 - as numba compiles best
            after = pos + 2 + (np.int64(data[U(pos + 1)]) if pos + 1 < size else size)
            if after > size:
                role = OTHER
                break
            if role == UTF8:
                if not is_ascii(data, words, pos + 2, after):
                    break
                if is_dunder(data, pos + 2, after):
                    new = DUNDER | CONSTANT
        elif role == GET1:
            after = pos + 2
            index = np.int64(data[U(pos + 1)]) if after <= size else cells
            if index >= cells or memo_tags[U(index)] == 0:
                role = OTHER
                break
            new, what = np.int64(memo_tags[U(index)]), U(memo[U(index)])
        elif role == TUPLES:
            first = depth - new
            if first < base:
                role = OTHER
                break
            half = np.int64(tags[U(first)] >> 4)
            if new > 1:
                half = met(half, np.int64(tags[U(first + 1)] >> 4))
            if new > 2:
                half = met(half, np.int64(tags[U(first + 2)] >> 4))
            new, since, depth = np.int64(TUPLED[U(half)]), places[U(first)] >> HALF, first
        elif role == CALL:
            if depth - base < 2 or tags[U(depth - 2)] & 15 != OBJECT:
                break
            callee = np.int64(places[U(depth - 2)] & LOW)
            result = decided(new, callee, np.int64(tags[U(depth - 1)]), made, state)
            if result < 0:
                begin = np.int64(places[U(depth - 1)] >> HALF)
                result = repeated(data, words, spans, callee, new, begin, pos)
                if result < 0:
                    break
            depth -= 2
            since, what, new = places[U(depth)] >> HALF, U(result), np.int64(objects[U(result), 0])
        elif role == FIXED8:
            after = pos + 9
        elif role == FIXED4:
            after = pos + 5
        elif role == FIXED2:
            after = pos + 3
        elif role == OPEN:
            if level == len(marks):
                break
            marks[U(level), 0], marks[U(level), 1] = base, pos
            level += 1
            base = depth
            pos += 1
            role = PAUSE
            continue
        elif role == CLOSE_TUPLE:
            if level == 0:
                break
            new, depth = joined_tuple(tags, base, depth), base
            level -= 1
            base, since = marks[U(level), 0], U(marks[U(level), 1])
        elif role == BUILD:
            if depth - base < 2 or tags[U(depth - 2)] & 15 != OBJECT or state[DUNDERS]:
                break
            if not objects[places[U(depth - 2)] & LOW, 1] & BUILDS:
                break
            depth -= 1
            pos += 1
            role = PAUSE
            continue
        elif role == PUT1 or role == PUT4:  # noqa: SIM109 - as numba compiles best
            after = pos + 2 if role == PUT1 else pos + 5
            if depth == base or stored == cells or after > size:
                role = OTHER
                break
            index = np.int64(data[U(pos + 1)]) if role == PUT1 else number_at(data, pos + 1, 4)
            if index >= cells or memo_tags[U(index)] or (index >= EARLY and index != stored):
                role = OTHER
                break
            put(
                stored, index, pos, np.int64(tags[U(depth - 1)]), places[U(depth - 1)] & LOW,
                state, memo_tags, memo, late, checks,
            )  # fmt: skip
            stored += 1
            pos = after
            role = PAUSE
            continue
        elif role == GET4:
            after = pos + 5
            index = number_at(data, pos + 1, 4) if after <= size else cells
            if index >= cells or memo_tags[U(index)] == 0:
                role = OTHER
                break
            new = np.int64(memo_tags[U(index)])
            what = U(memo[U(index)]) if index < EARLY else U(0)
            if index >= EARLY and new & 15 == OBJECT:
                what = U(reference(late, state[LATE], index))
        elif role == ADD or role == PAIR:  # noqa: SIM109 - as numba compiles best
            first = depth - (1 if role == ADD else 2)
            if first <= base:
                break
            target, item = np.int64(tags[U(first - 1)]), np.int64(tags[U(depth - 1)])
            if role == ADD:
                target = with_item(target, LIST, item, item)
            else:
                holds = np.uint8(0)
                if target & 15 == OBJECT:
                    holds = objects[places[U(first - 1)] & LOW, 1] & HOLDS
                target = set_one(target, np.int64(tags[U(first)]), item, holds)
            if target == 0:
                break
            tags[U(first - 1)] = target
            depth = first
            pos += 1
            role = PAUSE
            continue
        else:
            break
        tags[U(depth)] = new
        places[U(depth)] = since << HALF | what
        depth += 1
        pos = after
        role = PAUSE
        # What is made is mostly put into the memo at once.
        if pos < stop and left > 0 and data[U(pos)] == MEMOIZE and stored < cells:
            if memo_tags[U(stored)]:
                continue
            put(stored, stored, pos, new, what, state, memo_tags, memo, late, checks)
            stored += 1
            pos += 1
            left -= 1
    return pos, depth, base, level, stored, left, role, new, after


@inlined  # type: ignore[untyped-decorator]
def counted(data: Bytes, role: int, new: int, pos: int) -> tuple[int, int]:
    """Return the tag of a counted string and where it ends, 0 where it is not followed."""
    size, width = data.size, np.int64(WIDTHS[data[U(pos)]])
    after = pos + 1 + width
    value = number_at(data, pos + 1, width) if after <= size else -1
    if value < 0 or value > size - after:
        return 0, after
    if UTF8 <= role <= LATIN1 and role != COUNTED1:
        if role != LATIN1 and value <= LONGEST and not is_utf8(data, after, after + value):
            return 0, after
        if is_dunder(data, after, after + value):
            new = DUNDER | CONSTANT
    return new, after + value


@inlined  # type: ignore[untyped-decorator]
def closed(
    role: int, new: int, first: int, last: int, base: int, tags: Bytes, places: Places,
    objects: Bytes, state: Numbers,
) -> int:  # fmt: skip
    """Return the tag of what is made of the values from the last mark on, or takes them.

    Returns
    -------
    int
        Of a new value, or, for what adds items, of the container below them; 0 where that is not
        followed.
    """
    if role == CLOSE_TUPLE:
        return joined_tuple(tags, first, last)
    if role == CLOSE:
        return new | joined(tags, first, last, 1)
    if role == CLOSE_DICT:
        return updated(DICT | CONSTANT, tags, first, last, 0, state)
    if first <= base:
        return 0
    target, holds = np.int64(tags[U(first - 1)]), np.uint8(0)
    if target & 15 == OBJECT:
        holds = objects[places[U(first - 1)] & LOW, 1] & HOLDS
    if role == PAIR or role == PAIRS:  # noqa: SIM109 - as numba compiles best
        return updated(target, tags, first, last, holds, state)
    return filled(target, new, tags, first, last, holds)


@inlined  # type: ignore[untyped-decorator]
def resulting(
    data: Bytes, role: int, new: int, pos: int, depth: int, state: Numbers, tags: Bytes,
    places: Places, memo_tags: Bytes, memo: Offsets, objects: Bytes, made: Decisions,
    spans: Spans,
) -> tuple[int, int]:  # fmt: skip
    """Return the tag and the reference of what a call or state results in, 0 where that is open."""
    if tags[U(depth - 2)] & 15 != OBJECT:
        return 0, 0
    callee, given = np.int64(places[U(depth - 2)] & LOW), np.int64(tags[U(depth - 1)])
    if role == BUILD:
        if objects[U(callee), 1] & BUILDS and not state[DUNDERS]:
            return np.int64(objects[U(callee), 0]), callee
        return 0, 0
    begin = np.int64(places[U(depth - 1)] >> HALF)
    if objects[U(callee), 1] & ENCODES and new == 0:
        # Bytes of the stream's own, which the machine reads where they are asked for: an
        # operation to be run again without its operands, so that it fails.
        return BYTES | CONSTANT if is_encoded(data, memo_tags, memo, begin, pos) else 0, pos
    result = decided(new, callee, given, made, state)
    if result < 0:
        result = returned(data, spans[callee, new], begin, pos)
    return (np.int64(objects[U(result), 0]), result) if result >= 0 else (0, 0)


@compiled  # type: ignore[untyped-decorator]
def walk(  # noqa: C901, PLR0915 - one switch over the opcodes, whose variables stay in registers
    data: Bytes, words: Places, state: Numbers, tags: Bytes, places: Places, marks: Numbers,
    memo_tags: Bytes, memo: Offsets, late: Places, checks: Offsets, objects: Bytes,
    made: Decisions, spans: Spans, until: int, limit: int,
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
    memo_tags : array, shape (k,)
        The memo: tags, 0 where nothing is stored.
    memo : array, shape (min(k, EARLY),)
        References of what is in the memo. Late ones are left out, for
        they would take most of the memory: numbers and strings are found by `memoised`.
    late : array, shape (k,)
        References of late objects, with the place in the memo in the upper half from which on
        all late objects have it, in order.
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
    size, room = data.size, tags.size
    pos, depth, base, level = state[POS], state[DEPTH], state[BASE], state[LEVEL]
    stored, left = state[STORED], limit - state[COUNT]
    stop, outcome = min(size, until), MORE
    while pos < stop and left > 0:
        pos, depth, base, level, stored, left, role, new, after = plain_values(
            data, words, state, tags, places, marks, memo_tags, memo, late, checks, objects, made,
            spans, pos, stop, depth, base, level, stored, left,
        )  # fmt: skip
        if role == PAUSE:
            if depth == room:
                outcome = GIVE_UP
                break
            continue
        what = since = pos
        if ADD <= role <= POP_MARK:
            first, last = depth - 1, depth
            if role == PAIR:
                first -= 1
            elif role >= PAIRS:
                if level == 0:
                    outcome = GIVE_UP
                    break
                level -= 1
                first, base, since = base, marks[U(level), 0], np.int64(marks[U(level), 1])
            depth = first
            if role == POP_MARK:
                pos = after
                continue
            new = closed(role, new, first, last, base, tags, places, objects, state)
            if new == 0:
                outcome = GIVE_UP
                break
            if not CLOSE_TUPLE <= role <= CLOSE_DICT:
                tags[U(depth - 1)] = new
                new = 0
        elif role == UTF8 or COUNTED1 <= role <= COUNTED:
            new, after = counted(data, role, new, pos)
            if new == 0:
                outcome = GIVE_UP
                break
        elif CALL <= role <= NAME:
            if depth - (new if role == NAME else 2) < base:
                outcome = GIVE_UP
                break
            found = 0
            if role != NAME:
                found, what = resulting(
                    data, role, new, pos, depth, state, tags, places, memo_tags, memo, objects,
                    made, spans,
                )  # fmt: skip
            if found == 0:
                left += 1
                outcome = DECIDE
                break
            depth -= 2
            new, since = found, np.int64(places[U(depth)] >> HALF)
        elif role == PUT:
            if depth == base or stored == memo_tags.size or memo_tags[U(stored)]:
                outcome = GIVE_UP
                break
            put(
                stored, stored, pos, np.int64(tags[U(depth - 1)]), places[U(depth - 1)] & LOW,
                state, memo_tags, memo, late, checks,
            )  # fmt: skip
            stored += 1
            new = 0
        elif role == FRAME:
            after = pos + 9
            value = number_at(data, pos + 1, 8) if after <= size else -1
            if value < 0 or value > size - after:
                outcome = GIVE_UP
                break
        elif role == POP and depth > base:
            depth -= 1
        elif role == START and pos == 0 and size > 1 and data[1] <= HIGHEST_PROTOCOL:
            after = 2
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
