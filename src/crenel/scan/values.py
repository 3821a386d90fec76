"""Symbolic values of the pickle machine.

Numbers, short strings and tuples stand for themselves; the classes here stand for the rest.
Containers remember their length and their first items only, so that memory stays bounded.
"""

from __future__ import annotations

KEPT = 32
LONGEST = 4096


class Global:
    """A name that the unpickler would import and look up: ``module`` and ``name`` after mapping."""

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name


class Latent(Global):
    """A name that is listed for one use and harmful in others: containers never drop it."""

    __slots__ = ()


class Instance:
    """What a call returned: ``kind`` is "module.name" of its type, ``flagged`` if not vouched for.

    ``text`` is the reconstructed call of a flagged one. ``args`` and ``state`` are kept only for
    the few kinds whose content matters (dtypes and joblib's array wrappers).
    """

    __slots__ = ("args", "flagged", "kind", "state", "text")

    def __init__(self, kind: str, flagged: bool = False, text: str = "") -> None:
        self.kind = kind
        self.flagged = flagged
        self.text = text
        self.args: tuple[object, ...] = ()
        self.state: object = None


class Items:
    """A list, set or frozenset: ``kind``, its first ``items`` and its ``length``.

    ``pairs`` tells whether every item so far was a pair whose first half is a plain constant,
    ``plain`` whether every item that was not kept is a constant.
    """

    __slots__ = ("items", "kind", "length", "pairs", "plain")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.items: list[object] = []
        self.length = 0
        self.pairs = True
        self.plain = True

    def extend(self, values: list[object]) -> None:
        """Append values, keeping the first few."""
        if not self.length and len(values) <= KEPT:
            self.items = values
        else:
            room = max(KEPT - self.length, 0)
            dropped = values[room:]
            self.plain = self.plain and all(map(is_constant, dropped))
            more = values[:room] + [value for value in dropped if type(value) is Latent]
            self.items = self.items + more if more else self.items
        self.length += len(values)
        if self.pairs:
            self.pairs = all(map(is_pair, values))


class Mapping:
    """A dict: its first items, its ``length``, and the keys that are dunder names.

    ``odd_keys`` tells whether some key is not a plain constant or a tuple of such.
    """

    __slots__ = ("dunders", "flat", "length", "odd_keys")

    def __init__(self) -> None:
        self.flat: list[object] = []
        self.length = 0
        self.dunders: tuple[str, ...] = ()
        self.odd_keys = False

    @property
    def items(self) -> list[tuple[object, object]]:
        """The items kept, in the order in which they were set."""
        return list(zip(self.flat[::2], self.flat[1::2], strict=False))

    def update(self, values: list[object]) -> None:
        """Set alternating keys and values, keeping the first few."""
        if not self.length and len(values) <= 2 * KEPT:
            self.flat = values
        else:
            room = 2 * max(KEPT - self.length, 0)
            more = values[:room]
            for value in values[room:]:
                if type(value) is Latent:
                    more += [None, value]
            self.flat = self.flat + more if more else self.flat
        self.length += len(values) // 2
        for key in values[::2]:
            if type(key) is str:
                if key.startswith("__") and key.endswith("__") and len(self.dunders) < KEPT:
                    self.dunders += (key,)
            elif not is_plain(key):
                self.odd_keys = True

    def get(self, key: str) -> object:
        """Return the last value set for ``key`` among the items kept, or None."""
        found: object = None
        for name, value in self.items:
            if name == key and type(name) is str:
                found = value
        return found


class Bulk:
    """A string or byte string too long to keep, at ``offset`` of the stream's base."""

    __slots__ = ("kind", "length", "offset")

    def __init__(self, kind: str, length: int, offset: int) -> None:
        self.kind = kind
        self.length = length
        self.offset = offset


class Unknown:
    """A value that cannot be computed from the file; ``why`` says what it comes from."""

    __slots__ = ("why",)

    def __init__(self, why: str) -> None:
        self.why = why


PLAIN = (str, bytes, int, float, bool, type(None), Bulk)


def is_plain(value: object, depth: int = 8) -> bool:
    """Tell whether a value is a constant, or tuples of constants down to ``depth``."""
    if isinstance(value, PLAIN):
        return True
    if isinstance(value, tuple) and depth:
        return all(is_plain(item, depth - 1) for item in value[:10_000])
    return False


def is_constant(value: object, depth: int = 8) -> bool:
    """Like `is_plain`, with lists, sets and dicts of constants allowed (of dicts those kept)."""
    if is_plain(value, 1):
        return True
    if not depth:
        return False
    if isinstance(value, tuple):
        return all(is_constant(item, depth - 1) for item in value)
    if isinstance(value, Items):
        return value.plain and all(is_constant(item, depth - 1) for item in value.items)
    if isinstance(value, Mapping):
        return not value.odd_keys and all(is_constant(v, depth - 1) for _, v in value.items)
    return False


def is_pair(value: object) -> bool:
    """Tell whether a value is a sequence of two whose first is a constant but no dunder name."""
    items = value.items if isinstance(value, Items) and value.length == 2 else value
    if not isinstance(items, (tuple, list)) or len(items) != 2:
        return False
    key = items[0]
    return is_plain(key) and not (type(key) is str and key[:2] == "__" and key[-2:] == "__")


def globals_in(value: object, depth: int = 4) -> list[Global]:
    """Return the names inside a value, looking into containers down to ``depth``."""
    if isinstance(value, Global):
        return [value]
    parts: list[object] = []
    if depth:
        if isinstance(value, tuple):
            parts = list(value[:KEPT])
        elif isinstance(value, Items):
            parts = value.items
        elif isinstance(value, Mapping):
            parts = [part for item in value.items for part in item]
    return [name for part in parts for name in globals_in(part, depth - 1)]


def latent_in(value: object) -> list[Latent]:
    """Return the names inside a value that are harmful unless they are used as they are listed."""
    found: list[Latent] = []
    waiting, seen = [value], set[int]()
    while waiting:
        item = waiting.pop()
        if isinstance(item, Latent):
            found.append(item)
        elif isinstance(item, (tuple, list, Items, Mapping)) and id(item) not in seen:
            seen.add(id(item))
            if isinstance(item, Mapping):
                waiting.extend(item.flat)
            else:
                waiting.extend(item.items if isinstance(item, Items) else item)
    return found


def render(value: object, depth: int = 4) -> str:
    """Write a value as Python would, shortened, for a person to read."""
    if isinstance(value, (str, bytes)):
        return repr(value if len(value) <= 120 else value[:117]) + ("…" if len(value) > 120 else "")
    if isinstance(value, Global):
        return f"{value.module}.{value.name}"
    if isinstance(value, Instance):
        return value.text or f"<{value.kind}>"
    if isinstance(value, Bulk):
        return f"<{value.kind} of {value.length} bytes>"
    if isinstance(value, Unknown):
        return f"<{value.why}>"
    if isinstance(value, (tuple, Items, Mapping)):
        return _render_container(value, depth)
    text = repr(value) if not isinstance(value, int) or value.bit_length() < 400 else "<long int>"
    return text[:120]


def _render_container(value: tuple[object, ...] | Items | Mapping, depth: int) -> str:
    if depth <= 0:
        return "…"
    if isinstance(value, Mapping):
        pairs = [f"{render(k, depth - 1)}: {render(v, depth - 1)}" for k, v in value.items[:6]]
        return "{" + ", ".join(pairs) + (", …" if value.length > 6 else "") + "}"
    items = list(value[:7]) if isinstance(value, tuple) else value.items[:7]
    length = len(value) if isinstance(value, tuple) else value.length
    shown = ", ".join(render(item, depth - 1) for item in items[:6])
    shown += ", …" if length > 6 else ""
    if isinstance(value, tuple):
        return f"({shown}{',' if length == 1 else ''})"
    return f"[{shown}]" if value.kind == "list" else f"{value.kind}([{shown}])"


def render_call(callee: object, args: object, kwargs: object = None, limit: int = 300) -> str:
    """Write a call as Python would, cut at ``limit`` characters."""
    inner = render(args)
    if isinstance(args, tuple):
        inner = ", ".join(render(item) for item in args[:8]) + (", …" if len(args) > 8 else "")
        inner += f", **{render(kwargs)}" if kwargs is not None else ""
    else:
        inner = "*" + inner
    text = f"{render(callee)}({inner})"
    return text if len(text) <= limit else text[: limit - 1] + "…"
