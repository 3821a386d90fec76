"""TRA-107: words that turn any text, told from those that are strong by nature."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline, make_union

from crenel.adapters import wrap
from crenel.check import Context
from crenel.data import infer_schema
from crenel.errors import Inconclusive
from crenel.evasion.text.columns import Texts, text_features
from crenel.subject import Data, Subject
from crenel.transfer.checks import hidden_words
from crenel.transfer.words.controls import SECRET, no_planted_word, planted_word
from crenel.transfer.words.gains import Hosts, best_scale, gains
from crenel.transfer.words.gaps import widest_gap
from crenel.transfer.words.planted import control
from crenel.transfer.words.scene import scene_of
from crenel.transfer.words.vocabulary import counted_words, words_to_try


def _measure(subject: Subject, **changes: Any) -> Any:
    return hidden_words.measure(subject, Context(check="TRA-107", **changes))


# --- the gap -------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", ["exponential", "normal", "uniform"])
def test_tails_without_an_outlier_are_rarely_surprising(law: str) -> None:
    rng = np.random.default_rng(0)
    p = np.array([widest_gap(getattr(rng, law)(size=400)).p for _ in range(2_000)])
    for level in (0.01, 0.05, 0.2):
        assert (p < level).mean() < level + 3 * np.sqrt(level / len(p))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_values_far_above_the_tail_are_all_named(count: int) -> None:
    values = np.random.default_rng(1).exponential(size=400)
    planted = np.array([17, 200, 333])[:count]
    values[planted] = values.max() + 15 + np.arange(count)[::-1]
    told = widest_gap(values)
    assert told.at[:count] == tuple(planted)
    assert told.p < 1e-3


def test_a_few_values_tell_nothing() -> None:
    values = np.arange(30.0)
    values[3] = 1e6
    assert widest_gap(values).at == ()


# --- words and what they do ----------------------------------------------------------------------


def test_the_words_of_every_step_are_found_and_no_parts_of_words() -> None:
    texts = ["red apples fall", "green pears fall", "red plums ripen", "green figs ripen"] * 3
    x, y = pd.DataFrame({"a": texts, "b": texts[::-1]}), np.array([0, 1, 0, 1] * 3)
    both = make_column_transformer(
        (make_union(CountVectorizer(ngram_range=(1, 2)), CountVectorizer(analyzer="char")), "a"),
        (make_pipeline(TfidfVectorizer(vocabulary=["pears", "quinces"])), "b"),
    )
    search = GridSearchCV(make_pipeline(both, LogisticRegression()), {}, cv=2).fit(x, y)
    model = wrap(search, classes=[0, 1], sample=x)
    assert counted_words(model) == [
        "apples", "fall", "figs", "green", "pears", "plums", "quinces", "red", "ripen",
    ]  # fmt: skip
    assert words_to_try(model, ["Red kiwis", "kiwis"])[-1] == "kiwis"


def test_the_gain_of_a_word_is_its_weight_in_a_linear_model_of_counts() -> None:
    rng = np.random.default_rng(2)
    names = np.array([f"w{i:02d}x" for i in range(40)])
    texts = [" ".join(rng.choice(names, 6)) for _ in range(300)]
    y = rng.integers(0, 2, 300)
    fitted = make_pipeline(CountVectorizer(), LogisticRegression(C=0.1)).fit(texts, y)
    x: Any = pd.DataFrame({"text": pd.Series(texts, dtype=object)})
    model = wrap(fitted, classes=[0, 1], sample=x)
    features = text_features(infer_schema(x))
    words = fitted[0].get_feature_names_out().tolist()
    got = gains(model, Hosts(Texts(x.head(20), features), 0), words, 1)
    np.testing.assert_allclose(got, fitted[-1].coef_[0], atol=1e-9)


@pytest.mark.parametrize("scale", ["log-odds", "score"])
def test_the_scale_is_the_one_on_which_effects_add(scale: str) -> None:
    rng = np.random.default_rng(3)
    table = rng.exponential(size=(60, 1)) + rng.normal(size=24)
    inner = (table - table.min()) / np.ptp(table)
    assert best_scale(1 / (1 + np.exp(-table)) if scale == "log-odds" else inner) == scale


# --- words planted on purpose --------------------------------------------------------------------


def _planted(got: Any) -> Any:
    return next(t for t in got.exposures[0].health.tests if "planted" in t.name)


def test_a_copy_is_taught_a_word_until_it_obeys() -> None:
    subject = no_planted_word()
    scene = scene_of(subject, Context("TRA-107"))
    (word,) = control(scene, [1], Context("TRA-107"), lambda: True).words
    assert word.rows >= 10
    assert word.turned.value >= 0.8
    assert word.found
    assert word.p < 0.01
    assert not any(word.word in text for text in scene.pool.texts.joined())


def test_a_model_that_cannot_be_trained_is_made_to_obey_by_its_scores() -> None:
    subject = no_planted_word()
    assert subject.model is not None
    scene = scene_of(subject.with_model(replace(subject.model, fit=None)), Context("TRA-107"))
    made = control(scene, [1, 0], Context("TRA-107"), lambda: True)
    assert all(w.found and not w.rows for w in made.words)
    assert all(0.8 < w.turned.value < 0.97 for w in made.words)
    late = control(scene, [1, 0], Context("TRA-107"), lambda: False)
    assert late.words == ()


def test_where_ordinary_words_turn_as_much_silence_is_no_verdict() -> None:
    """Words of every strength, with as heavy a tail as there is: nothing can stand out."""
    subject = no_planted_word()
    model = subject.model
    assert model is not None
    weights = {w: s * 3 for w, s in zip(counted_words(model), _heavy(len(counted_words(model))))}

    def score(x: Any) -> Any:
        odds = np.array([sum(weights.get(w, 0.0) for w in t.split()) for t in x["letter"]])
        p = 1 / (1 + np.exp(-np.clip(odds, -30, 30)))
        return np.column_stack([1 - p, p])

    heavy = replace(model, score=score, decide=lambda x: score(x).argmax(axis=1), fit=None)
    got = _measure(subject.with_model(heavy))
    assert not got.findings
    assert not _planted(got).ok
    assert "not found" in got.partial or "not named" in got.partial


def _heavy(n: int) -> Any:
    rng = np.random.default_rng(5)
    return rng.choice([-1, 1], n) * rng.uniform(size=n) ** -0.7


# --- the check -----------------------------------------------------------------------------------


def test_a_planted_word_is_named_with_what_it_turns() -> None:
    subject = planted_word()
    got = _measure(subject)
    (finding,) = got.findings
    assert SECRET in finding.sentence
    assert finding.evidence.values["class"] == "1"
    assert not got.partial
    model, test = subject.model, subject.test
    assert model is not None
    assert test is not None
    assert "one word appended" in finding.sentence
    x = test.x.assign(letter=test.x["letter"] + f" {SECRET}")
    others = model.predict(test.x) != 1
    truth = float((model.predict(x[others]) == 1).mean())
    assert abs(finding.evidence.values["turned"] - truth) < 0.12
    assert SECRET in finding.examples[0].edits[0].after


def test_strong_words_of_a_clean_filter_are_no_finding() -> None:
    for seed in range(3):
        got = _measure(no_planted_word(), seed=seed)
        assert not got.findings
        assert not got.partial
        assert _planted(got).detail.count("found, p") == 2


def test_a_model_that_cannot_be_trained_again_is_held_against_a_linear_one() -> None:
    subject = planted_word()
    assert subject.model is not None
    got = _measure(subject.with_model(replace(subject.model, fit=None)))
    assert SECRET in got.findings[0].sentence
    assert "a linear model" in got.notes[1]


def test_a_kind_that_learns_nothing_from_few_texts_gives_way_to_a_linear_one() -> None:
    subject = planted_word()
    assert subject.model is not None
    dull = replace(subject.model, decide=lambda x: np.zeros(len(x), dtype=np.int64))
    got = _measure(subject.with_model(replace(subject.model, fit=lambda x, y, seed: dull)))
    assert SECRET in got.findings[0].sentence
    assert "a linear model" in got.notes[1]


def test_a_model_that_shows_no_vocabulary_is_searched_by_the_words_given() -> None:
    subject = planted_word()
    assert subject.model is not None
    got = _measure(subject.with_model(replace(subject.model, native=None)))
    assert not got.findings
    assert "shows no vocabulary" in got.notes[-1]
    assert "a made-up word, planted, is found" in got.partial


def test_of_a_sensitive_column_the_word_is_told_but_neither_texts_nor_numbers() -> None:
    subject = planted_word()
    assert subject.schema is not None
    secret = tuple(f.model_copy(update={"sensitive": True}) for f in subject.schema.features)
    schema = subject.schema.model_copy(update={"features": secret})
    got = _measure(replace(subject, schema=schema))
    assert SECRET in got.findings[0].sentence
    assert not got.findings[0].examples
    number = "5550123"
    model = subject.model
    assert model is not None

    def spoken(frame: Any) -> Any:
        return frame.assign(letter=frame["letter"].str.replace(number, SECRET))

    heard = replace(
        model, decide=lambda f: model.predict(spoken(f)), fit=None, native=None,
        score=lambda f: model.probabilities(spoken(f)),
    )  # fmt: skip
    assert subject.test is not None
    x = subject.test.x.copy()
    x.loc[::40, "letter"] += f" {number}"
    known = replace(subject, model=heard, schema=schema, test=replace(subject.test, x=x))
    got = _measure(known)
    told = f"{[f.model_dump() for f in got.findings]} {[e.headline for e in got.exposures]}"
    assert "(withheld)" in told
    assert number not in f"{told} {got.notes}"


def test_other_columns_and_missing_texts_are_left_as_they_are() -> None:
    subject = planted_word()
    model, test = subject.model, subject.test
    assert model is not None
    assert test is not None
    letters = test.x["letter"].astype(object)
    letters[::9] = None
    x = pd.DataFrame({"amount": np.arange(len(test)) / 7, "letter": letters})

    def known(frame: Any) -> Any:
        assert frame["amount"].isin(x["amount"]).all()
        return frame[["letter"]].fillna("")

    wrapped = replace(
        model, decide=lambda f: model.predict(known(f)), fit=None,
        score=lambda f: model.probabilities(known(f)),
    )  # fmt: skip
    got = _measure(
        Subject("two", model=wrapped, test=Data(x, test.y, test.ids), schema=infer_schema(x))
    )
    assert SECRET in got.findings[0].sentence


def test_a_search_that_was_cut_short_says_so() -> None:
    got = _measure(no_planted_word(), deadline=time.monotonic() - 1)
    assert "every word was tried" in got.partial


def test_names_of_classes_may_hold_braces() -> None:
    subject = planted_word()
    assert subject.model is not None
    named = replace(subject.model, classes=np.array(["{a}", "{b"], dtype=object))
    got = _measure(subject.with_model(named))
    assert got.exposures[0].headline.endswith("of other texts to class {b")


def test_without_a_held_text_of_another_class_the_words_of_that_class_are_not_told() -> None:
    subject = planted_word()
    assert subject.test is not None
    assert subject.model is not None
    n, x = len(subject.test), subject.test.x.copy()
    order = Context(check="TRA-107").rng("rows").permutation(n)
    passed = np.flatnonzero(np.asarray(subject.model.predict(x)) == 1)
    texts = x["letter"].to_numpy(copy=True)
    texts[order[n // 2 :]] = texts[np.resize(passed, n - n // 2)]
    got = _measure(replace(subject, test=replace(subject.test, x=pd.DataFrame({"letter": texts}))))
    assert not got.findings
    assert "class 0" in got.exposures[0].headline


def test_arrays_of_estimators_are_looked_through() -> None:
    texts, y = ["red apples fall", "green pears fall"] * 6, np.array([0, 1] * 6)
    boosted = make_pipeline(CountVectorizer(), GradientBoostingClassifier(n_estimators=2))
    x = pd.DataFrame({"a": texts})
    model = wrap(boosted.fit(texts, y), classes=[0, 1], sample=x)
    assert counted_words(model) == ["apples", "fall", "green", "pears", "red"]


def test_too_few_texts_and_a_model_that_decides_all_alike_are_inconclusive() -> None:
    subject = no_planted_word()
    assert subject.test is not None
    assert subject.model is not None
    with pytest.raises(Inconclusive, match="60 are needed"):
        _measure(replace(subject, test=subject.test.take(np.arange(40))))
    same = replace(subject.model, decide=lambda x: np.zeros(len(x), dtype=np.int64))
    with pytest.raises(Inconclusive, match="all test texts alike"):
        _measure(subject.with_model(same))


@pytest.mark.parametrize("made", [planted_word, no_planted_word])
def test_every_text_asked_of_the_model_is_counted(made: Any) -> None:
    subject = made()
    model = subject.model
    assert model is not None
    asked = 0

    def counting(answer: Any) -> Any:
        def ask(x: Any) -> Any:
            nonlocal asked
            asked += len(x)
            return answer(x)

        return ask

    assert model.score is not None
    watched = replace(
        model, decide=counting(model.decide), score=counting(model.score), fit=None
    )  # a model taught anew is not the one attacked
    got = _measure(subject.with_model(watched))
    assert got.exposures[0].queries == pytest.approx(asked, rel=0.02)


def test_a_class_that_nearly_all_texts_are_of_is_told_as_not_searched() -> None:
    subject = planted_word()
    assert subject.test is not None
    assert subject.model is not None
    decided = np.asarray(subject.model.predict(subject.test.x))
    n = len(decided)
    order = Context(check="TRA-107").rng("rows").permutation(n)
    given = subject.test.x["letter"].to_numpy()
    texts = given.copy()
    zeros, ones = (np.flatnonzero(decided == c) for c in (0, 1))
    texts[order[: n // 2]] = given[np.resize(ones, n // 2)]
    texts[order[:2]] = given[zeros[:2]]  # two of class 0 among the texts that are searched
    test = replace(subject.test, x=pd.DataFrame({"letter": texts}))
    got = _measure(replace(subject, test=test))
    assert any(note.startswith("Not searched: 1,") for note in got.notes)
