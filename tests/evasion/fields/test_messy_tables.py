"""Tables as they come: gaps, dates, constants, rare classes, many categories, hints in the data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from crenel.adapters import wrap
from crenel.check import Context
from crenel.data import infer_schema
from crenel.evasion.checks import few_fields
from crenel.evasion.fields.diffs import edits, shown
from crenel.evasion.fields.sharpen import sharpened
from crenel.schema import Feature, Schema
from crenel.subject import Data, Subject


def messy(n: int = 240) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    hot = rng.integers(0, 3, n)
    price = rng.integers(100, 9000, n) / 100
    return pd.DataFrame(
        {
            "price": np.where(rng.random(n) < 0.1, np.nan, price),
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 6, n), "D"),
            "flag": rng.random(n) < 0.5,
            "same": 7,
            "blank": pd.Series(rng.choice(["", " a", "b"], n), dtype=object),
            "customer": [f"c{i:04d}" for i in rng.integers(0, 80, n)],
            "text number": rng.choice(["1", "2", "30"], n),
            **{f"is_{c}": (hot == i).astype(int) for i, c in enumerate("xyz")},
            "gap": pd.array(np.where(rng.random(n) < 0.2, None, rng.integers(0, 40, n)), "Int64"),
        }
    )


def subject(x: pd.DataFrame, classes: int = 2) -> Subject:
    """A rule of thumb on the price, the gap and the groups; one row only of a rare class."""

    def decide(f: pd.DataFrame) -> np.ndarray:
        level = f["price"].fillna(20).to_numpy(float) + 30 * f["is_x"].to_numpy(float)
        level = level + f["gap"].fillna(5).to_numpy(float)
        return (level > 60).astype(np.int64)

    y = decide(x)
    if classes == 3:
        y[0] = 2
    labels = ["no", "yes", "rare"][:classes]
    model = wrap(lambda f: np.array(labels)[decide(f)], classes=labels).with_decisions_only()
    test = Data(x, y, np.arange(len(y)))
    return Subject("messy", model=model, test=test, schema=infer_schema(x))


@pytest.mark.parametrize("classes", [2, 3])
def test_a_messy_table_is_measured_and_its_witnesses_are_rows(classes: int) -> None:
    x = messy()
    given = subject(x, classes)
    got = few_fields.measure(given, Context(check="EVA-102"))
    assert got.exposures[0].health.tests[0].ok
    assert got.exposures[0].at(1)[0] > 0.5
    assert any("is_x, is_y, is_z were changed together" in n for n in got.notes)
    told = [e for f in got.findings for ex in f.examples for e in ex.edits]
    assert told
    for e in told:
        if e.field == "price" and e.after != "missing":
            assert len(e.after.partition(".")[2]) == 2
        assert e.field != "same"


def test_groups_and_steps_are_seen_and_what_is_declared_stays() -> None:
    x = messy()
    schema, notes = sharpened(infer_schema(x), x)
    assert schema.constraints == ("one of `is_x`, `is_y`, `is_z`",)
    assert schema["price"].step == 0.01
    assert len(notes) == 1
    own = infer_schema(x, constraints=["one of is_x, is_y, is_z"])
    fixed = own.model_copy(
        update={"features": tuple(f.model_copy(update={"step": 0.5}) for f in own.features)}
    )
    again, none = sharpened(fixed, x)
    assert again.constraints == own.constraints
    assert again["price"].step == 0.5
    assert none == ()
    noise = pd.DataFrame({"a": np.random.default_rng(0).normal(size=50)})
    assert sharpened(infer_schema(noise), noise)[0] == infer_schema(noise)


def test_values_are_shown_as_their_column_writes_them() -> None:
    cents = Feature(name="a", kind="continuous", step=0.01, unit="EUR")
    plain = Feature(name="a", kind="category")
    assert shown(12.5, cents) == "12.50 EUR"
    assert shown(3.0, Feature(name="a", kind="integer", unit="years")) == "3 years"
    assert shown(pd.Timestamp("2024-02-03"), plain) == "2024-02-03"
    assert [shown(v, cents) for v in (None, np.nan, pd.NA, pd.NaT)] == ["missing"] * 4
    assert shown("", plain) == "''"
    assert shown(" a", plain) == "' a'"
    assert shown(True, plain) == "True"


def test_a_derived_column_says_that_it_follows_and_a_sensitive_one_nothing() -> None:
    schema = Schema(
        features=tuple(Feature(name=n, kind="continuous", sensitive=n == "b") for n in "abc"),
        constraints=("c = a + b",),
    )
    before, after = pd.DataFrame([[1.0, 2, 3]]), pd.DataFrame([[2.0, 5, 7]])
    before.columns = after.columns = list("abc")
    told = edits(before, after, schema)
    assert [(e.field, e.before, e.after) for e in told] == [
        ("a", "1", "2"), ("b", "(withheld)", "(changed)"), ("c", "3", "7 (follows: a + b)"),
    ]  # fmt: skip


def test_a_witness_that_breaks_what_data_keep_is_marked_and_counted() -> None:
    rng = np.random.default_rng(0)
    start = rng.integers(0, 50, 600)
    x = pd.DataFrame({"start": start, "end": start + rng.integers(0, 30, 600)})
    x["on"] = rng.choice(["yes", "no"], 600)

    def decide(f: pd.DataFrame) -> np.ndarray:  # only rows that never occur turn it
        return ((f["end"] < f["start"]) | (f["on"] == "yes")).to_numpy().astype(np.int64)

    held = {"on": {"mutable": False}}
    model = wrap(decide, classes=[0, 1]).with_decisions_only()
    test = Data(x, decide(x), np.arange(600))
    given = Subject("pair", model=model, test=test, schema=infer_schema(x, corrections=held))
    got = few_fields.measure(given, Context(check="EVA-102"))
    share = got.findings[0].evidence.values["share of changed rows that break no learned rule"]
    assert share == 0
    assert any("0 % of the changed rows break none of" in n for n in got.notes)
    odd = [e.text for f in got.findings for e in f.examples]
    assert set(odd) == {"unusual: breaks start <= end"}
    bound = infer_schema(x, corrections=held, constraints=["start <= end"])
    kept = few_fields.measure(replace(given, schema=bound), Context(check="EVA-102"))
    assert kept.exposures[0].harm.values[-1] == 0
    assert not kept.findings
