"""EVA-102 on subjects whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from crenel.access import Access
from crenel.check import Context
from crenel.errors import Inconclusive, NotApplicable
from crenel.evasion import controls
from crenel.evasion.checks import exact_margins, few_fields
from crenel.evasion.trees.report import read_inputs
from crenel.schema import Schema


def context(seed: int = 0) -> Context:
    return Context(check="EVA-102", seed=seed)


def test_the_planted_field_is_named_with_rows_and_differences() -> None:
    subject = controls.one_field_decides()
    got = few_fields.measure(subject, context())
    named = {f.subject: f for f in got.findings}
    assert "column purpose" in named
    finding = named["column purpose"]
    assert finding.evidence.columns == ("purpose",)
    assert set(finding.evidence.rows) <= set(subject.test.ids.tolist())
    assert all(e.field == "purpose" for x in finding.examples for e in x.edits)
    by_fields = got.exposures[0]
    assert by_fields.budget.values == (1.0, 2.0)  # three fields, of which age is held
    assert by_fields.at(1)[0] > 0.3


def test_an_immutable_field_is_never_used() -> None:
    subject = controls.one_field_decides()
    fixed = tuple(
        f.model_copy(update={"mutable": f.name != "purpose"}) for f in subject.schema.features
    )
    subject = replace(subject, schema=Schema(features=fixed))
    got = few_fields.measure(subject, context())
    assert all("purpose" not in f.evidence.columns for f in got.findings)


def test_labels_only_where_the_target_says_so() -> None:
    subject = replace(controls.one_field_decides(), access=Access(attacker="labels"))

    def forbidden(x: object) -> np.ndarray:
        raise AssertionError("scores were asked")

    model = replace(subject.model, score=forbidden)
    got = few_fields.measure(replace(subject, model=model), context())
    assert got.exposures[0].access.attacker == "labels"
    assert got.exposures[0].at(1)[0] > 0.3


def test_a_daily_limit_of_queries_bounds_the_search() -> None:
    subject = controls.one_field_decides()
    few = replace(subject, access=Access(queries_per_day=2))
    got, free = (few_fields.measure(s, context()) for s in (few, subject))
    assert got.exposures[0].at(1)[0] < free.exposures[0].at(1)[0]


def test_a_sensitive_value_is_withheld() -> None:
    subject = controls.one_field_decides()
    hidden = tuple(f.model_copy(update={"sensitive": True}) for f in subject.schema.features)
    got = few_fields.measure(replace(subject, schema=Schema(features=hidden)), context())
    edits = [e for f in got.findings for x in f.examples for e in x.edits]
    assert edits
    assert {e.before for e in edits} == {"(withheld)"}


def test_nothing_to_change_and_nothing_right() -> None:
    subject = controls.one_field_decides()
    fixed = tuple(f.model_copy(update={"mutable": False}) for f in subject.schema.features)
    with pytest.raises(NotApplicable):
        few_fields.measure(replace(subject, schema=Schema(features=fixed)), context())
    wrong = replace(subject.test, y=1 - subject.model.predict(subject.test.x))
    with pytest.raises(Inconclusive):
        few_fields.measure(replace(subject, test=wrong), context())


def test_a_model_that_answers_at_random_is_unhealthy() -> None:
    subject = controls.one_field_decides()
    rng = np.random.default_rng(0)
    model = replace(
        subject.model,
        decide=lambda x: np.where(rng.random(len(x)) < 0.2, 1, subject.model.predict(x)),
        score=None,
    )
    got = few_fields.measure(replace(subject, model=model), context())
    assert not got.exposures[0].health.ok


def test_columns_of_the_trees_are_traced_to_the_table() -> None:
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    from crenel.adapters import wrap
    from crenel.data import infer_schema

    rng = np.random.default_rng(0)
    x = pd.DataFrame(
        {"job": rng.choice(list("abc"), 120), "pay": rng.normal(size=120), "a": rng.random(120),
         "b": rng.random(120), "held": rng.random(120)}
    )  # fmt: skip
    y = (x["pay"] + x["a"] > 0.5).astype(int).to_numpy()
    both = FunctionTransformer(lambda f: (f["a"] * f["b"]).to_frame())
    encode = make_column_transformer(
        (OneHotEncoder(), ["job"]), (StandardScaler(), ["pay", "held"]), (both, ["a", "b"]),
        ("passthrough", ["a"]),
    )  # fmt: skip
    pipeline = make_pipeline(encode, RandomForestClassifier(5, random_state=0)).fit(x, y)
    schema = infer_schema(x)
    fixed = tuple(f.model_copy(update={"mutable": f.name != "held"}) for f in schema.features)
    inputs = read_inputs(wrap(pipeline), x[:10], x, Schema(features=fixed))
    assert inputs.owner == [None, None, None, "pay", None, None, "a"]


def test_thin_leaves_are_found_at_the_distance_planted() -> None:
    subject = controls.thin_leaves()
    got = exact_margins.measure(subject, Context(check="EVA-103"))
    curve = got.exposures[0]
    # Slices of 1/40 of a range whose middle half is a half: at most 0.025 of it to an edge.
    assert curve.at(0.05)[0] > 0.9
    assert curve.at(0.01)[0] < 0.7
    assert curve.health.ok


def test_a_search_that_finds_nothing_anywhere_is_unhealthy(monkeypatch: pytest.MonkeyPatch) -> None:
    from crenel.evasion.fields import search as fields

    subject = controls.one_field_decides()
    assert few_fields.measure(subject, context()).exposures[0].health.ok
    monkeypatch.setattr(fields.Best, "record", lambda *arguments: None)
    got = few_fields.measure(subject, context())
    assert got.exposures[0].at(1)[0] == 0.0
    assert not got.exposures[0].health.ok
