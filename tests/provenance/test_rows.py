import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crenel.errors import SubjectError, UsageError
from crenel.provenance import cells, sha256
from crenel.provenance.columns import as_columns
from crenel.provenance.reading import read_columns
from crenel.provenance.rows import Roles, index_rows, row_digests
from tests.provenance.oracle import KINDS, as_arrow, row_digest, tables

#: What CSV can hold: text without empty ones, no lists, no bytes.
WRITTEN = ("bool", "int", "float", "float32", "text", "timestamp", "date")
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)


def digests(data):
    return [bytes(d) for d in row_digests(as_columns(data))]


@given(tables())
def test_digests_are_those_of_the_description(table):
    kinds, rows = table
    names = [f"c{i}" for i in range(len(kinds))]
    assert digests(as_arrow(kinds, rows)) == [row_digest(names, kinds, r) for r in rows]


@given(tables(min_rows=1), st.randoms(use_true_random=False))
def test_digests_follow_their_rows_through_any_permutation(table, random):
    kinds, rows = table
    order = list(range(len(rows)))
    random.shuffle(order)
    before, after = (
        digests(as_arrow(kinds, rows)),
        digests(as_arrow(kinds, [rows[i] for i in order])),
    )
    assert after == [before[i] for i in order]


@given(tables(min_rows=1), st.data())
def test_any_edit_of_one_cell_changes_the_digest_of_its_row_alone(table, data):
    kinds, rows = table
    row = data.draw(st.integers(0, len(rows) - 1))
    column = data.draw(st.integers(0, len(kinds) - 1))
    value = data.draw(st.none() | KINDS[kinds[column]][1])
    edited = [list(r) for r in rows]
    edited[row][column] = value
    before, after = digests(as_arrow(kinds, rows)), digests(as_arrow(kinds, edited))
    assert [a == b for a, b in zip(before, after)] == [
        i != row or same(rows[row][column], value) for i in range(len(rows))
    ]


def same(a, b):
    if a is None or b is None or a != a or b != b:
        return (a is None or a != a) and (b is None or b != b)
    return a == b and str(a) == str(b)  # 0.0 and -0.0 are two values


@settings(deadline=None, max_examples=60)
@given(table=tables(kinds=WRITTEN, text=WORDS))
def test_files_of_every_format_give_the_same_digests(table, tmp_path_factory):
    kinds, rows = table
    folder = tmp_path_factory.mktemp("formats")
    made = as_arrow(kinds, rows)
    expected = digests(made)
    pyarrow.parquet.write_table(made, folder / "t.parquet")
    with (
        pa.OSFile(str(folder / "t.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, made.schema) as out,
    ):
        out.write_table(made)
    for name in ("t.parquet", "t.arrow"):
        assert [bytes(d) for d in row_digests(read_columns(folder / name))] == expected
    if rows and all(any(v is not None for v in r) for r in rows):
        write_csv(folder / "t.csv", kinds, rows)
        declared = {f"c{i}": k for i, k in enumerate(kinds)}
        assert [bytes(d) for d in row_digests(read_columns(folder / "t.csv", declared))] == expected


def write_csv(path, kinds, rows):
    """By hand: names, then every value in quotes, as Python writes it."""
    lines = [",".join(f"c{i}" for i in range(len(kinds)))]
    for row in rows:
        written = [
            "" if v is None else str(np.float32(v)) if k == "float32" else str(v)
            for v, k in zip(row, kinds)
        ]
        lines.append(",".join('"' + w.replace('"', '""') + '"' for w in written))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_one_the_number_and_one_the_word_are_four_values():
    columns = [[1], [1.0], ["1"], [True]]
    assert len({digests({"a": c})[0] for c in columns}) == 4


def test_how_a_value_is_stored_does_not_matter():
    plain = digests({"a": pa.array([1, None, 3], pa.int64())})
    assert digests({"a": pa.array([1, None, 3], pa.uint8())}) == plain
    assert digests(pd.DataFrame({"a": pd.array([1, None, 3], dtype="Int16")})) == plain
    assert digests(pl.DataFrame({"a": [1, None, 3]})) == plain
    words = digests({"a": ["x", None, "y" * 50]})
    category = pd.Series(["x", None, "y" * 50], dtype="category").cat.add_categories(["unused"])
    assert digests(pd.DataFrame({"a": category})) == words
    assert digests({"a": pa.array(["x", None, "y" * 50]).dictionary_encode()}) == words
    chunks = pa.chunked_array([pa.array(["x"]), pa.array([None, "y" * 50])])
    assert digests(pa.table({"a": chunks})) == words
    moment = dt.datetime(2021, 5, 1, 12, 30, 1, 250000)
    seen = {digests({"a": pa.array([moment], pa.timestamp(u))})[0] for u in ("ms", "us", "ns")}
    assert len(seen) == 1
    here = pa.array([moment], pa.timestamp("us", "Europe/Berlin"))
    assert digests({"a": here}) == digests({"a": pa.array([moment], pa.timestamp("us", "UTC"))})
    assert digests({"a": here})[0] not in seen


def test_missing_values_of_every_kind_are_one():
    expected = digests({"a": pa.array([None], pa.float64())})
    assert digests(pd.DataFrame({"a": [np.nan]})) == expected
    assert digests({"a": pa.array([float("nan")])}) == expected
    assert digests({"a": pa.array([None], pa.string())}) != expected
    assert digests({"a": [""]}) != digests({"a": pa.array([None], pa.string())})


def test_names_order_and_types_of_columns_are_bound_in():
    base = digests({"a": [1], "b": [2]})
    assert digests({"b": [2], "a": [1]}) != base
    assert digests({"a": [1], "c": [2]}) != base
    assert digests({"a": [1.0], "b": [2]}) != base
    assert digests({"ab": ["x"], "c": ["y"]}) != digests({"a": ["x"], "bc": ["y"]})


def test_values_cannot_run_into_each_other():
    assert digests({"a": ["xy"], "b": ["z"]}) != digests({"a": ["x"], "b": ["yz"]})
    short, long = "x" * 31, "x" * 32
    hashed = __import__("hashlib").sha256(long.encode()).digest()
    assert digests({"a": [long]}) != digests({"a": pa.array([hashed])})
    assert len({digests({"a": [v]})[0] for v in (short, long, short + "\0", "", "\0")}) == 5
    nested = [[[1], [2]], [[1, 2]], [[1, 2], []], [[], [1, 2]], [[]], []]
    kind = pa.list_(pa.list_(pa.int64()))
    assert len(set(digests({"a": pa.array(nested, kind)}))) == len(nested)


def test_structs_are_their_fields():
    made = pa.array([{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": None, "b": "x"}, None])
    assert len(set(digests({"s": made}))) == 4
    assert digests({"s": made.slice(1, 2)}) == digests({"s": made})[1:3]


def test_the_compiled_way_gives_the_same_digests(monkeypatch):
    rng = np.random.default_rng(0)
    n = 400
    words = np.array(["", "a", "ü" * 20, "b" * 31, "c" * 32, None], dtype=object)
    table = pa.table(
        {
            "w": pa.array(rng.choice(words, n), pa.string()),
            "n": rng.normal(size=n),
            "i": pa.array(rng.integers(0, 9, n), mask=rng.random(n) < 0.1),
            "l": pa.array([list(range(i % 4)) for i in range(n)]),
        }
    )
    slow = digests(table)
    monkeypatch.setattr(sha256, "MANY", 10)
    monkeypatch.setattr(cells, "MANY", 10)
    assert digests(table) == slow
    assert digests(table.slice(37, 200)) == slow[37:237]


def test_whole_numbers_beyond_64_bits_signed_are_kept_apart():
    big = [2**63 - 1, 2**63, 2**64 - 1]
    made = digests({"a": pa.array(big, pa.uint64())})
    assert len(set(made)) == 3
    assert made[0] == digests({"a": pa.array([2**63 - 1], pa.int64())})[0]
    assert made[2] != digests({"a": pa.array([-1], pa.int64())})[0]


def test_an_index_knows_labels_sources_and_keys():
    table = {
        "id": [7, 8, 9],
        "x": [1.5, None, 1.5],
        "y": ["no", "yes", None],
        "who": ["b", "a", "b"],
    }
    index = index_rows(as_columns(table), Roles("y", "who", ("id",)))
    assert [index.label(i) for i in range(3)] == ["no", "yes", ""]
    assert [index.source(i) for i in range(3)] == ["b", "a", "b"]
    # rows 0 and 2 differ in label and key alone
    assert np.array_equal(index.content[0], index.content[2])
    assert not np.array_equal(index.content[0], index.content[1])
    assert len(np.unique(index.keys, axis=0)) == 3


def test_what_has_no_canonical_form_is_told():
    with pytest.raises(SubjectError, match="mixes types"):
        as_columns(pd.DataFrame({"a": [1, "x"]}))
    with pytest.raises(SubjectError, match="two columns named 'a'"):
        as_columns(pa.table([[1], [2]], names=["a", "a"]))
    with pytest.raises(SubjectError, match="no canonical form"):
        as_columns({"a": pa.array([None], pa.month_day_nano_interval())})
    with pytest.raises(UsageError, match="no column 'z'"):
        index_rows(as_columns({"a": [1]}), Roles(label="z"))
