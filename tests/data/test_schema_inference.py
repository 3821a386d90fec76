"""Kinds, bounds and personal names are inferred as a person would read them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crenel.data import infer_schema
from crenel.data.names import is_immutable, is_sensitive, words_of
from crenel.errors import UsageError
from crenel.schema import Kind

N = 300
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("values", "kind", "levels"),
    [
        (RNG.normal(size=N), Kind.CONTINUOUS, ()),
        (RNG.integers(0, 1000, N), Kind.INTEGER, ()),
        (RNG.integers(0, 1000, N).astype(float), Kind.INTEGER, ()),
        (RNG.choice([-1, 0, 1], N), Kind.ORDINAL, (-1, 0, 1)),
        (RNG.choice([0, 0.5, 1], N), Kind.ORDINAL, (0.0, 0.5, 1.0)),
        (RNG.choice([1, 2, 4, 8, 1000], N), Kind.INTEGER, ()),
        (RNG.choice([0, 1], N), Kind.BINARY, (0, 1)),
        (RNG.choice([1.5, 2.5], N), Kind.BINARY, (1.5, 2.5)),
        (RNG.choice([True, False], N), Kind.BINARY, (False, True)),
        (RNG.choice(["no", "yes"], N), Kind.BINARY, ("no", "yes")),
        (RNG.choice(list("abc"), N), Kind.CATEGORY, ("a", "b", "c")),
        (pd.Categorical(["b"] * N, categories=["c", "b", "a"]), Kind.CATEGORY, ("c", "b", "a")),
        ([f"a rather long remark, number {i}, by a customer" for i in range(N)], Kind.TEXT, ()),
        ([f"id{i}" for i in range(N)], Kind.TEXT, ()),
    ],
)
@pytest.mark.parametrize("gaps", [False, True])
def test_kinds(values, kind, levels, gaps):
    column = pd.Series(values)
    if gaps:
        column = column.mask(np.arange(N) % 5 == 3)
    feature = infer_schema(pd.DataFrame({"f": column})).features[0]
    assert (feature.kind, feature.values, feature.missing) == (kind, levels, gaps)


def test_bounds_and_scale():
    frame = pd.DataFrame({"a": np.arange(101.0) / 2, "b": [3.0] * 101, "c": [0.0] * 100 + [5.5]})
    a, b, c = infer_schema(frame).features
    assert (a.min, a.max, a.scale) == (0, 50, 25)
    assert (b.min, b.max, b.scale) == (3, 3, 1)
    assert c.scale == pytest.approx(frame["c"].std(ddof=0)) or c.kind is Kind.BINARY


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_every_row_given_is_legal_under_the_schema(data):
    n = data.draw(st.integers(1, 40))
    cells = {
        "number": st.one_of(st.none(), st.floats(-1e6, 1e6), st.integers(-9, 9)),
        "word": st.one_of(st.none(), st.text("abé ", max_size=3)),
        "flag": st.booleans(),
    }
    frame = pd.DataFrame(
        {name: data.draw(st.lists(cell, min_size=n, max_size=n)) for name, cell in cells.items()}
    )
    before = frame.copy()
    schema = infer_schema(frame)
    pd.testing.assert_frame_equal(frame, before)
    assert schema.names == tuple(frame.columns)
    for feature in schema.features:
        known = frame[feature.name].dropna()
        assert feature.missing == (len(known) < n)
        if feature.values:
            assert set(known) <= set(feature.values)
        elif feature.min is not None:
            assert ((known >= feature.min) & (known <= feature.max)).all()
        assert feature.scale > 0
        assert np.isfinite(feature.scale)


def test_arrays_are_tables_with_numbered_columns_and_images_are_one_feature():
    assert infer_schema(RNG.normal(size=(30, 3))).names == ("x0", "x1", "x2")
    for low, high, x in (
        (0, 1, RNG.random((5, 3, 8, 8))),
        (0, 255, RNG.integers(0, 256, (5, 8, 8))),
        (-1, 1, RNG.uniform(-0.9, 0.9, (5, 8, 8))),
    ):
        (image,) = infer_schema(x).features
        assert (image.kind, image.min, image.max) == (Kind.IMAGE, low, high)


def test_columns_that_are_no_features_are_left_out():
    frame = pd.DataFrame({"id": range(9), "x": range(9), "from": list("ab") * 4 + ["a"], "y": 1})
    schema = infer_schema(frame, label="y", source="from", record_id="id")
    assert schema.names == ("x",)
    assert (schema.label, schema.source, schema.record_id) == ("y", "from", "id")


@pytest.mark.parametrize(
    "name",
    [
        "age",
        "Age",
        "AGE",
        "customer_age",
        "dateOfBirth",
        "date-of-birth",
        "Geschlecht",
        "sexe",
        "Nationalität",
        "native-country",
        "country of birth",
        "geburtsdatum",
        "race",
        "Ethnic Group",
    ],
)
def test_names_of_what_nobody_can_change(name):
    assert is_sensitive(name)
    assert is_immutable(name)


@pytest.mark.parametrize(
    ("name", "sensitive", "immutable"),
    [
        ("marital-status", True, False),
        ("religion", True, False),
        ("phone_number", True, False),
        ("first_name", True, False),
        ("name", True, False),
        ("id", False, True),
        ("customerID", False, True),
        ("percentage", False, False),
        ("age_of_domain", False, False),
        ("car_color", False, False),
        ("skin_color", True, False),
        ("file_name", False, False),
        ("message", False, False),
        ("capital-gain", False, False),
        ("hours", False, False),
        ("genre", False, False),
        ("Width", False, False),
    ],
)
def test_other_names(name, sensitive, immutable):
    assert (is_sensitive(name), is_immutable(name)) == (sensitive, immutable)


def test_words_of_names():
    assert words_of("dateOfBirth") == words_of("DATE_OF_BIRTH") == ["date", "of", "birth"]
    assert words_of("HTTPServer2") == ["http", "server"]


def test_corrections_take_the_place_of_what_was_inferred():
    frame = pd.DataFrame({"age": range(18, 48), "hours": range(30), "code": [1, 2, 3] * 10})
    schema = infer_schema(
        frame,
        corrections={
            "age": {"mutable": True, "direction": "up"},
            "hours": {"min": 1, "max": 99, "cost": 0.1, "unit": "h"},
            "code": {"kind": "category"},
        },
        constraints=["hours <= age"],
    )
    assert schema["age"].mutable
    assert schema["age"].direction == "up"
    assert (schema["hours"].min, schema["hours"].max, schema["hours"].cost) == (1, 99, 0.1)
    assert schema["code"].kind is Kind.CATEGORY
    assert schema["code"].values == (1, 2, 3)
    assert schema.constraints == ("hours <= age",)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"corrections": {"agee": {}}}, "no column 'agee'; did you mean 'age'"),
        (
            {"corrections": {"age": {"mutabel": 1}}},
            "features.age: unknown key 'mutabel'; did you mean 'mutable'",
        ),
        ({"corrections": {"age": {"kind": "number"}}}, "features.age: kind: "),
        ({"corrections": {"age": {"min": 9, "max": 1}}}, "min 9.0 is above max 1.0"),
        ({"corrections": {"age": {"kind": "category"}}}, "needs its legal values"),
        ({"constraints": ["age <"]}, "'age <' cannot be read"),
        ({"constraints": ["height > 2"]}, "cannot be read: name 'height' is not defined"),
        ({"constraints": ["age + 1"]}, "is not true or false of each row"),
    ],
)
def test_wrong_corrections_are_told(settings, message):
    with pytest.raises(UsageError, match=message):
        infer_schema(pd.DataFrame({"age": range(30)}), **settings)
