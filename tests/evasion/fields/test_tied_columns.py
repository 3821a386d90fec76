"""Derived columns, one-hot groups, steps and functions in the search, checked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crenel.data.constraints import RowRule
from crenel.evasion import field_search, legal
from crenel.schema import Feature, Schema

COLORS = ("red", "green", "blue")


def world(seed: int, n: int = 60) -> tuple[pd.DataFrame, Schema]:
    """Prices in cents, a ratio of two columns, a one-hot colour and a rule that is a function."""
    rng = np.random.default_rng(seed)
    hot = rng.integers(0, 3, n)
    x = pd.DataFrame(
        {
            "price": rng.integers(100, 900, n) / 100,
            "weight": rng.integers(1, 9, n),
            "ratio": 0.0,
            **{c: (hot == i).astype(int) for i, c in enumerate(COLORS)},
            "rank": rng.integers(0, 5, n),
        }
    )
    x["ratio"] = x["price"] / x["weight"]
    schema = Schema(
        features=(
            Feature(name="price", kind="continuous", min=1, max=9, step=0.01, scale=4),
            Feature(name="weight", kind="integer", min=1, max=8, scale=4),
            Feature(name="ratio", kind="continuous", min=0.1, max=9),
            *(Feature(name=c, kind="binary", values=(0, 1), cost=2) for c in COLORS),
            Feature(name="rank", kind="ordinal", values=(0, 1, 2, 3, 4), direction="up"),
        ),
        constraints=("ratio = price / weight", "one of red, green, blue",
                     RowRule(lambda f: (f["rank"] < 3) | (f["red"] == 0), ("rank", "red"))),
    )  # fmt: skip
    return x, schema


def linear(seed: int, x: pd.DataFrame):
    w = np.random.default_rng(seed).normal(size=7) * [1, 0.5, 3, 3, 3, 3, 1]
    middle = float(np.median(x.to_numpy(float) @ w))

    def scores(f: pd.DataFrame) -> np.ndarray:
        p = 1 / (1 + np.exp(-(f.to_numpy(float) @ w - middle)))
        return np.column_stack([1 - p, p])

    return scores, lambda f: scores(f).argmax(axis=1)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 500), st.booleans(), st.booleans())
def test_every_witness_keeps_ties_groups_steps_and_functions(
    seed: int, labels_only: bool, first: bool
) -> None:
    x, schema = world(seed)
    scores, predict = linear(seed, x)
    y = predict(x)
    got = field_search(
        predict, x, y, schema, x, scores=scores, labels_only=labels_only, first=first,
        queries=150, seed=seed, max_fields=2,
    )  # fmt: skip
    assert got.rejected == 0
    assert got.flipped.mean() > 0.5
    assert legal(x, got.adversarial, schema).all()
    for i in np.flatnonzero(got.flipped):  # by hand
        a, b = x.iloc[i], got.adversarial.iloc[i]
        moved = [n for n in x.columns if a[n] != b[n]]
        assert predict(got.adversarial.iloc[[i]])[0] != y[i]
        assert b["red"] + b["green"] + b["blue"] == 1
        assert b["rank"] >= a["rank"]
        assert round(b["price"] * 100, 6) == round(b["price"] * 100)
        assert 1 <= b["price"] <= 9
        assert b["weight"] in range(1, 9)
        if "price" in moved or "weight" in moved:
            assert b["ratio"] == pytest.approx(b["price"] / b["weight"], rel=1e-6)
        else:
            assert b["ratio"] == a["ratio"]
        if {"rank", "red"} & set(moved):
            assert b["rank"] < 3 or b["red"] == 0
        fields = len(set(moved) & {"price", "weight", "rank"}) + bool(set(moved) & set(COLORS))
        assert got.fields[i] == fields
        cost = 2 * bool(set(moved) & set(COLORS)) + abs(b["price"] - a["price"]) / 4
        cost += abs(b["weight"] - a["weight"]) / 4 + abs(b["rank"] - a["rank"])
        assert got.cost[i] == pytest.approx(cost)


def test_a_model_of_the_ratio_alone_falls_by_moving_one_of_its_parts() -> None:
    x, schema = world(1)
    cut = float(x["ratio"].median())

    def predict(f: pd.DataFrame) -> np.ndarray:
        return (f["ratio"] > cut).astype(int).to_numpy()

    got = field_search(predict, x, predict(x), schema, x, max_fields=1, queries=300)
    assert (got.fields == 1).all()
    ratio = schema.names.index("ratio")
    assert got.changed[got.flipped][:, ratio].all()


def test_without_its_formula_a_derived_column_is_not_changed_apart() -> None:
    x, schema = world(2)
    other = x.copy()
    other.loc[0, "ratio"] = 5.0
    other.loc[1, "price"] = x.loc[1, "price"] + 1
    other.loc[2, ["price", "ratio"]] = [4.0, 4.0 / x.loc[2, "weight"]]
    assert legal(x, other, schema)[:3].tolist() == [False, False, True]


def test_steps_are_kept() -> None:
    schema = Schema(features=(Feature(name="a", kind="continuous", step=0.25),))
    x0 = pd.DataFrame({"a": [0.1] * 4})
    x1 = pd.DataFrame({"a": [0.1, 0.25, 0.3, 1e6 + 0.25]})
    assert legal(x0, x1, schema).tolist() == [True, True, False, True]


def test_a_row_that_breaks_a_function_may_be_changed_elsewhere() -> None:
    from crenel.data import infer_schema

    x = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": [5.0, 6.0, 7.0, 8.0]})
    schema = infer_schema(x, constraints=[lambda f: f["a"] < 3])
    x1 = x.copy()
    x1["b"] = [6.0, 7.0, 8.0, 5.0]
    assert legal(x, x1, schema).all()
    x1["a"] = [2.0, 3.0, 4.0, 1.0]
    assert legal(x, x1, schema).tolist() == [True, False, False, True]


def test_first_spends_no_more_queries_and_turns_as_many() -> None:
    x, schema = world(3)
    scores, predict = linear(3, x)
    runs = {
        first: field_search(
            predict, x, predict(x), schema, x, scores=scores, first=first, queries=200
        )
        for first in (False, True)
    }
    assert runs[True].asked < runs[False].asked / 2
    assert runs[True].flipped.sum() >= runs[False].flipped.sum() - 2
