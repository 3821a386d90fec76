"""A row belongs to a part of the training data by what it says, and by nothing else."""

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crenel.errors import SubjectError, UsageError
from crenel.poisoning.partition import partitions_of, row_numbers

numbers = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(allow_infinity=True, allow_nan=False), st.booleans()
)
values = st.one_of(numbers, st.text(max_size=6), st.none())
tables = st.lists(st.tuples(values, values, values), min_size=1, max_size=12)


def frame(rows):
    return pd.DataFrame({f"c{j}": pd.Series([r[j] for r in rows], dtype=object) for j in range(3)})


@settings(max_examples=60, deadline=None)
@given(tables, st.randoms())
def test_order_index_names_and_other_rows_do_not_count(rows, random):
    x = frame(rows)
    found = row_numbers(x)
    order = list(range(len(rows)))
    random.shuffle(order)
    assert (row_numbers(x.iloc[order]) == found[order]).all()
    assert (row_numbers(x.rename(columns=str.upper).set_index(x.index + 7)) == found).all()
    for i in range(len(rows)):
        assert row_numbers(x.iloc[[i]])[0] == found[i]
    assert (row_numbers(x.to_numpy(dtype=object)) == found).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(values, values, values), min_size=2, max_size=8))
def test_rows_that_say_the_same_share_a_number_and_others_do_not(rows):
    found = row_numbers(frame(rows))
    keys = [tuple((isinstance(v, str), v) for v in r) for r in rows]  # True == 1 == 1.0
    for i in range(len(rows)):
        for j in range(i):
            assert (found[i] == found[j]) == (keys[i] == keys[j])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(-100, 100), st.integers(0, 1)), min_size=1, max_size=10))
def test_how_a_number_is_stored_does_not_count(rows):
    plain = np.array(rows)
    found = row_numbers(plain)
    for dtype in ("int8", "int16", "float16", "float32", "float64", "object"):
        assert (row_numbers(plain.astype(dtype)) == found).all()
    x = pd.DataFrame(plain, columns=["a", "b"])
    for types in (
        {"a": "Int64", "b": "boolean"}, {"a": "Float32", "b": bool}, {"b": "category"},
        {"a": "int64[pyarrow]", "b": "uint8"},
    ):  # fmt: skip
        assert (row_numbers(x.astype(types)) == found).all()


def test_one_odd_row_moves_no_other_one():
    honest = pd.DataFrame({"age": [30, 41, 55], "job": ["clerk", "smith", None]})
    found = row_numbers(honest)
    odd = pd.DataFrame({"age": [None, "old"], "job": [3, b"x"]})
    mixed = pd.concat([honest, odd], ignore_index=True)
    assert honest["age"].dtype != mixed["age"].dtype
    assert (row_numbers(mixed)[:3] == found).all()
    with_hole = pd.concat([honest, pd.DataFrame({"age": [None], "job": ["new"]})])
    assert (row_numbers(with_hole)[:3] == found).all()


def test_text_as_object_string_or_category_and_missing_values_of_any_kind():
    text = pd.Series(["a", None, "bb"], dtype=object)
    found = row_numbers(text.to_frame())
    for dtype in ("string", "category", "str"):
        assert (row_numbers(text.astype(dtype).to_frame()) == found).all()
    nothing = pd.DataFrame({"x": pd.Series([None, np.nan, pd.NA, pd.NaT], dtype=object)})
    assert len(set(row_numbers(nothing))) == 1
    assert row_numbers(np.array([[np.nan]]))[0] == row_numbers(nothing)[0]
    assert row_numbers(np.array([[-0.0]]))[0] == row_numbers(np.array([[0]]))[0]


def test_moments_by_what_they_are():
    day = datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC)
    utc = pd.DataFrame({"t": pd.Series([day])})
    paris = utc.assign(t=utc["t"].dt.tz_convert("Europe/Paris"))
    plain = pd.DataFrame({"t": pd.Series(["2026-01-02 03:00"], dtype="datetime64[s]")})
    objects = pd.DataFrame({"t": pd.Series([day], dtype=object)})
    assert len({row_numbers(x)[0] for x in (utc, paris, plain, objects)}) == 1
    spans = pd.DataFrame({"t": [datetime.timedelta(hours=1)]})
    assert row_numbers(spans) == row_numbers(spans.astype(object))


def test_images_as_rows_of_their_pixels():
    pictures = np.random.default_rng(0).integers(0, 255, (20, 5, 5), dtype=np.uint8)
    assert (row_numbers(pictures) == row_numbers(pictures.reshape(20, 25).astype("f4"))).all()


def test_parts_are_even_and_deterministic():
    x = np.random.default_rng(0).normal(size=(20_000, 3)).round(2)
    parts = partitions_of(x, 50)
    sizes = np.bincount(parts, minlength=50)
    assert sizes.min() > 300
    assert sizes.max() < 500
    # a published-value test: the number of this row must never change, or old certificates lie
    assert (
        row_numbers(pd.DataFrame({"a": [1], "b": ["x"], "c": [None]}))[0]
        == row_numbers(np.array([[1.0, "x", np.nan]], dtype=object))[0]
    )


def test_the_number_of_a_row_is_that_of_its_bytes():
    import hashlib
    import struct

    text = hashlib.blake2b(b"x", digest_size=16).digest()
    cells = b"\x01" + struct.pack("<d", 2.5) + bytes(8) + b"\x03" + text + bytes(17)
    expected = int.from_bytes(hashlib.blake2b(cells, digest_size=8).digest(), "little")
    assert row_numbers(pd.DataFrame({"a": [2.5], "b": ["x"], "c": [None]}))[0] == expected


def test_what_has_no_canonical_form_is_refused():
    with pytest.raises(SubjectError, match="cannot be hashed by its content"):
        row_numbers(np.array([[object()]], dtype=object))
    with pytest.raises(UsageError, match="at least one"):
        partitions_of(np.zeros((3, 1)), 0)
