"""The canonical form of rows, written again from its description, one Python value at a time."""

import datetime as dt
import hashlib
import json
import struct
from decimal import Decimal

import pyarrow as pa
from hypothesis import strategies as st

EPOCH = dt.datetime(1970, 1, 1)


def sha(data):
    return hashlib.sha256(data).digest()


def packed(kind, data):
    if len(data) <= 31:
        return bytes([kind, len(data)]) + data.ljust(31, b"\0")
    return bytes([kind + 1]) + sha(data)


def cell(value, kind):
    if kind.startswith("list<"):
        inner = kind[5:-1]
        return (
            bytes(33) if value is None else b"\x12" + sha(b"".join(cell(v, inner) for v in value))
        )
    if value is None or value != value:
        widths = {"bool": 2, "int": 9, "float": 9, "float32": 5, "date": 9}
        return bytes(13 if kind.startswith("timestamp") else widths.get(kind, 33))
    if kind == "bool":
        return bytes([1, value])
    if kind == "int":
        return (
            b"\x02" + struct.pack(">q", value)
            if value < 2**63
            else b"\x03" + struct.pack(">Q", value)
        )
    if kind == "float":
        return b"\x04" + struct.pack(">d", value)
    if kind == "float32":
        return b"\x05" + struct.pack(">f", value)
    if kind == "text":
        return packed(7, value.encode())
    if kind == "bytes":
        return packed(9, value)
    if kind == "timestamp":
        micro = (value - EPOCH) // dt.timedelta(microseconds=1)
        return b"\x0b" + struct.pack(">qI", micro // 10**6, micro % 10**6 * 1000)
    if kind == "date":
        return b"\x0e" + struct.pack(">q", (value - EPOCH.date()).days)
    assert kind == "decimal"
    return packed(16, format(Decimal(value).normalize(), "f").encode())


def row_digest(names, kinds, row):
    schema = ["crenel-rows-1", *([n, k] for n, k in zip(names, kinds))]
    prefix = sha(json.dumps(schema, ensure_ascii=False, separators=(",", ":")).encode())
    return sha(b"\0" + prefix + b"".join(cell(v, k) for v, k in zip(row, kinds)))


KINDS = {
    "bool": (pa.bool_(), st.booleans()),
    "int": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "float": (pa.float64(), st.floats()),
    "float32": (pa.float32(), st.floats(width=32)),
    "text": (pa.string(), st.text(st.characters(exclude_categories=["Cs"]), max_size=40)),
    "bytes": (pa.binary(), st.binary(max_size=40)),
    "timestamp": (
        pa.timestamp("us"),
        st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31)),
    ),
    "date": (pa.date32(), st.dates()),
    "decimal": (pa.decimal128(20, 5), st.decimals(-(10**9), 10**9, places=5)),
    "list<text>": (
        pa.list_(pa.string()),
        st.lists(
            st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=40), max_size=2
        ),
    ),
    "list<int>": (pa.list_(pa.int64()), st.lists(st.none() | st.integers(-9, 9), max_size=3)),
}


@st.composite
def tables(draw, kinds=tuple(KINDS), min_rows=0, text=None):
    """Column kinds and rows of values, some of them missing."""
    chosen = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=4))
    values = [text if k == "text" and text is not None else KINDS[k][1] for k in chosen]
    rows = draw(
        st.lists(st.tuples(*(st.none() | v for v in values)), min_size=min_rows, max_size=8)
    )
    return chosen, rows


def as_arrow(chosen, rows):
    arrays = [pa.array([r[i] for r in rows], KINDS[k][0]) for i, k in enumerate(chosen)]
    return pa.table(arrays, names=[f"c{i}" for i in range(len(chosen))])
