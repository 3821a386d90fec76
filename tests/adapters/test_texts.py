"""Texts as rows: lists, columns, and the models that take them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import VotingClassifier
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import FeatureUnion, make_pipeline

from crenel.adapters import wrap
from crenel.data import load_target
from crenel.data.sources import load, load_table
from crenel.errors import SubjectError
from crenel.schema import Kind
from crenel.target import Target

TEXTS = [
    f"{w} at {n}"
    for w, n in zip(["win cash now", "see you", "a cash prize", "lunch"] * 15, range(60))
]
Y = np.array(["spam", "ham"] * 30)
TABLE = pd.DataFrame({"text": pd.Series(TEXTS, dtype=object)})


def fitted(*steps):
    return make_pipeline(*steps).fit(TEXTS, Y)


@pytest.mark.parametrize(
    "native",
    [
        fitted(TfidfVectorizer(), LogisticRegression()),
        fitted(CountVectorizer(analyzer="char", ngram_range=(1, 3)), MultinomialNB()),
        fitted(HashingVectorizer(n_features=256), LogisticRegression()),
        fitted(
            FeatureUnion([
                ("words", TfidfVectorizer()),
                ("runs", make_pipeline(CountVectorizer(analyzer="char_wb"))),
            ]),
            LogisticRegression(),
        ),
        VotingClassifier(
            [("a", make_pipeline(TfidfVectorizer(), LogisticRegression()))], voting="soft"
        ).fit(TEXTS, Y),
    ],
)  # fmt: skip
def test_estimators_of_texts_take_a_list_of_texts(native):
    others = [f"{t} again" for t in TEXTS]
    subject = load_target(Target(model=native, train=(TEXTS, Y), test=(others, Y)))
    assert subject.schema.features[0].kind is Kind.TEXT
    assert np.allclose(subject.model.probabilities(subject.test.x), native.predict_proba(others))
    again = subject.model.fit(subject.train.x, subject.train.y, 0)
    assert np.array_equal(again.predict(TABLE), subject.model.predict(TABLE))


def by_word(texts):
    return ["spam" if "cash" in t else "ham" for t in texts]


def by_column(table):
    return np.where(table["text"].str.contains("cash"), "spam", "ham")


@pytest.mark.parametrize("function", [by_word, by_column])
def test_functions_get_the_texts_or_the_table(function):
    model = wrap(function, sample=TABLE, classes=["ham", "spam"])
    assert np.array_equal(model.classes[model.predict(TABLE)], by_word(TEXTS))


def test_a_function_that_fails_on_both_tells_what_it_said_of_the_table():
    def broken(rows):
        raise ValueError(f"no use for a {type(rows).__name__}")

    with pytest.raises((ValueError, SubjectError), match="DataFrame"):
        wrap(broken, sample=TABLE, classes=["ham", "spam"])


@pytest.mark.parametrize("column", [True, False])
def test_a_users_fit_gets_the_table_or_the_texts(column):
    def fit(x, y, seed):
        model = make_pipeline(TfidfVectorizer(), LogisticRegression())
        return model.fit(x["text"] if column else x, y)

    native = fitted(TfidfVectorizer(), LogisticRegression())
    model = wrap(native, fit=fit, sample=TABLE)
    again = model.fit(TABLE, model.predict(TABLE), 0)
    assert np.array_equal(again.predict(TABLE), model.predict(TABLE))


@pytest.mark.parametrize(
    "texts", [TEXTS, tuple(TEXTS), np.array(TEXTS), pd.Series(TEXTS), np.array(TEXTS, dtype=object)]
)
def test_texts_of_any_kind_become_one_column(texts):
    got = load((texts, Y))
    assert got.x["text"].tolist() == TEXTS
    assert list(got.x.columns) == ["text"]


def test_missing_texts_stay_missing_and_mixtures_are_refused():
    assert load(([None, *TEXTS[1:]], Y)).x["text"].isna().sum() == 1
    with pytest.raises(SubjectError, match="give one row for each record"):
        load(([3, *TEXTS[1:]], Y))


def test_short_texts_are_free_text_and_repeated_ones_are_not():
    got = load((TEXTS, Y))
    target = load_target(Target(test=(TEXTS, Y)))
    assert got.x.shape == (60, 1)
    assert target.schema.features[0].kind is Kind.TEXT
    few = load_target(Target(test=(["no job at all", "a job for life"] * 30, Y)))
    assert few.schema.features[0].kind is Kind.BINARY


def test_a_first_row_whose_values_come_again_is_no_header(tmp_path: Path):
    rows = [f"{y}\tmessage number {i} all words" for i, y in enumerate(Y)]
    (tmp_path / "a.tsv").write_text("\n".join(rows))
    (tmp_path / "b.tsv").write_text("\n".join(["kind\tmessage", *rows]))
    notes: list[str] = []
    assert len(load_table(tmp_path / "a.tsv", notes=notes)) == 60
    assert "no header" in notes[0]
    assert list(load_table(tmp_path / "b.tsv").columns) == ["kind", "message"]
