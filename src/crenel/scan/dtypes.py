"""Pickled dtypes of numpy: what size they have, whether they hold objects, and whether they lie.

numpy sets the flags, the offsets and the size of a dtype as the pickle has them. A dtype of objects
whose flags say that there are none makes an array take raw bytes for the addresses of objects, and
a field beyond the item reaches into other memory, so the numbers are held against each other.
"""

from __future__ import annotations

import math
import re

from crenel.scan.machine import Damage
from crenel.scan.values import Global, Instance, Mapping

CODE = re.compile(r"[<>|=]?([?biufcSUVMmO])(\d*)")
#: Flags of numpy's descriptors: items are counted references, and are pickled as a list.
REFERENCES = 0x01 | 0x02
MANY = "has more fields than are held against each other here"
NAMED = {"object": "O", "O": "O", "record": "V", "void": "V", "V": "V", "str": "U", "bytes": "S"}


def lie(dtype: Instance, state: object) -> str:
    """Return what a state of a symbolic dtype claims that is not so, or an empty string.

    Parameters
    ----------
    dtype : Instance
        Its ``args`` are those of the constructor: a code of its kind and size.
    state : tuple
        (version, byte order, subdtype, names, fields, item size, alignment, flags, ...).
    """
    kind = _kind(dtype.args[0] if dtype.args else None)
    if not isinstance(state, tuple) or len(state) < 8:
        return "has a state of an unknown form" if kind in "VO" else ""
    size, flags = state[5], state[7]
    if not isinstance(size, int) or not isinstance(flags, int):
        return "has a state of an unknown form"
    if kind not in "SUV":
        wrong = size != -1 or state[2:5] != (None, None, None)
        if wrong or (kind == "O" and flags & REFERENCES != REFERENCES):
            return "has other flags or another size than its kind"
        return ""
    if size < 0 and state[2:5] != (None, None, None):
        return "has a negative size"
    return _parts(state, size, flags)


def _kind(code: object) -> str:
    """Return the letter of a kind: O objects, V records, S and U text, n for plain numbers."""
    if isinstance(code, Global):
        return NAMED.get(code.name.strip("_"), "n")
    match = CODE.fullmatch(code) if isinstance(code, str) else None
    return match[1] if match else NAMED.get(str(code), "n")


def _parts(state: tuple[object, ...], size: int, flags: int) -> str:
    """Hold the base of a sub-array and the fields of a record against the size of the whole."""
    spans: list[tuple[object, object]] = []
    base, fields = state[2], state[4]
    if isinstance(base, tuple) and len(base) == 2:
        shape = base[1] if isinstance(base[1], tuple) else (base[1],)
        if not all(isinstance(n, int) and n >= 0 for n in shape):
            return "has a sub-array without a shape"
        count = math.prod(n for n in shape if isinstance(n, int))
        inner = _measured(base[0])
        if inner is not None and inner[0] * count != size:
            return "has a sub-array of another size"
        spans.append((base[0], 0))
    if isinstance(fields, Mapping):
        if fields.length != len(fields.items):
            return MANY
        for _, field in fields.items:
            if not isinstance(field, tuple) or len(field) < 2:
                return "has a field without a place"
            spans.append((field[0], field[1]))
    for part, offset in spans:
        inner = _measured(part)
        if inner is None:
            continue
        outside = not isinstance(offset, int) or offset < 0 or offset + inner[0] > size
        if outside and (part, offset) != (base[0] if isinstance(base, tuple) else None, 0):
            return "has a field outside its item"
        if inner[1] and flags & REFERENCES != REFERENCES:
            return "holds objects but says that it does not"
    return ""


def _measured(part: object) -> tuple[int, bool] | None:
    if not isinstance(part, Instance) or part.kind != "numpy.dtype":
        return None
    try:
        return item_size(part)
    except Damage:
        return None


def item_size(dtype: Instance, depth: int = 8) -> tuple[int, bool]:
    """Return the bytes of one item of a symbolic dtype, and whether it holds objects.

    Raises
    ------
    Damage
        Where the description is not one that numpy writes, so that readers could differ.
    """
    code = dtype.args[0] if dtype.args else None
    match = CODE.fullmatch(code) if isinstance(code, str) else None
    if match is None or not depth:
        raise Damage("has a joblib array of unknown dtype")
    kind, digits = match[1], int(match[2] or 1)
    if kind == "O":
        return 8, True
    state = dtype.state
    if kind not in "SUV":
        fields = isinstance(state, tuple) and len(state) >= 5 and state[2:5] != (None,) * 3
        if fields or (not match[2] and kind != "?"):
            raise Damage("has a joblib array of unknown dtype")
        return digits, False
    if not isinstance(state, tuple) or len(state) < 7 or not isinstance(state[5], int):
        return digits * (4 if kind == "U" else 1), False
    size = state[5] if state[5] >= 0 else digits * (4 if kind == "U" else 1)
    return size, _holds_objects(state, depth)


def _holds_objects(state: tuple[object, ...], depth: int) -> bool:
    """Look into the base of a sub-array and the fields of a record."""
    parts: list[object] = []
    if isinstance(state[2], tuple):
        parts.append(state[2][0])
    names, fields = state[3], state[4]
    if names is not None and not isinstance(fields, Mapping):
        raise Damage("has a joblib array of unknown dtype")
    if isinstance(fields, Mapping):
        if fields.length != len(fields.items):
            raise Damage("has a joblib array with too many fields")
        for _, field in fields.items:
            parts.append(field[0] if isinstance(field, tuple) and field else None)
    found = False
    for part in parts:
        if not isinstance(part, Instance) or part.kind != "numpy.dtype":
            raise Damage("has a joblib array of unknown dtype")
        found = item_size(part, depth - 1)[1] or found
    return found
