"""Legality of changes, against rules written out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crenel.data.constraints import mentioned
from crenel.errors import UsageError
from crenel.evasion import legal
from crenel.schema import Feature, Schema

SCHEMA = Schema(
    features=(
        Feature(name="age", kind="integer", min=18, max=99, direction="up"),
        Feature(name="pay", kind="continuous", min=0, max=1000, missing=True),
        Feature(name="job", kind="category", values=("a", "b", "c")),
        Feature(name="sex", kind="binary", values=(0, 1), mutable=False),
        Feature(name="grade", kind="ordinal", values=("low", "mid", "high"), direction="down"),
        Feature(name="note", kind="text"),
    ),
    constraints=("pay <= age * 10",),
)
ROW = {"age": 30, "pay": 100.0, "job": "a", "sex": 0, "grade": "mid", "note": "x"}


def verdict(schema: Schema = SCHEMA, before: dict | None = None, **changes: object) -> bool:
    x0 = pd.DataFrame([{**ROW, **(before or {})}])
    x1 = pd.DataFrame([{**ROW, **(before or {}), **changes}])
    return bool(legal(x0, x1, schema)[0])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"age": 31}, True),
        ({"age": 29}, False),  # one way
        ({"age": 100}, False),  # out of range
        ({"age": 31.5}, False),  # not whole
        ({"pay": 250.5}, True),
        ({"pay": 301.0}, False),  # constraint
        ({"pay": 301.0, "age": 31}, True),  # both together keep it
        ({"pay": -1.0}, False),
        ({"job": "c"}, True),
        ({"job": "d"}, False),
        ({"job": None}, False),
        ({"sex": 1}, False),
        ({"grade": "low"}, True),
        ({"grade": "high"}, False),
        ({"note": "y"}, False),  # texts are not changed by fields
    ],
)
def test_each_rule(changes: dict, expected: bool) -> None:
    assert verdict(**changes) is expected


def test_missing_is_legal_only_where_it_occurs() -> None:
    free = SCHEMA.model_copy(update={"constraints": ()})
    assert verdict(free, pay=np.nan)
    assert verdict(free, before={"pay": np.nan}, pay=5.0)
    assert verdict(free, before={"pay": np.nan})  # missing equals missing: no change
    assert not verdict(free, age=np.nan)


def test_a_field_that_was_illegal_before_is_not_at_fault() -> None:
    assert verdict(before={"job": "unseen"}, pay=20.0)
    assert not verdict(before={"job": "a"}, job="unseen")


def test_a_constraint_broken_before_may_stay_broken_untouched() -> None:
    assert verdict(before={"pay": 900.0}, job="b")
    assert not verdict(before={"pay": 900.0}, pay=800.0)
    assert verdict(before={"pay": 900.0}, pay=200.0)


def test_category_and_nullable_dtypes() -> None:
    schema = Schema(
        features=(
            Feature(name="c", kind="category", values=("a", "b")),
            Feature(name="i", kind="integer", min=0, max=5, missing=True),
        )
    )
    x0 = pd.DataFrame({"c": pd.Categorical(["a", "a"]), "i": pd.array([1, None], dtype="Int64")})
    x1 = pd.DataFrame(
        {
            "c": pd.Categorical(["a", "b"], categories=["a", "b"]),
            "i": pd.array([None, 9], dtype="Int64"),
        }
    )
    assert legal(x0, x1, schema).tolist() == [True, False]


def test_a_bad_constraint_is_named() -> None:
    with pytest.raises(UsageError, match="nonsense"):
        verdict(SCHEMA.model_copy(update={"constraints": ("nonsense > 1",)}), age=31)


def test_fields_of_a_rule() -> None:
    names = ("start", "end", "due date", "art")
    assert mentioned("start <= end", names) == ("start", "end")
    assert mentioned("`due date` > 3 and art == 'end'", names) == ("due date", "art")
