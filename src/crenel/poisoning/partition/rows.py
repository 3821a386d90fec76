"""Which part of the training data a row belongs to: a hash of what it says, and of nothing else.

A row becomes one cell of 17 bytes for each of its values, and those bytes are hashed by BLAKE2b.
A cell says what a value is, not how it is stored: the number 1 has the same cell as an integer of
8 or 64 bits, a float, a truth value or an object, in a frame or an array. It must not depend on
the type of the column, for one inserted row can turn a column of integers into one of floats or
of objects, and would move every row if it did.

=========  ====  =======================================================================
value      kind  the other 16 bytes
=========  ====  =======================================================================
missing    0     zeros (None, NaN, NaT and NA are one)
number     1     its float64 bits, and zeros; minus zero is zero
large int  2     BLAKE2b of its decimal digits: integers that float64 does not hold
text       3     BLAKE2b of its UTF-8
bytes      4     BLAKE2b of them
moment     5     nanoseconds since 1970 in UTC, and zeros
duration   6     nanoseconds, and zeros
list       7     BLAKE2b of the cells of its items, arrays included
=========  ====  =======================================================================
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import SubjectError, UsageError

Bytes = NDArray[np.uint8]
WIDTH = 17
_NUMBER, _LARGE, _TEXT, _BYTES, _MOMENT, _DURATION, _LIST = range(1, 8)
#: Integers up to here are exact in float64.
_EXACT = 2**53
#: Bytes of cells held at once.
_AT_ONCE = 1 << 25


def partitions_of(x: Any, partitions: int) -> NDArray[np.int64]:
    """The part of the training data that each row belongs to, by its content alone.

    The label is no part of the content, so that a label turned stays within one part.

    Parameters
    ----------
    x : pandas.DataFrame or ndarray, n rows
    partitions : int
        k, at least 1.

    Returns
    -------
    ndarray, shape (n,), int64, in [0, k)

    Raises
    ------
    SubjectError
        Where a value is of a kind that has no canonical form.
    """
    return part_of(row_numbers(x), partitions)


def part_of(numbers: NDArray[np.uint64], partitions: int) -> NDArray[np.int64]:
    """The part of rows whose `row_numbers` are known; see `partitions_of`."""
    if partitions < 1:
        raise UsageError(f"rows cannot be shared among {partitions} parts; take at least one")
    return (numbers % np.uint64(partitions)).astype(np.int64)


def row_numbers(x: Any) -> NDArray[np.uint64]:
    """64 bits of BLAKE2b over the canonical cells of each row, in the order of the columns.

    Names, types and the order of rows do not count; the order of columns does.

    Parameters
    ----------
    x : pandas.DataFrame or ndarray, n rows
        Rows of an array of more than two dimensions are flattened.

    Returns
    -------
    ndarray, shape (n,), uint64
    """
    n, columns = len(x), _columns(x)
    out = np.empty(n, dtype=np.uint64)
    part = max(1, _AT_ONCE // (WIDTH * max(1, len(columns))))
    for first in range(0, n, part):
        rows = slice(first, min(n, first + part))
        cells = np.empty((rows.stop - first, len(columns), WIDTH), dtype=np.uint8)
        for j, fill in enumerate(columns):
            cells[:, j] = fill(rows)
        content, width = memoryview(cells.tobytes()), WIDTH * len(columns)
        starts = range(0, len(content), width) if width else [0] * len(cells)
        digests = (hashlib.blake2b(content[i : i + width], digest_size=8) for i in starts)
        out[rows] = np.frombuffer(b"".join(d.digest() for d in digests), dtype="<u8")
    return out


Fill = Callable[[slice], Bytes]


def _columns(x: Any) -> list[Fill]:
    """A function for each column from rows to their cells."""
    if hasattr(x, "iloc"):
        return [_column(x.iloc[:, j]) for j in range(x.shape[1])]
    flat = np.asarray(x).reshape(len(x), -1) if len(x) else np.zeros((0, 1))
    if flat.dtype.kind in "biuf":
        return [lambda rows, j=j: _numbers(flat[rows, j]) for j in range(flat.shape[1])]  # type: ignore[misc]
    return [_column(flat[:, j]) for j in range(flat.shape[1])]


def _column(values: Any) -> Fill:
    dtype = values.dtype
    if hasattr(dtype, "categories"):
        table = np.vstack([np.zeros((1, WIDTH), dtype=np.uint8), _cells(dtype.categories)])
        codes = np.asarray(values.cat.codes if hasattr(values, "cat") else values.codes) + 1
        return lambda rows: table[codes[rows]]
    if getattr(dtype, "kind", "O") in "biuf" and isinstance(dtype, np.dtype):
        plain = np.asarray(values)
        return lambda rows: _numbers(plain[rows])
    cells = _cells(values)
    return lambda rows: cells[rows]


def _cells(values: Any) -> Bytes:
    """The cells of a column, shape (n, 17), uint8."""
    import pandas as pd

    series = pd.Series(values)
    kind = getattr(series.dtype, "kind", "O")
    missing = series.isna().to_numpy()
    if kind in "biuf":
        plain = {"b": np.bool_, "i": np.int64, "u": np.uint64, "f": np.float64}[kind]
        cells = _numbers(series.to_numpy(dtype=plain, na_value=0))
    elif kind in "mM":
        if kind == "M" and getattr(series.dt, "tz", None) is not None:
            series = series.dt.tz_convert("UTC").dt.tz_localize(None)
        unit = "datetime64[ns]" if kind == "M" else "timedelta64[ns]"
        whole = series.to_numpy().astype(unit).view(np.int64)
        cells = _eight(_MOMENT if kind == "M" else _DURATION, whole)
    else:
        return _objects(series.to_numpy(dtype=object, na_value=None))
    cells[missing] = 0
    return cells


def _eight(kind: int, values: NDArray[Any]) -> Bytes:
    """Cells of one kind from numbers of eight bytes."""
    cells = np.zeros((len(values), WIDTH), dtype=np.uint8)
    cells[:, 0] = kind
    ordered = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))
    cells[:, 1:9] = ordered.view(np.uint8).reshape(len(values), 8)
    return cells


def _numbers(values: NDArray[Any]) -> Bytes:
    cells = _eight(_NUMBER, values.astype(np.float64) + 0.0)  # minus zero becomes zero
    if values.dtype.kind == "f":
        cells[np.isnan(values)] = 0
    elif values.dtype.kind in "iu" and values.dtype.itemsize == 8:
        for i in np.flatnonzero((values > _EXACT) | (values < -_EXACT)):
            cells[i] = _cell(int(values[i]))
    return cells


def _objects(values: NDArray[Any]) -> Bytes:
    """Cells of Python objects; each distinct one that can be hashed is worked out once."""
    known: dict[Any, Bytes] = {}
    cells = np.zeros((len(values), WIDTH), dtype=np.uint8)
    for i, value in enumerate(values):
        if isinstance(value, str):
            if value not in known:
                known[value] = _cell(value)
            cells[i] = known[value]
        else:
            cells[i] = _cell(value)
    return cells


def _cell(value: Any) -> Bytes:
    import pandas as pd

    if isinstance(value, str):
        return _digest(_TEXT, value.encode("utf-8", "surrogatepass"))
    if isinstance(value, (bytes, bytearray)):
        return _digest(_BYTES, bytes(value))
    if isinstance(value, (list, tuple, np.ndarray)):
        items = value.reshape(-1).tolist() if isinstance(value, np.ndarray) else list(value)
        return _digest(_LIST, b"".join(_cell(v).tobytes() for v in items))
    if value is None or pd.isna(value):
        return np.zeros(WIDTH, dtype=np.uint8)
    if isinstance(value, (bool, np.bool_, int, np.integer)):
        whole = int(value)
        if abs(whole) <= _EXACT or (abs(whole) < 2**1000 and int(float(whole)) == whole):
            return np.asarray(_eight(_NUMBER, np.array([float(whole)]))[0])
        return _digest(_LARGE, str(whole).encode())
    if isinstance(value, (float, np.floating)):
        return np.asarray(_eight(_NUMBER, np.array([float(value)]) + 0.0)[0])
    return _moment(value)


def _moment(value: Any) -> Bytes:
    import datetime

    import pandas as pd

    if isinstance(value, (datetime.timedelta, np.timedelta64)):
        length = np.array([pd.Timedelta(value).as_unit("ns").value])
        return np.asarray(_eight(_DURATION, length)[0])
    if isinstance(value, (datetime.date, np.datetime64)):
        moment = pd.Timestamp(value)
        moment = moment if moment.tz is None else moment.tz_convert("UTC").tz_localize(None)
        return np.asarray(_eight(_MOMENT, np.array([moment.as_unit("ns").value]))[0])
    raise SubjectError(
        f"a value of the type {type(value).__name__} cannot be hashed by its content; "
        "store it as a number, text, bytes, a moment or a list of those"
    )


def _digest(kind: int, content: bytes) -> Bytes:
    digest = hashlib.blake2b(content, digest_size=WIDTH - 1).digest()
    return np.frombuffer(bytes([kind]) + digest, dtype=np.uint8)
