"""Cells: each value of a column as bytes of one width, the same whatever file it came from.

A cell is one byte that tells the kind of the value, then the value:

====================  =====  ==========================================================
type                  bytes  value
====================  =====  ==========================================================
missing               as the type; all zero
bool                  1 + 1  0 or 1
int                   1 + 8  two's complement, big-endian; kind 3 for those above 2^63 - 1
float, float32/16     1 + 8  the IEEE 754 bits, big-endian (4 and 2 bytes); NaN is missing
text, bytes, decimal  1 + 32 up to 31 bytes: their number, the bytes, zeros; else SHA-256
timestamp, duration   1 + 12 whole seconds (8 bytes, since 1970) and nanoseconds (4 bytes)
date, time            1 + 8  days since 1970; nanoseconds since midnight
list, struct, array   1 + 32 SHA-256 of the cells of the items, or of the array's bytes
====================  =====  ==========================================================

Text is UTF-8, a decimal is its shortest plain text. Zero and minus zero differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.provenance.columns import arrow, type_of, whole
from crenel.provenance.sha256 import MANY, one_by_one, sha256_rows

Bytes = NDArray[np.uint8]
Fill = Callable[[int, int, Bytes], None]

KINDS = {
    "bool": 1, "int": 2, "float": 4, "float32": 5, "float16": 6, "text": 7, "bytes": 9,
    "timestamp": 11, "timestamp-utc": 12, "duration": 13, "date": 14, "time": 15, "decimal": 16,
    "list": 18, "struct": 19, "array": 20,
}  # fmt: skip
#: An integer above 2^63 - 1; a text, bytes or decimal that is longer than a cell is its kind + 1.
LARGE_INT = 3
SHORT = 31
_WIDTHS = {"bool": 1, "int": 8, "float": 8, "float32": 4, "float16": 2, "date": 8, "time": 8}
_MOMENTS = ("timestamp", "timestamp-utc", "duration")
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def width_of(kind: str) -> int:
    """Bytes of a cell of a column type."""
    return 1 + (12 if kind in _MOMENTS else _WIDTHS.get(kind, 32))


def filler(array: Any, kind: str) -> Fill:
    """A function that writes the cells of some rows of a column.

    Parameters
    ----------
    array : pyarrow.Array or ndarray
    kind : str
        Its canonical type.

    Returns
    -------
    callable
        ``fill(start, stop, out)`` with ``out`` of shape (stop - start, width_of(kind)), uint8,
        the bytes of a row beside each other.
    """
    if kind.startswith("array<"):
        return lambda start, stop, out: _fill_array(array[start:stop], out)
    if not arrow().types.is_dictionary(array.type):
        return lambda start, stop, out: _fill(array.slice(start, stop - start), kind, out)
    values = array.dictionary
    table = np.zeros((len(values) + 1, width_of(kind)), dtype=np.uint8)
    filler(values, kind)(0, len(values), table[:-1])
    codes = arrow().compute.fill_null(array.indices.cast("int64"), len(values)).to_numpy()

    def fill(start: int, stop: int, out: Bytes) -> None:
        out[:] = table[codes[start:stop]]

    return fill


def cells(array: Any, kind: str) -> Bytes:
    """All cells of a column, shape (n, width_of(kind)), uint8."""
    out = np.empty((len(array), width_of(kind)), dtype=np.uint8)
    filler(whole(array), kind)(0, len(array), out)
    return out


def _fill(array: Any, kind: str, out: Bytes) -> None:
    if kind in ("text", "bytes"):
        _fill_bytes(array, KINDS[kind], out)
    elif kind == "decimal":
        plain = [None if v is None else format(v.normalize(), "f") for v in array.to_pylist()]
        _fill_bytes(arrow().array(plain, arrow().large_string()), KINDS[kind], out)
    elif kind.startswith("list<"):
        _fill_lists(array, out)
    elif kind.startswith("struct<"):
        _fill_structs(array, out)
    elif kind in _MOMENTS:
        _fill_moments(array, kind, out)
    else:
        _fill_numbers(array, kind, out)
    if array.null_count:
        out[~np.asarray(array.is_valid().to_numpy(zero_copy_only=False), dtype=bool)] = 0


def _put(out: Bytes, values: NDArray[Any], dtype: str, at: int = 1) -> None:
    """Write numbers big-endian into the bytes from ``at``."""
    out[:, at : at + np.dtype(dtype).itemsize].view(dtype)[:, 0] = values


def _numbers(array: Any) -> NDArray[Any]:
    """The numbers that an array stores, 0 where one is missing."""
    pa = arrow()
    t = pa.types
    stored = array.type
    if t.is_date32(stored) or t.is_time32(stored):
        array = array.view(pa.int32())
    elif not (t.is_integer(stored) or t.is_floating(stored) or t.is_boolean(stored)):
        array = array.view(pa.int64())
    if array.null_count:
        zero = pa.scalar(False if t.is_boolean(stored) else 0, array.type)
        array = array.fill_null(zero)
    return np.asarray(array.to_numpy(zero_copy_only=False))


def _fill_numbers(array: Any, kind: str, out: Bytes) -> None:
    values = _numbers(array)
    out[:, 0] = KINDS[kind]
    if kind.startswith("float"):
        _put(out, values, {"float": ">f8", "float32": ">f4", "float16": ">f2"}[kind])
        out[np.isnan(values)] = 0
    elif kind == "bool":
        out[:, 1] = values
    elif values.dtype == np.uint64:
        _put(out, values, ">u8")
        out[values > np.iinfo(np.int64).max, 0] = LARGE_INT
    elif kind == "date":
        days = values if arrow().types.is_date32(array.type) else values // 86_400_000
        _put(out, days, ">i8")
    elif kind == "time":
        _put(out, values.astype(np.int64) * (10**9 // _PER_SECOND[array.type.unit]), ">i8")
    else:
        _put(out, values, ">i8")


def _fill_moments(array: Any, kind: str, out: Bytes) -> None:
    per_second = _PER_SECOND[array.type.unit]
    seconds, rest = np.divmod(_numbers(array), per_second)
    out[:, 0] = KINDS[kind]
    _put(out, seconds, ">i8")
    _put(out, rest * (10**9 // per_second), ">u4", at=9)


def _fill_bytes(array: Any, kind: int, out: Bytes) -> None:
    """Text as its UTF-8, or bytes: short ones as they are, long ones by their digest."""
    _, ends, content = array.buffers()
    data = np.zeros(0, dtype=np.uint8) if content is None else np.frombuffer(content, np.uint8)
    offsets = np.frombuffer(ends, np.int64)[array.offset : array.offset + len(array) + 1]
    if len(array) >= MANY:
        from crenel.provenance.kernels import fill_short

        fill_short(offsets, data, kind, out)
    else:
        out[:] = 0
        out[:, 0], out[:, 1] = kind, np.minimum(np.diff(offsets), 255)
        for i in np.flatnonzero((offsets[1:] > offsets[:-1]) & (np.diff(offsets) <= SHORT)):
            value = data[offsets[i] : offsets[i + 1]]
            out[i, 2 : 2 + len(value)] = value
    view = data.data
    for i in np.flatnonzero(np.diff(offsets) > SHORT):
        digest = hashlib.sha256(view[offsets[i] : offsets[i + 1]]).digest()
        out[i, 0], out[i, 1:] = kind + 1, np.frombuffer(digest, np.uint8)


def _fill_lists(array: Any, out: Bytes) -> None:
    pa = arrow()
    array = array.cast(pa.large_list(array.type.value_type))
    offsets = array.offsets.to_numpy()
    kind = type_of(array.type.value_type)
    inner = cells(array.values.slice(offsets[0], offsets[-1] - offsets[0]), kind)
    view = np.ascontiguousarray(inner).reshape(-1).data
    starts = (offsets - offsets[0]) * inner.shape[1]
    out[:, 0] = KINDS["list"]
    for i in range(len(out)):
        digest = hashlib.sha256(view[starts[i] : starts[i + 1]]).digest()
        out[i, 1:] = np.frombuffer(digest, np.uint8)


def _fill_structs(array: Any, out: Bytes) -> None:
    parts = [cells(child, type_of(child.type)) for child in array.flatten()]
    joined = np.hstack(parts) if parts else np.zeros((len(out), 0), dtype=np.uint8)
    out[:, 0] = KINDS["struct"]
    out[:, 1:] = sha256_rows(joined)


def _fill_array(rows: NDArray[Any], out: Bytes) -> None:
    flat = np.ascontiguousarray(rows, dtype=rows.dtype.newbyteorder("<")).reshape(len(rows), -1)
    out[:, 0] = KINDS["array"]
    out[:, 1:] = one_by_one(flat)
