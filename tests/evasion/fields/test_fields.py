"""The search over fields, against brute force on small spaces and its own promises."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crenel.errors import UsageError
from crenel.evasion import field_search, legal
from crenel.schema import Feature, Schema


class Table:
    """A random lookup table over small categories, smooth enough to learn and with kinks."""

    def __init__(self, seed: int, levels: tuple[int, ...], classes: int = 2) -> None:
        rng = np.random.default_rng(seed)
        self.levels, self.classes = levels, classes
        main = [rng.normal(size=(m, classes)) for m in levels]
        cells = rng.normal(scale=0.7, size=(*levels, classes))
        grids = np.meshgrid(*[np.arange(m) for m in levels], indexing="ij")
        self.logits = cells + sum(main[j][grids[j]] for j in range(len(levels)))
        self.schema = Schema(
            features=tuple(
                Feature(name=f"f{j}", kind="category", values=tuple(f"v{i}" for i in range(m)))
                for j, m in enumerate(levels)
            )
        )

    def frame(self, codes: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame(
            {f"f{j}": [f"v{c}" for c in codes[:, j]] for j in range(codes.shape[1])}
        )

    def codes(self, frame: pd.DataFrame) -> tuple[np.ndarray, ...]:
        return tuple(frame[f"f{j}"].str[1:].astype(int).to_numpy() for j in range(len(self.levels)))

    def scores(self, frame: pd.DataFrame) -> np.ndarray:
        z = np.exp(self.logits[self.codes(frame)])
        return z / z.sum(axis=1, keepdims=True)

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        return self.logits[self.codes(frame)].argmax(axis=1)

    def fewest(self, codes: np.ndarray) -> np.ndarray:
        """Exact minimal number of changed fields of each row, by trying every cell."""
        every = np.array(list(itertools.product(*[range(m) for m in self.levels])))
        decided = self.logits[tuple(every.T)].argmax(axis=1)
        own = self.logits[tuple(codes.T)].argmax(axis=1)
        distance = (codes[:, None, :] != every[None, :, :]).sum(axis=2)
        return np.where(decided[None, :] != own[:, None], distance, 99).min(axis=1)


def sample(table: Table, n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.integers(0, m, n) for m in table.levels])


@pytest.mark.parametrize(("levels", "classes"), [((3, 4, 3, 3), 2), ((3, 3, 2, 4, 3), 3)])
def test_scores_find_the_exact_fewest_fields(levels: tuple[int, ...], classes: int) -> None:
    exact = total = 0
    for seed in range(4):
        table = Table(seed, levels, classes)
        codes = sample(table, 60, seed)
        x = table.frame(codes)
        got = field_search(
            table.predict, x, table.predict(x), table.schema, table.frame(sample(table, 200, 9)),
            scores=table.scores, max_fields=len(levels), queries=1500, seed=seed,
        )  # fmt: skip
        fewest = table.fewest(codes)
        assert (got.fields[np.isfinite(got.fields)] >= fewest[np.isfinite(got.fields)]).all()
        exact += int((got.fields == fewest).sum())
        total += len(codes)
    assert exact >= 0.95 * total


def test_labels_alone_find_the_fewest_fields_of_most_rows() -> None:
    table = Table(3, (3, 4, 3, 3))
    codes = sample(table, 80, 1)
    x = table.frame(codes)
    got = field_search(
        table.predict, x, table.predict(x), table.schema, table.frame(sample(table, 200, 9)),
        scores=table.scores, labels_only=True, max_fields=4, queries=800,
    )  # fmt: skip
    assert got.flipped.all()
    assert (got.fields == table.fewest(codes)).mean() >= 0.9


def test_labels_only_never_asks_for_scores() -> None:
    table = Table(0, (3, 3, 3))
    x = table.frame(sample(table, 20, 0))

    def forbidden(frame: pd.DataFrame) -> np.ndarray:
        raise AssertionError("scores were asked")

    got = field_search(
        table.predict, x, table.predict(x), table.schema, x, scores=forbidden, labels_only=True
    )
    assert got.flipped.any()


def test_a_decision_by_another_threshold_is_turned_as_the_model_decides() -> None:
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"a": rng.random(200), "b": rng.random(200)})
    schema = Schema(features=tuple(Feature(name=n, kind="continuous", min=0, max=1) for n in "ab"))

    def scores(f: pd.DataFrame) -> np.ndarray:
        p = np.clip((f["a"] + f["b"]).to_numpy() / 2, 0, 1)
        return np.column_stack([1 - p, p])

    def predict(f: pd.DataFrame) -> np.ndarray:
        return (scores(f)[:, 1] > 0.9).astype(int)

    got = field_search(predict, x, predict(x), schema, x, scores=scores, max_fields=2)
    assert got.flipped.all()
    assert (predict(got.adversarial) != predict(x)).all()


def linear(weights: np.ndarray, x: pd.DataFrame) -> np.ndarray:
    return x.to_numpy(dtype=float) @ weights


def test_cost_of_one_field_of_a_linear_model_is_the_closed_form() -> None:
    """Turning a linear decision by one field costs least |margin| / (|w| scale), within bounds."""
    rng = np.random.default_rng(1)
    x = pd.DataFrame(rng.normal(size=(150, 3)), columns=list("abc"))
    w, scale = np.array([1.0, 0.5, -0.25]), np.array([2.0, 1.0, 1.0])
    schema = Schema(
        features=tuple(
            Feature(name=n, kind="continuous", min=-50, max=50, scale=s)
            for n, s in zip("abc", scale)
        )
    )

    def predict(f: pd.DataFrame) -> np.ndarray:
        return (linear(w, f) > 0).astype(int)

    got = field_search(predict, x, predict(x), schema, x, max_fields=1, labels_only=True)
    assert (got.fields == 1).all()
    moved = np.where(got.changed, np.abs(linear(w, x))[:, None] / (np.abs(w) * scale), 0).sum(
        axis=1
    )
    assert (got.cost >= moved - 1e-9).all()
    assert np.median(got.cost / moved) < 1.5  # seven halvings of the first step that turned it


def test_costs_and_first_queries_are_consistent() -> None:
    table = Table(2, (3, 3, 3))
    x = table.frame(sample(table, 50, 0))
    got = field_search(
        table.predict, x, table.predict(x), table.schema, x, scores=table.scores, max_fields=2
    )
    found = np.isfinite(got.fields)
    assert (got.cost[found] == got.fields[found]).all()  # each category costs 1
    assert (got.first[got.fields <= 2] <= got.queries[got.fields <= 2]).all()
    assert np.isinf(got.cost[~found]).all()
    assert (got.queries <= 1000).all()


def test_same_seed_same_result_and_input_unchanged() -> None:
    table = Table(5, (4, 3, 3, 2), 3)
    x = table.frame(sample(table, 40, 0))
    before = x.copy(deep=True)
    runs = [
        field_search(
            table.predict, x, table.predict(x), table.schema, x, scores=table.scores, seed=4
        )
        for _ in range(2)
    ]
    pd.testing.assert_frame_equal(runs[0].adversarial, runs[1].adversarial)
    assert (runs[0].first == runs[1].first).all()
    pd.testing.assert_frame_equal(x, before)


def test_the_deadline_leaves_rows_out_but_never_the_first_block() -> None:
    table = Table(5, (3, 3))
    x = table.frame(sample(table, 300, 0))
    late = time.monotonic() - 1
    got = field_search(
        table.predict, x, table.predict(x), table.schema, x, scores=table.scores, deadline=late
    )
    assert 0 < len(got.flipped) < 300
    assert len(got.adversarial) == len(got.flipped)


def test_immutable_fields_hold_the_decision() -> None:
    table = Table(0, (3, 3))
    held = Schema(
        features=tuple(f.model_copy(update={"mutable": False}) for f in table.schema.features)
    )
    x = table.frame(sample(table, 20, 0))
    got = field_search(table.predict, x, table.predict(x), held, x, scores=table.scores)
    assert not got.flipped.any()
    pd.testing.assert_frame_equal(got.adversarial, x)


def test_wrong_arguments_are_refused() -> None:
    table = Table(0, (3, 3))
    x = table.frame(sample(table, 5, 0))
    with pytest.raises(UsageError, match="max_fields"):
        field_search(table.predict, x, table.predict(x), table.schema, x, max_fields=0)
    with pytest.raises(UsageError, match="f0"):
        field_search(table.predict, x[["f1"]], table.predict(x), table.schema, x)
    with pytest.raises(UsageError, match="no rows"):
        field_search(table.predict, x.iloc[:0], np.empty(0), table.schema, x)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[pd.DataFrame, Schema, int]:
    """A table of mixed columns with a random schema over it."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    n = 40
    number = rng.normal(size=n).round(2)
    number[rng.random(n) < 0.2] = np.nan
    x = pd.DataFrame(
        {
            "num": number,
            "whole": rng.integers(0, 10, n),
            "cat": rng.choice(list("abcd"), n),
            "grade": pd.Categorical(rng.choice(["lo", "mid", "hi"], n), ["lo", "mid", "hi"]),
            "flag": rng.random(n) < 0.5,
        }
    )
    way = st.sampled_from(["any", "up", "down"])
    schema = Schema(
        features=(
            Feature(name="num", kind="continuous", min=draw(st.sampled_from([-1.0, -9.0])), max=2.0,
                    missing=draw(st.booleans()), direction=draw(way), scale=0.7),
            Feature(name="whole", kind="integer", min=1, max=8, direction=draw(way), scale=3,
                    mutable=draw(st.booleans())),
            Feature(name="cat", kind="category", values=tuple("abc"), cost=2),
            Feature(name="grade", kind="ordinal", values=("lo", "mid", "hi"), direction=draw(way)),
            Feature(name="flag", kind="binary", values=(False, True), mutable=draw(st.booleans())),
        ),
        constraints=draw(st.sampled_from([(), ("num <= whole",), ("cat != 'a' or whole > 3",)])),
    )  # fmt: skip
    return x, schema, draw(st.integers(0, 100))


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds(), st.booleans())
def test_every_witness_is_legal_and_turns_the_decision(
    world: tuple[pd.DataFrame, Schema, int], labels_only: bool
) -> None:
    x, schema, seed = world
    w = np.random.default_rng(seed).normal(size=5)

    def scores(f: pd.DataFrame) -> np.ndarray:
        z = (
            w[0] * f["num"].fillna(0.5).to_numpy(float)
            + w[1] * (f["whole"].to_numpy(float) - 5) / 3
            + w[2] * f["cat"].map({"a": -1, "b": 0, "c": 1, "d": 2}).to_numpy(float)
            + w[3] * (f["grade"].cat.codes.to_numpy(float) - 1)
            + w[4] * (f["flag"].to_numpy(float) - 0.5)
        )
        p = 1 / (1 + np.exp(-z))
        return np.column_stack([1 - p, p])

    def predict(f: pd.DataFrame) -> np.ndarray:
        return scores(f).argmax(axis=1)

    got = field_search(
        predict, x, predict(x), schema, x, scores=scores, labels_only=labels_only, queries=200,
        max_fields=2, seed=seed,
    )  # fmt: skip
    assert got.rejected == 0
    assert legal(x, got.adversarial, schema).all()
    assert ((predict(got.adversarial) != predict(x)) == got.flipped).all()
    assert dict(got.adversarial.dtypes) == dict(x.dtypes)
    at = np.flatnonzero(got.flipped)
    for i in at:  # legality again, written out by hand
        a, b = x.iloc[i], got.adversarial.iloc[i]
        if "flag" in x and not schema["flag"].mutable:
            assert a["flag"] == b["flag"]
        if a["whole"] != b["whole"]:
            assert 1 <= b["whole"] <= 8
            assert schema["whole"].mutable
        if a["cat"] != b["cat"]:
            assert b["cat"] in "abc"
        if not (pd.isna(b["num"]) or a["num"] == b["num"]):
            assert schema["num"].min <= b["num"] <= 2.0
        if pd.isna(b["num"]) and not pd.isna(a["num"]):
            assert schema["num"].missing


def test_a_change_that_turned_rows_is_tried_on_others_at_once() -> None:
    """One of 80 values turns every row, which no row of the reference has: found, then shared."""
    rng = np.random.default_rng(0)
    names, values = [f"c{j}" for j in range(10)], [f"v{i}" for i in range(8)]
    schema = Schema(
        features=tuple(Feature(name=n, kind="category", values=tuple(values)) for n in names)
    )
    x = pd.DataFrame({n: rng.choice(values, 30) for n in names})
    x["c7"] = rng.choice(values[:-1], 30)

    def predict(f: pd.DataFrame) -> np.ndarray:
        return (f["c7"] == values[-1]).to_numpy(int)

    got = field_search(
        predict, x, np.zeros(30, int), schema, x, max_fields=1, queries=100, first=True,
        labels_only=True,
    )  # fmt: skip
    assert got.flipped.all()
    assert np.median(got.queries) <= 10  # 35 in random order, row by row
    assert got.asked == got.queries.sum()


def test_who_wants_the_fewest_queries_asks_nothing_again() -> None:
    """Every row of labels is one query: what was asked is what the model was asked."""
    table = Table(1, (3, 4, 3, 3), 3)
    x, asked = table.frame(sample(table, 60, 0)), [0]
    y = table.predict(x)

    def predict(f: pd.DataFrame) -> np.ndarray:
        asked[0] += len(f)
        return table.predict(f)

    got = field_search(
        predict, x, y, table.schema, x, max_fields=4, queries=60, first=True, labels_only=True
    )
    assert got.asked == asked[0] == got.queries.sum()
    assert (got.queries[got.flipped] == got.first[got.flipped]).all()
    assert (got.decision == table.predict(got.adversarial)).all()
    assert ((got.decision != y) == got.flipped).all()
    assert got.flipped.mean() > 0.9


def test_a_threshold_missed_by_the_search_is_seen_at_the_closest_calls() -> None:
    """Scores near one half, decided by 0.55: witnesses between them are not counted as turned."""
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"a": rng.random(60)})
    schema = Schema(features=(Feature(name="a", kind="continuous", min=0, max=1),))

    def scores(f: pd.DataFrame) -> np.ndarray:
        p = 0.4 + 0.13 * f["a"].to_numpy()
        return np.column_stack([1 - p, p])

    def predict(f: pd.DataFrame) -> np.ndarray:
        return (scores(f)[:, 1] > 0.55).astype(int)

    low = x[x["a"] < 0.3].reset_index(drop=True)
    got = field_search(
        predict, low, predict(low), schema, x, scores=scores, max_fields=1, queries=60, first=True
    )
    assert not got.flipped.any()
    assert (predict(got.adversarial) == got.decision).all()


def test_leaving_rows_that_cost_too_much_is_more_success_for_a_query() -> None:
    """Half of the rows turn by one field, the others by none: these are given up soon."""
    rng = np.random.default_rng(0)
    x = pd.DataFrame({f"c{j}": rng.uniform(0, 1, 300) for j in range(6)})
    x["fixed"] = rng.integers(0, 2, 300)
    schema = Schema(
        features=(
            *(Feature(name=f"c{j}", kind="continuous", min=0, max=1, scale=0.5) for j in range(6)),
            Feature(name="fixed", kind="integer", min=0, max=1, mutable=False),
        )
    )
    asked = [0]

    def predict(f: pd.DataFrame) -> np.ndarray:
        asked[0] += len(f)
        return ((f["c0"] > 0.3) | (f["fixed"] == 1)).to_numpy(int)

    rows = x[predict(x) == 1].iloc[:60].reset_index(drop=True)
    turnable, rates = int((rows["fixed"] == 0).sum()), []
    for leave in (False, True):
        asked[0] = 0
        got = field_search(
            predict, rows, np.ones(60, int), schema, x, max_fields=2, queries=100, first=True,
            leave=leave, labels_only=True,
        )  # fmt: skip
        assert got.asked == asked[0]
        assert not got.flipped[rows["fixed"] == 1].any()
        assert got.flipped.sum() >= 0.6 * turnable
        rates.append(got.flipped.sum() / got.asked)
    # rows without hope are given up either way, by who leaves rows much sooner
    assert rates[0] > 0.06
    assert rates[1] > 1.5 * rates[0]
    assert rates[1] > 0.2
    with pytest.raises(UsageError, match="first"):
        field_search(predict, rows, np.ones(60, int), schema, x, leave=True)
