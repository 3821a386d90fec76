"""Columns that are not worth their exposure are taken away; those that are stay."""

import io

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from crenel.adapters import wrap
from crenel.check import Context
from crenel.data import infer_schema
from crenel.errors import NotApplicable
from crenel.evasion.checks import few_fields
from crenel.evasion.controls import one_field_decides
from crenel.evasion.hardening.coarsening import CoarseFields
from crenel.evasion.remedies import limit_fields
from crenel.schema import Schema
from crenel.subject import Data, Subject


def table(n=1200):
    """Twelve measured numbers tell the class; what people state of themselves repeats it."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n)
    measured = rng.normal(0, 1, (n, 12)) + 0.6 * (2 * y - 1)[:, None]
    x = pd.DataFrame(measured.round(2), columns=[f"measured {j}" for j in range(12)])
    x["stated"] = np.where(rng.random(n) < 0.97, np.array(["no", "yes"])[y], "no")
    x["age"] = rng.integers(18, 80, n)
    return x, y.astype(np.int64)


def subject_of(estimator, fixed=()):
    x, y = table()
    half = len(y) // 2
    schema = infer_schema(x)
    schema = Schema(
        features=[f.model_copy(update={"mutable": f.name not in fixed}) for f in schema.features]
    )
    return Subject(
        "loans", model=wrap(estimator.fit(x.iloc[:half], y[:half])), schema=schema,
        train=Data(x.iloc[:half], y[:half], np.arange(half)),
        test=Data(x.iloc[half:].reset_index(drop=True), y[half:], np.arange(half, len(y))),
    )  # fmt: skip


def encoded(final):
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["stated"]), remainder=StandardScaler()
    )
    return make_pipeline(encode, final)


@pytest.mark.parametrize(
    "final",
    [
        pytest.param(LogisticRegression(), id="linear", marks=pytest.mark.slow),
        pytest.param(RandomForestClassifier(30, max_depth=4, random_state=0), id="forest"),
    ],
)
def test_what_people_state_is_taken_away_where_measurements_tell_enough(final):
    fixed = tuple(f"measured {j}" for j in range(12))
    subject = subject_of(encoded(final), fixed)
    before = few_fields.measure(subject, Context("EVA-102"))
    finding = next(f for f in before.findings if "stated" in f.evidence.columns)
    assert "limit-fields" in finding.remedies
    treated = limit_fields.apply(subject, finding, Context("harden"))
    assert "without" in treated.sentence
    assert "stated" in treated.sentence
    x = subject.test.x
    turned = x.assign(stated=np.where(x["stated"] == "yes", "no", "yes"))
    model = treated.subject.model
    assert (model.predict(turned) == model.predict(x)).all()
    assert (subject.model.predict(turned) != subject.model.predict(x)).mean() > 0.05
    assert treated.values["accuracy_after"] >= treated.values["accuracy_before"] - 0.051
    after = few_fields.measure(treated.subject, Context("EVA-102"))
    assert after.exposures[0].harm.values[0] < before.exposures[0].harm.values[0]
    stored = io.BytesIO()
    joblib.dump(treated.model, stored)
    stored.seek(0)
    again = wrap(joblib.load(stored))
    assert (again.predict(x) == model.predict(x)).all()
    refitted = model.fit(subject.train.x, subject.train.y, 3)
    assert (refitted.predict(turned) == refitted.predict(x)).all()


def test_a_column_that_the_accuracy_rests_on_stays():
    subject = one_field_decides()
    finding = few_fields.measure(subject, Context("EVA-102")).findings[0]
    treated = limit_fields.apply(subject, finding, Context("harden"))
    assert treated.subject is subject
    assert treated.sentence.startswith("nothing was changed")


def test_without_a_column_that_can_be_changed_it_does_not_apply():
    with pytest.raises(NotApplicable, match="no column"):
        limit_fields.apply(one_field_decides(), None, Context("harden"))


def test_columns_are_replaced_as_they_say():
    x = pd.DataFrame({"a": np.arange(100.0), "b": ["u"] * 60 + ["v"] * 40, "c": np.arange(100)})
    x.loc[3, "a"] = np.nan
    fields = CoarseFields(removed=("b", "c"), bucketed=("a",), buckets=4).fit(x)
    after = fields.transform(x)
    assert set(after["b"]) == {"u"}
    assert after["c"].nunique() == 1
    assert after["c"].dtype == x["c"].dtype
    assert after["a"].isna().sum() == 1
    assert after["a"].nunique() == 4
    assert after["a"].value_counts().min() >= 20
    assert after["a"].is_monotonic_increasing or after["a"].dropna().is_monotonic_increasing
    beyond = fields.transform(x.assign(a=1e9))
    assert set(beyond["a"]) == {after["a"].max()}
    assert (x["b"] == ["u"] * 60 + ["v"] * 40).all()


def test_few_values_make_few_buckets():
    x = pd.DataFrame({"a": [0.0] * 90 + [1.0] * 10})
    after = CoarseFields(bucketed=("a",), buckets=8).fit_transform(x)
    assert after["a"].tolist() == x["a"].tolist()
