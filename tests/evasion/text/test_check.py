"""EVA-105 on subjects whose weakness is known, and its remedy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from crenel.access import Access
from crenel.adapters import wrap
from crenel.auditor.execute import execute
from crenel.check import Context
from crenel.data import infer_schema
from crenel.evasion import checks
from crenel.evasion.text import controls
from crenel.evasion.text.remedy import normalise_text
from crenel.run import State
from crenel.subject import Data, Subject
from crenel.testing import check_check

CHECK = checks.edited_texts


def by_series(result: Any) -> dict[str, Any]:
    return {e.series: e for e in result.exposures}


@pytest.fixture(scope="module")
def contract() -> Any:
    return check_check(CHECK)


def test_the_contract(contract: Any) -> None:
    for result in (contract.weak, contract.sound):
        for exposure in result.exposures:
            assert exposure.health.ok, exposure.health
            assert list(exposure.harm.values) == sorted(exposure.harm.values)


def test_the_weak_control_is_measured_as_it_is(contract: Any) -> None:
    """One word decides for one class: exactly its texts fall to one edit of a character."""
    curves = by_series(contract.weak)
    subject = controls.one_word_decides()
    share = float(subject.test.y.mean())
    for series in ("invisible characters", "typos"):
        assert curves[series].harm.values == pytest.approx([share] * 5)
    assert curves["words"].harm.values[0] > share
    assert {f.subject for f in contract.weak.findings} == {
        "texts under invisible characters", "texts under typos", "texts under words",
    }  # fmt: skip
    invisible = contract.weak.findings[0]
    assert "[lottery → " in invisible.examples[0].text
    assert "⟨U+" in invisible.examples[0].edits[0].after
    assert invisible.remedies == ("normalise-text",)


def test_a_sensitive_text_stays_out_of_the_report() -> None:
    subject = controls.one_word_decides()
    hidden = subject.schema.features[0].model_copy(update={"sensitive": True})
    subject = replace(subject, schema=subject.schema.model_copy(update={"features": (hidden,)}))
    result = execute(CHECK, subject, level="quick")
    told = result.model_dump_json()
    assert result.findings
    words = {w for t in subject.test.x["message"] for w in t.split()}
    assert not [w for w in words if w in told]
    assert "(withheld)" in told


def test_decisions_alone_still_show_the_weakness() -> None:
    subject = replace(controls.one_word_decides(), access=Access(attacker="labels"))
    result = execute(CHECK, subject, level="quick")
    curves = by_series(result)
    assert curves["typos"].access.attacker == "labels"
    assert curves["typos"].harm.values[-1] == pytest.approx(subject.test.y.mean(), abs=0.02)
    assert "learns a guide" in result.outcome.notes[0]


def test_a_broken_search_is_unhealthy_and_never_reads_as_safe(monkeypatch: Any) -> None:
    from crenel.evasion.text import characters

    monkeypatch.setattr(characters, "propose", lambda word, edits, count, rng: [])
    result = execute(CHECK, controls.one_word_decides(), level="quick")
    curves = by_series(result)
    assert curves["typos"].harm.values[-1] == 0
    assert not curves["typos"].health.ok
    assert curves["words"].health.ok


def test_not_applicable_without_text() -> None:
    subject = controls.one_word_decides()
    fixed = subject.schema.features[0].model_copy(update={"mutable": False})
    subject = replace(subject, schema=subject.schema.model_copy(update={"features": (fixed,)}))
    result = execute(CHECK, subject)
    assert result.outcome.outcome is State.NOT_APPLICABLE
    assert "free text" in result.outcome.reason


def mixed() -> tuple[Subject, Any]:
    """A table of a text, another text that is sometimes missing, and two numbers."""
    base = controls.one_word_decides()
    rng = np.random.default_rng(0)

    def table(data: Data) -> pd.DataFrame:
        more = data.x.assign(amount=rng.normal(size=len(data)), age=rng.integers(1, 99, len(data)))
        note = [
            " ".join(rng.permutation(list("abcdefgh"))) + f" note {i}" for i in range(len(data))
        ]
        more["note"] = pd.Series(
            [None if i % 5 == 0 else n for i, n in enumerate(note)], dtype=object
        )
        return more

    train, test = (replace(d, x=table(d)) for d in (base.train, base.test))
    native = make_pipeline(
        make_column_transformer(
            (TfidfVectorizer(vocabulary=["lottery"]), "message"),
            (StandardScaler(), ["amount", "age"]),
        ),
        LogisticRegression(),
    ).fit(train.x, train.y)
    model = wrap(native, classes=[0, 1])
    return Subject(
        "mixed", model=model, train=train, test=test, schema=infer_schema(train.x)
    ), native


def test_other_columns_stay_and_missing_texts_stay_missing() -> None:
    subject, _ = mixed()
    own = subject.test.x
    seen: list[pd.DataFrame] = []

    def score(x: pd.DataFrame) -> Any:
        seen.append(x)
        return subject.model.score(x)

    spied = replace(subject, model=replace(subject.model, score=score))
    result = execute(CHECK, spied, level="quick")
    assert result.outcome.outcome is State.MEASURED, result.outcome.reason
    assert by_series(result)["typos"].harm.values[0] > 0.3
    known = set(zip(own["amount"], own["age"], own["note"].isna(), strict=True))
    train = subject.train.x
    known |= set(zip(train["amount"], train["age"], train["note"].isna(), strict=True))
    asked = pd.concat(seen)
    assert set(zip(asked["amount"], asked["age"], asked["note"].isna(), strict=True)) <= known
    assert list(asked.columns) == list(own.columns)


def treated(subject: Subject) -> Any:
    result = execute(CHECK, subject, level="quick")
    finding = next(f for f in result.findings if f.remedies)
    treatment = normalise_text.apply(subject, finding, Context("normalise-text"))
    return result, treatment, execute(CHECK, treatment.subject, level="quick")


def test_normalising_takes_away_invisible_edits_and_leaves_the_others(tmp_path: Any) -> None:
    subject = controls.one_word_decides()
    before, treatment, after = treated(subject)
    assert by_series(before)["invisible characters"].harm.values[0] > 0.4
    assert by_series(after)["invisible characters"].harm.values == (0.0,) * 5
    assert by_series(after)["invisible characters"].health.ok
    typos = by_series(before)["typos"].harm.values
    assert by_series(after)["typos"].harm.values == pytest.approx(typos, abs=0.05)
    assert treatment.values["accuracy_after"] == treatment.values["accuracy_before"]
    joblib.dump(treatment.model, tmp_path / "m.joblib")
    again = wrap(joblib.load(tmp_path / "m.joblib"))
    tricked = subject.test.x.assign(
        message=subject.test.x["message"].str.replace("lottery", "lоttеry")
    )
    assert np.array_equal(again.predict(tricked), subject.model.predict(subject.test.x))
    assert not np.array_equal(subject.model.predict(tricked), subject.model.predict(subject.test.x))


def test_normalising_stands_in_front_of_tables_and_functions() -> None:
    subject, native = mixed()
    own = subject.test.x
    tricked = own.assign(message=own["message"].str.replace("lottery", "lоttеry"))
    function = wrap(native.predict_proba, sample=own, classes=[0, 1])
    for model in (subject.model, function):
        treatment = normalise_text.apply(
            replace(subject, model=model), None, Context("normalise-text")
        )
        hardened = treatment.subject.model
        assert (model.predict(tricked) != model.predict(own)).any()
        assert np.array_equal(hardened.predict(tricked), model.predict(own))
        assert np.array_equal(hardened.probabilities(tricked), hardened.probabilities(own))
        again = hardened.fit(own, subject.test.y, 0) if hardened.fit else hardened
        assert np.array_equal(again.predict(tricked), again.predict(own))
        if model is function:
            assert treatment.model is None
        else:
            assert np.array_equal(treatment.model.predict(tricked), hardened.predict(own))
