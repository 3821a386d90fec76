"""Weights in ONNX files, read by their protobuf fields: no onnx package is needed.

Field numbers are those of onnx.proto (ONNX 1.16).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import SubjectError
from crenel.scan.formats.onnx import TREE
from crenel.scan.formats.wire import BYTES, VARINT, fields
from crenel.scan.source import Unreadable, Window
from crenel.transfer.lineage.weights import NUMPY, Array

#: Types of a TensorProto.
_TYPES = {
    1: "F32", 2: "U8", 3: "I8", 6: "I32", 7: "I64", 10: "F16", 11: "F64", 16: "BF16",
}  # fmt: skip
_DIMS, _KIND, _FLOATS, _INTS, _NAME, _LONGS, _RAW, _DOUBLES, _OUTSIDE = 1, 2, 4, 5, 8, 7, 9, 10, 13
_NODE_OUTPUT = 2


def arrays_in(mapped: Any, path: Path) -> tuple[list[Array], list[str]]:
    """Initialisers and constants of a model, and notes on what is not read.

    Parameters
    ----------
    mapped : mmap
        The whole file.
    path : Path
        Its place: numbers kept outside are read from files in the same folder.

    Raises
    ------
    SubjectError
        Where the file is damaged.
    """
    window = Window(mapped, 0, len(mapped))
    made: list[Array] = []
    unread: list[str] = []
    try:
        for name, start, end in _tensors(window, "model", 0, len(window), ""):
            array = _array(window, name, start, end, path, unread)
            if array is not None:
                made.append(array)
    except Unreadable as error:
        raise SubjectError(f"{path} is a damaged ONNX file: {error}") from error
    return made, unread


def _tensors(
    window: Window, kind: str, start: int, end: int, name: str
) -> Iterator[tuple[str, int, int]]:
    """Places of all tensors, with the name of the node that holds a constant."""
    parts = list(fields(window, start, end))
    if kind == "node":
        outputs = [(a, b) for number, wire, a, b in parts if (number, wire) == (_NODE_OUTPUT, 2)]
        name = _text(window, *outputs[0]) if outputs else name
    for number, wire, first, last in parts:
        inner = TREE[kind].get(number) if wire == BYTES else None
        if inner == "tensor":
            yield name, first, last
        elif inner in ("graph", "node", "attribute", "function"):
            yield from _tensors(window, inner, first, last, name)


def _text(window: Window, start: int, end: int) -> str:
    return window.read(start, min(end - start, 1000)).decode("utf-8", "replace")


def _array(
    window: Window, node: str, start: int, end: int, path: Path, unread: list[str]
) -> Array | None:
    dims: list[int] = []
    outside: list[tuple[int, int]] = []
    places: dict[int, tuple[int, int]] = {}
    code, name = 0, ""
    for number, wire, first, last in fields(window, start, end):
        if number == _DIMS:
            dims += [first] if wire == VARINT else _varints(window, first, last)
        elif number == _KIND:
            code = first
        elif number == _NAME:
            name = _text(window, first, last)
        elif number == _OUTSIDE:
            outside.append((first, last))
        elif wire == BYTES:
            places[number] = first, last
    shape, dtype = tuple(dims), _TYPES.get(code, "")
    if not dtype or not shape:
        return None
    load = _outside(window, outside, shape, dtype, path) if outside else None
    load = load or _inside(window, places, shape, dtype)
    if load is None:
        unread.append(f"the numbers of {name or node} are not read")
        return None
    return Array(name or node, shape, dtype, load)


def _inside(
    window: Window, places: dict[int, tuple[int, int]], shape: tuple[int, ...], dtype: str
) -> Callable[[], NDArray[Any]] | None:
    kinds = {_RAW: NUMPY[dtype], _FLOATS: np.float32, _DOUBLES: np.float64}
    for number, kind in kinds.items():
        if number in places:
            start, end = places[number]
            return _reader(window.base, np.dtype(kind), shape, window.start + start, end - start)
    for number in (_INTS, _LONGS):
        if number in places:
            values = _varints(window, *places[number])
            if len(values) != int(np.prod(shape)):
                return None
            array = np.array([v - (1 << 64) if v >> 63 else v for v in values])
            narrow = NUMPY[dtype] if dtype != "F16" else np.uint16
            made: NDArray[Any] = array.astype(narrow).reshape(shape)
            return lambda: made.view(np.float16) if dtype == "F16" else made
    return None


def _varints(window: Window, start: int, end: int) -> list[int]:
    found, pos = [], start
    while pos < end:
        value = shift = 0
        while True:
            byte = window.base[window.start + pos]
            pos += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128 or pos >= end:
                break
        found.append(value)
    return found


def _outside(
    window: Window, pairs: list[tuple[int, int]], shape: tuple[int, ...], dtype: str, path: Path
) -> Callable[[], NDArray[Any]] | None:
    """Numbers in a file beside the model; its scan has refused any other place."""
    told: dict[str, str] = {}
    for start, end in pairs:
        pair = {n: _text(window, a, b) for n, wire, a, b in fields(window, start, end) if wire == 2}
        told[pair.get(1, "")] = pair.get(2, "")
    place = path.parent / told.get("location", "")
    kind = np.dtype(NUMPY[dtype])
    count = int(np.prod(shape))
    offset = int(told.get("offset") or 0)
    inside = place.resolve().is_relative_to(path.parent.resolve()) and place.is_file()
    if not inside or place.stat().st_size < offset + count * kind.itemsize:
        return None
    return lambda: np.memmap(place, dtype=kind, mode="r", offset=offset, shape=shape)


def _reader(
    base: Any, kind: np.dtype[Any], shape: tuple[int, ...], offset: int, length: int
) -> Callable[[], NDArray[Any]] | None:
    count = int(np.prod(shape))
    if count * kind.itemsize != length:
        return None
    return lambda: np.frombuffer(base, dtype=kind, count=count, offset=offset).reshape(shape)
