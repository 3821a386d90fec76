"""Delimited text for digests: every value kept exactly, types declared or told from all values.

The audit's own reader guesses as a person would want; here two readings of one table must agree to
the bit. Numbers are parsed to the nearest double, text keeps its spaces, and only an empty field
of a text column is missing.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import time
from pathlib import Path
from typing import Any

from crenel.data.csv import encoding_of, first_lines, has_header, opened, separator_of
from crenel.errors import SubjectError
from crenel.provenance.columns import Columns, arrow, type_of

#: What stands for a missing value in columns that are no text.
MISSING = (
    "", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "-NaN", "NULL", "null",
    "None",
)  # fmt: skip
#: Values that are looked at before all of a column are.
_HEAD = 1000
#: Bytes read at once; no row may be longer.
_BLOCK = 1 << 23
_TRUTH = ("True", "False", "true", "false", "TRUE", "FALSE")


def read_delimited(path: Path, types: Mapping[str, str]) -> Columns:
    """Read a CSV file or one of its kin, plain or compressed.

    Parameters
    ----------
    path : Path
    types : mapping of str to str
        Canonical types of columns, where they are known. Else a column is ``bool`` where all its
        values are true or false, ``int`` where they are whole numbers in their shortest form
        (``007`` is text), ``float`` where they are numbers, and ``text``.

    Raises
    ------
    SubjectError
        Where it is no regular table, or a value is not of the declared type.
    """
    names, texts = _read_texts(path)
    arrays = []
    for name, text in zip(names, texts):
        declared = types.get(name)
        arrays.append(
            _inferred(text) if declared is None else _declared(text, declared, path, name)
        )
    kinds = tuple(types.get(n, type_of(a.type)) for n, a in zip(names, arrays))
    return Columns(names, kinds, tuple(arrays), len(arrays[0]) if arrays else 0)


def _read_texts(path: Path) -> tuple[tuple[str, ...], list[Any]]:
    """Names and values of the columns, all as text."""
    pa = arrow()
    import pyarrow.csv

    encoding = encoding_of(path)
    lines = first_lines(path, encoding)
    separator = separator_of(lines)
    first, *rest = list(csv.reader(lines, delimiter=separator)) or [[]]
    if not first or first == [""]:
        raise SubjectError(f"{path} is empty")
    headed = has_header(first, rest)
    names = first if headed else [f"c{i}" for i in range(len(first))]
    twice = [n for i, n in enumerate(names) if n in names[:i]]
    if twice:
        raise SubjectError(f"{path} has two columns named {twice[0]!r}; rename one")
    with opened(path) as stream:
        source = io.BytesIO(stream.read().decode(encoding).encode()) if "16" in encoding else stream
        try:
            table = pyarrow.csv.read_csv(
                source,
                read_options=pyarrow.csv.ReadOptions(
                    block_size=_BLOCK, column_names=names, skip_rows_after_names=int(headed)
                ),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=separator, newlines_in_values=True
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.large_string()), strings_can_be_null=False
                ),
            )
        except (pa.ArrowException, UnicodeDecodeError, OSError, EOFError) as error:
            reason = str(error).strip().splitlines()[0].removeprefix("CSV parse error: ")
            raise SubjectError(f"{path} is not a regular table: {reason}") from error
    return tuple(names), [column.combine_chunks() for column in table.columns]


def _known(text: Any) -> Any:
    """Values with the marks for missing ones taken out."""
    pa = arrow()
    marks = pa.compute.is_in(text, value_set=pa.array(MISSING, pa.large_string()))
    return pa.compute.if_else(marks, pa.scalar(None, pa.large_string()), text)


def _text(text: Any) -> Any:
    pa = arrow()
    empty = pa.compute.equal(text, "")
    return pa.compute.if_else(empty, pa.scalar(None, pa.large_string()), text)


def _inferred(text: Any) -> Any:
    """Text as the narrowest type that holds all of its values."""
    pa = arrow()
    known = _known(text)
    if known.null_count == len(known):
        return _text(text)
    for kind in (pa.int64(), pa.uint64()):
        whole = _cast(known, kind)
        if whole is not None and whole.cast(pa.large_string()).equals(known):
            return whole
    truths = pa.array(_TRUTH, known.type)
    if pa.compute.is_in(known[:_HEAD].drop_null(), value_set=truths).false_count == 0:
        values = known.drop_null()
        if pa.compute.is_in(values, value_set=truths).false_count == 0:
            return known.cast(pa.bool_())
    number = _cast(known, pa.float64())
    # whole numbers that are not in their shortest form are names: 007
    if number is None or _any_matches(known, r"^[+-]?0[0-9]"):
        return _text(text)
    return number


def _cast(known: Any, kind: Any) -> Any:
    """Values of a type; None where one is not of it, which the first ones mostly tell."""
    pa = arrow()
    try:
        known[:_HEAD].cast(kind)
        return known.cast(kind)
    except pa.ArrowInvalid:
        return None


def _any_matches(known: Any, pattern: str) -> bool:
    found = arrow().compute.match_substring_regex(known, pattern)
    return bool(arrow().compute.any(found).as_py())


def _declared(text: Any, kind: str, path: Path, name: str) -> Any:
    """Text as values of a declared type."""
    pa = arrow()
    if kind == "text":
        return _text(text)
    known = _known(text)
    reason = f"text cannot be read as {kind}"
    for stored in _stored(pa, kind):
        try:
            if pa.types.is_time(stored):
                return pa.array(
                    [None if v is None else time.fromisoformat(v) for v in known.to_pylist()]
                )
            return known.cast(stored)
        except (pa.ArrowInvalid, ValueError) as error:
            reason = str(error).splitlines()[0]
    raise SubjectError(f"{path}: column {name!r} is declared as {kind}: {reason}")


def _stored(pa: Any, kind: str) -> tuple[Any, ...]:
    """Arrow types to try, in their order, for a canonical type that text can be read as."""
    return {
        "bool": (pa.bool_(),),
        "int": (pa.int64(), pa.uint64()),
        "float": (pa.float64(),),
        "float32": (pa.float32(),),
        "float16": (pa.float16(),),
        "timestamp": tuple(pa.timestamp(u) for u in ("ns", "us", "s")),
        "timestamp-utc": tuple(pa.timestamp(u, "UTC") for u in ("ns", "us", "s")),
        "date": (pa.date32(),),
        "time": (pa.time64("us"),),
        "decimal": (pa.decimal128(38, 18),),
    }.get(kind, ())
