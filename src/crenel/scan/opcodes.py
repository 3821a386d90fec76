"""What each pickle opcode does to the symbolic machine."""

from __future__ import annotations

import codecs
import pickle
import struct
from collections.abc import Callable

from crenel.scan.machine import MAX_MEMO, Damage, Machine, Stopped
from crenel.scan.values import LONGEST, Bulk, Items, Mapping

Handler = Callable[[Machine], None]
MAX_DIGITS = 4300
UNPARSED = Bulk("text that does not parse", 0, 0)


def _unsupported(m: Machine) -> None:
    code = m.data[m.pos - 1]
    raise Damage(f"holds the byte 0x{code:02x}, which is no pickle operation,")


def _proto(m: Machine) -> None:
    m.protocol = m.take(1)[0]
    if m.protocol > pickle.HIGHEST_PROTOCOL:
        raise Damage(f"asks for protocol {m.protocol}, which no reader knows,")


def _frame(m: Machine) -> None:
    length = int.from_bytes(m.take(8), "little")
    if length > m.end - m.pos:
        m.judge.odd("A frame is longer than the data that is left.", m.pos - 9)


def _stop(m: Machine) -> None:
    raise Stopped


def _mark(m: Machine) -> None:
    m.marks.append(m.stack)
    m.stack = []


def _pop(m: Machine) -> None:
    if m.stack:
        m.stack.pop()
    else:
        m.to_mark()


def _pop_mark(m: Machine) -> None:
    m.to_mark()


def _dup(m: Machine) -> None:
    m.stack.append(m.stack[-1])


def _constant(value: object) -> Handler:
    def push(m: Machine) -> None:
        m.stack.append(value)

    return push


def _fixed(fmt: str) -> Handler:
    unpack = struct.Struct(fmt).unpack_from
    size = struct.calcsize(fmt)

    def push(m: Machine) -> None:
        first = m.pos
        m.pos = first + size
        if m.pos > m.end:
            raise Damage("is cut short")
        m.stack.append(unpack(m.data, first)[0])

    return push


def _binint1(m: Machine) -> None:
    m.stack.append(m.data[m.pos])
    m.pos += 1


def _parsed(m: Machine, parse: Callable[[bytes], object], line: bytes) -> None:
    """Push a parsed line; readers differ in what they accept, so failure does not end the run."""
    try:
        m.stack.append(parse(line) if len(line) <= LONGEST else Bulk("text", len(line), m.pos))
    except (ValueError, OverflowError):
        m.judge.odd("A constant does not parse.", m.pos - len(line) - 1)
        m.stack.append(UNPARSED)


def _parse_int(line: bytes) -> object:
    if line in (b"00", b"01"):
        return line == b"01"
    return int(line, 0)


def _int(m: Machine) -> None:
    _parsed(m, _parse_int, m.line())


def _long(m: Machine) -> None:
    _parsed(m, lambda line: int(line.rstrip(b"lL"), 0), m.line())


def _float(m: Machine) -> None:
    _parsed(m, float, m.line())


def _parse_string(line: bytes) -> object:
    text = line.strip()
    if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in (b"'", b'"'):
        raise ValueError("not quoted")
    return codecs.escape_decode(text[1:-1])[0].decode("latin-1")


def _string(m: Machine) -> None:
    _parsed(m, _parse_string, m.line())


def _unicode(m: Machine) -> None:
    _parsed(m, lambda line: line.decode("raw-unicode-escape"), m.line())


def _long_bytes(size: int, signed: bool) -> Handler:
    def push(m: Machine) -> None:
        length = int.from_bytes(m.take(size), "little", signed=signed)
        if length > LONGEST:
            m.stack.append(Bulk("int", length, m.skip(length)))
        else:
            m.stack.append(int.from_bytes(m.take(length), "little", signed=True))

    return push


def _counted(size: int, kind: str, encoding: str | None, signed: bool = False) -> Handler:
    """Push a counted string; long ones are passed over, not copied."""

    def push(m: Machine) -> None:
        length = int.from_bytes(m.take(size), "little", signed=signed)
        if length > LONGEST:
            m.stack.append(Bulk(kind, length, m.skip(length)))
            return
        raw = m.take(length)
        if encoding is None:
            m.stack.append(raw)
            return
        try:
            m.stack.append(raw.decode(encoding, "surrogatepass"))
        except UnicodeDecodeError:
            m.judge.odd("A string is not valid UTF-8.", m.pos - length)
            m.stack.append(UNPARSED)

    return push


def _short_text(m: Machine) -> None:
    """SHORT_BINUNICODE, the most common opcode with text, written out for speed."""
    first = m.pos + 1
    last = first + m.data[m.pos]
    if last > m.end:
        raise Damage("is cut short")
    m.pos = last
    try:
        m.stack.append(str(m.data[first:last], "utf-8", "surrogatepass"))
    except UnicodeDecodeError:
        m.judge.odd("A string is not valid UTF-8.", first)
        m.stack.append(UNPARSED)


def _put(m: Machine) -> None:
    m.keep(_index(m.line()))


def _get(m: Machine) -> None:
    m.recall(_index(m.line()))


def _index(line: bytes) -> int:
    if len(line) > MAX_DIGITS:
        raise Damage("has a memo index that does not parse")
    try:
        return int(line)
    except ValueError:
        raise Damage("has a memo index that does not parse") from None


def _binput(m: Machine) -> None:
    m.keep(m.take(1)[0])


def _long_binput(m: Machine) -> None:
    m.keep(int.from_bytes(m.take(4), "little"))


def _binget(m: Machine) -> None:
    m.stack.append(m.memo[m.data[m.pos]])
    m.pos += 1


def _long_binget(m: Machine) -> None:
    m.recall(int.from_bytes(m.take(4), "little"))


def _memoize(m: Machine) -> None:
    memo = m.memo
    if len(memo) >= MAX_MEMO:
        raise Damage("fills its memo beyond the budget")
    memo[len(memo)] = m.stack[-1]


def _tuple(m: Machine) -> None:
    items = tuple(m.to_mark())
    m.stack.append(items)


def _tuple_of(count: int) -> Handler:
    def push(m: Machine) -> None:
        if len(m.stack) < count:
            raise Damage("takes from an empty stack")
        items = tuple(m.stack[-count:])
        m.stack[-count:] = [items]

    return push


def _empty(kind: str) -> Handler:
    def push(m: Machine) -> None:
        m.stack.append(Items(kind))

    return push


def _collect(kind: str) -> Handler:
    def push(m: Machine) -> None:
        made = Items(kind)
        made.extend(m.to_mark())
        m.stack.append(made)

    return push


def _empty_dict(m: Machine) -> None:
    m.stack.append(Mapping())


def _dict(m: Machine) -> None:
    made = Mapping()
    made.update(m.to_mark())
    m.stack.append(made)


def _append(m: Machine) -> None:
    value = m.stack.pop()
    m.add([value], "list", "append")


def _appends(m: Machine) -> None:
    m.add(m.to_mark(), "list", "extend")


def _additems(m: Machine) -> None:
    m.add(m.to_mark(), "set", "update")


def _setitem(m: Machine) -> None:
    value = m.stack.pop()
    key = m.stack.pop()
    m.set([key, value], "setitem")


def _setitems(m: Machine) -> None:
    m.set(m.to_mark(), "setitem")


def _named(m: Machine, module: object, name: object, offset: int) -> object:
    m.events += 1
    return m.judge.resolve(module, name, m.protocol, offset)


def _two_lines(m: Machine) -> tuple[str, str]:
    try:
        return m.line().decode("utf-8"), m.line().decode("utf-8")
    except UnicodeDecodeError:
        raise Damage("has a name that is not valid UTF-8") from None


def _global(m: Machine) -> None:
    offset = m.pos - 1
    module, name = _two_lines(m)
    m.stack.append(_named(m, module, name, offset))


def _stack_global(m: Machine) -> None:
    offset = m.pos - 1
    name = m.stack.pop()
    module = m.stack.pop()
    m.stack.append(_named(m, module, name, offset))


def _call(m: Machine, how: str, callee: object, args: object, kwargs: object, at: int) -> None:
    m.events += 1
    m.stack.append(m.judge.call(how, callee, args, kwargs, at))


def _inst(m: Machine) -> None:
    offset = m.pos - 1
    module, name = _two_lines(m)
    callee = _named(m, module, name, offset)
    args = tuple(m.to_mark())
    _call(m, "INST", callee, args, None, offset)


def _obj(m: Machine) -> None:
    items = m.to_mark()
    callee = items.pop(0)
    _call(m, "OBJ", callee, tuple(items), None, m.pos - 1)


def _newobj(m: Machine) -> None:
    args = m.stack.pop()
    callee = m.stack.pop()
    _call(m, "NEWOBJ", callee, args, None, m.pos - 1)


def _newobj_ex(m: Machine) -> None:
    kwargs = m.stack.pop()
    args = m.stack.pop()
    callee = m.stack.pop()
    _call(m, "NEWOBJ_EX", callee, args, kwargs, m.pos - 1)


def _reduce(m: Machine) -> None:
    args = m.stack.pop()
    callee = m.stack.pop()
    _call(m, "REDUCE", callee, args, None, m.pos - 1)


def _build(m: Machine) -> None:
    state = m.stack.pop()
    target = m.stack.pop()
    m.events += 1
    built = m.judge.build(target, state, m.pos - 1)
    m.stack.append(built)
    if m.after_build is not None:
        m.stack[-1] = m.after_build(m, built)


def _extension(size: int) -> Handler:
    def push(m: Machine) -> None:
        m.events += 1
        code = int.from_bytes(m.take(size), "little")
        m.stack.append(m.judge.outside("extension", code, m.pos - size - 1))

    return push


def _persid(m: Machine) -> None:
    offset = m.pos - 1
    line = m.line()[:LONGEST].decode("latin-1")
    m.stack.append(m.judge.outside("persistent", line, offset))


def _binpersid(m: Machine) -> None:
    reference = m.stack.pop()
    m.stack.append(m.judge.outside("persistent", reference, m.pos - 1))


def _next_buffer(m: Machine) -> None:
    m.stack.append(m.judge.outside("buffer", None, m.pos - 1))


def _readonly_buffer(m: Machine) -> None:
    m.stack.append(m.stack.pop())


def _table() -> list[Handler]:
    """Return the handler of each of the 256 byte values."""
    handlers: dict[bytes, Handler] = {
        pickle.PROTO: _proto, pickle.FRAME: _frame, pickle.STOP: _stop, pickle.MARK: _mark,
        pickle.POP: _pop, pickle.POP_MARK: _pop_mark, pickle.DUP: _dup,
        pickle.NONE: _constant(None), pickle.NEWTRUE: _constant(True),
        pickle.NEWFALSE: _constant(False), pickle.EMPTY_TUPLE: _constant(()),
        pickle.INT: _int, pickle.LONG: _long, pickle.FLOAT: _float, pickle.STRING: _string,
        pickle.UNICODE: _unicode, pickle.BININT: _fixed("<i"), pickle.BININT1: _binint1,
        pickle.BININT2: _fixed("<H"), pickle.BINFLOAT: _fixed(">d"),
        pickle.LONG1: _long_bytes(1, False), pickle.LONG4: _long_bytes(4, True),
        pickle.BINSTRING: _counted(4, "str", "latin-1", signed=True),
        pickle.SHORT_BINSTRING: _counted(1, "str", "latin-1"),
        pickle.BINUNICODE: _counted(4, "str", "utf-8"), pickle.SHORT_BINUNICODE: _short_text,
        pickle.BINUNICODE8: _counted(8, "str", "utf-8"),
        pickle.BINBYTES: _counted(4, "bytes", None),
        pickle.SHORT_BINBYTES: _counted(1, "bytes", None),
        pickle.BINBYTES8: _counted(8, "bytes", None),
        pickle.BYTEARRAY8: _counted(8, "bytearray", None),
        pickle.PUT: _put, pickle.GET: _get, pickle.BINPUT: _binput,
        pickle.LONG_BINPUT: _long_binput, pickle.BINGET: _binget,
        pickle.LONG_BINGET: _long_binget, pickle.MEMOIZE: _memoize,
        pickle.TUPLE: _tuple, pickle.TUPLE1: _tuple_of(1), pickle.TUPLE2: _tuple_of(2),
        pickle.TUPLE3: _tuple_of(3), pickle.EMPTY_LIST: _empty("list"),
        pickle.LIST: _collect("list"), pickle.EMPTY_SET: _empty("set"),
        pickle.FROZENSET: _collect("frozenset"), pickle.EMPTY_DICT: _empty_dict,
        pickle.DICT: _dict, pickle.APPEND: _append, pickle.APPENDS: _appends,
        pickle.ADDITEMS: _additems, pickle.SETITEM: _setitem, pickle.SETITEMS: _setitems,
        pickle.GLOBAL: _global, pickle.STACK_GLOBAL: _stack_global, pickle.INST: _inst,
        pickle.OBJ: _obj, pickle.NEWOBJ: _newobj, pickle.NEWOBJ_EX: _newobj_ex,
        pickle.REDUCE: _reduce, pickle.BUILD: _build, pickle.EXT1: _extension(1),
        pickle.EXT2: _extension(2), pickle.EXT4: _extension(4), pickle.PERSID: _persid,
        pickle.BINPERSID: _binpersid, pickle.NEXT_BUFFER: _next_buffer,
        pickle.READONLY_BUFFER: _readonly_buffer,
    }  # fmt: skip
    table: list[Handler] = [_unsupported] * 256
    for code, handler in handlers.items():
        table[code[0]] = handler
    return table


TABLE = _table()
