"""Canonical column types, and tables of any kind as columns of them.

The type says what a value is, not how it is stored: 8-bit and 64-bit integers are both ``int``,
a category is the value that it stands for, and a moment has no unit. ``1``, ``1.0`` and ``"1"``
are values of three types.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from crenel.errors import MissingExtra, SubjectError


@dataclass(frozen=True)
class Columns:
    """A table in canonical form.

    Attributes
    ----------
    names : tuple of str
        In their order, distinct.
    types : tuple of str
        "bool", "int", "float", "float32", "float16", "text", "bytes", "timestamp",
        "timestamp-utc", "duration", "date", "time", "decimal", "list<…>", "struct<name:type,…>",
        or "array<dtype,shape>" for rows of an array.
    arrays : tuple
        One pyarrow array for each column; a NumPy array (n, …) for "array<…>".
    rows : int
    """

    names: tuple[str, ...]
    types: tuple[str, ...]
    arrays: tuple[Any, ...]
    rows: int

    def __getitem__(self, name: str) -> Any:
        return self.arrays[self.names.index(name)]

    def type_of(self, name: str) -> str:
        """The type of a column."""
        return self.types[self.names.index(name)]

    def select(self, names: tuple[str, ...]) -> Columns:
        """These columns alone, in this order."""
        at = [self.names.index(n) for n in names]
        types, arrays = tuple(self.types[i] for i in at), tuple(self.arrays[i] for i in at)
        return Columns(tuple(names), types, arrays, self.rows)

    def take(self, rows: Any) -> Columns:
        """These rows alone, in this order."""
        rows = np.asarray(rows, dtype=np.int64)
        taken = tuple(a[rows] if isinstance(a, np.ndarray) else a.take(rows) for a in self.arrays)
        return Columns(self.names, self.types, taken, len(rows))

    def to_pandas(self) -> Any:
        """The table as a pandas frame; rows of an array are left out."""
        import pyarrow as pa

        kept = {n: a for n, a in zip(self.names, self.arrays) if not isinstance(a, np.ndarray)}
        return pa.table(kept).to_pandas()


def arrow() -> Any:
    """The module pyarrow, with its functions on columns.

    Raises
    ------
    MissingExtra
        Where it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.compute
    except ImportError as error:
        raise MissingExtra("pyarrow", "provenance") from error
    return pyarrow


def as_columns(data: Any, name: str = "data") -> Columns:
    """A table of pyarrow, pandas or polars, or a mapping of columns, in canonical form.

    Raises
    ------
    SubjectError
        Where a column has no canonical type, or two columns have one name.
    """
    if isinstance(data, Columns):
        return data
    pa = arrow()
    try:
        table = _as_table(pa, data)
    except (pa.ArrowException, TypeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise SubjectError(
            f"{name}: a column mixes types; make each one type ({reason})"
        ) from error
    names = tuple(str(n) for n in table.column_names)
    twice = [n for i, n in enumerate(names) if n in names[:i]]
    if twice:
        raise SubjectError(f"{name} has two columns named {twice[0]!r}; rename one")
    arrays = tuple(whole(column) for column in table.columns)
    types = tuple(type_of(a.type, f"{name}, column {n!r}") for n, a in zip(names, arrays))
    return Columns(names, types, arrays, table.num_rows)


def _as_table(pa: Any, data: Any) -> Any:
    if isinstance(data, pa.Table):
        return data
    if hasattr(data, "iloc"):
        return pa.Table.from_pandas(data, preserve_index=False)
    if hasattr(data, "to_arrow"):
        return data.to_arrow()
    if hasattr(data, "items"):
        return pa.table(dict(data))
    raise TypeError(f"a {type(data).__name__} is no table")


def whole(column: Any) -> Any:
    """A column in one piece; text and bytes with 64-bit offsets, which always fit."""
    pa = arrow()
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.unify_dictionaries() if isinstance(column, pa.ChunkedArray) else column
        wide = _wide(pa, kind.value_type)
        if wide != kind.value_type:
            column = column.cast(pa.dictionary(kind.index_type, wide))
    elif _wide(pa, kind) != kind:
        column = column.cast(_wide(pa, kind))
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _wide(pa: Any, kind: Any) -> Any:
    if pa.types.is_string(kind) or pa.types.is_string_view(kind) or pa.types.is_null(kind):
        return pa.large_string()
    if pa.types.is_fixed_size_binary(kind) and not isinstance(kind, pa.ExtensionType):
        return pa.large_binary()
    return pa.large_binary() if pa.types.is_binary(kind) else kind


def type_of(kind: Any, where: str = "a column") -> str:
    """The canonical type of an Arrow type.

    Raises
    ------
    SubjectError
        Where there is none.
    """
    pa = arrow()
    t = pa.types
    if t.is_dictionary(kind):
        return type_of(kind.value_type, where)
    if t.is_timestamp(kind):
        return "timestamp" if kind.tz is None else "timestamp-utc"
    if t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind):
        return f"list<{type_of(kind.value_type, where)}>"
    if t.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        return f"struct<{','.join(f'{f.name}:{type_of(f.type, where)}' for f in fields)}>"
    plain = (
        ("bool", t.is_boolean), ("int", t.is_integer), ("float", t.is_float64),
        ("float32", t.is_float32), ("float16", t.is_float16), ("text", t.is_string),
        ("text", t.is_large_string), ("text", t.is_null), ("bytes", t.is_binary),
        ("bytes", t.is_large_binary), ("bytes", t.is_fixed_size_binary), ("date", t.is_date),
        ("time", t.is_time), ("duration", t.is_duration), ("decimal", t.is_decimal),
    )  # fmt: skip
    for name, test in plain:
        if test(kind):
            return name
    raise SubjectError(
        f"{where} holds values of the Arrow type {kind}, which have no canonical form; "
        "store them as numbers, text, lists or moments"
    )
