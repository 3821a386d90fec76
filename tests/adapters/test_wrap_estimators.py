"""Wrapped estimators answer exactly as the library does."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC

from crenel.adapters import wrap
from crenel.errors import NotApplicable, SubjectError
from crenel.model import Model

NAMES = np.array(["cat", "dog", "emu"])


def numbers(n=150, d=4, k=3, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    x = rng.normal(size=(n, d)) + y[:, None]
    return x, y


def mixed(n=200, seed=0):
    """A table with text, categories and missing values."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 80, n).astype(float),
            "job": rng.choice(["clerk", "cook", "smith"], n),
            "city": pd.Categorical(rng.choice(["Oslo", "Rome"], n)),
            "pay": rng.normal(50, 9, n),
        }
    )
    frame.loc[rng.random(n) < 0.2, "pay"] = np.nan
    y = ((frame["age"] > 45) ^ (frame["job"] == "cook")).astype(int).to_numpy()
    return frame, y


def agrees(model, native, rows):
    assert np.array_equal(model.classes[model.predict(rows)], native.predict(rows))
    columns = [list(model.classes).index(c) for c in native.classes_]
    assert np.array_equal(model.probabilities(rows)[:, columns], native.predict_proba(rows))


@pytest.mark.parametrize("frame", [False, True])
@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        RandomForestClassifier(5, random_state=0),
        make_pipeline(StandardScaler(), LogisticRegression()),
    ],
    ids=["linear", "forest", "pipeline"],
)
def test_answers_equal_the_librarys_own(estimator, k, text, frame):
    x, y = numbers(k=k)
    rows = pd.DataFrame(x, columns=list("pqrs")) if frame else x
    native = estimator.fit(rows, NAMES[y] if text else y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = wrap(native)
        agrees(model, native, rows)


def test_a_frame_goes_to_a_model_trained_without_names_and_back():
    x, y = numbers()
    frame = pd.DataFrame(x, columns=list("pqrs"))
    without = wrap(LogisticRegression().fit(x, y))
    named = wrap(LogisticRegression().fit(frame, y))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(without.predict(frame), without.predict(x))
        assert np.array_equal(named.predict(x), named.predict(frame))
        assert np.array_equal(named.predict(frame[list("srqp")]), named.predict(frame))


def test_a_missing_column_is_named():
    x, y = numbers()
    model = wrap(LogisticRegression().fit(pd.DataFrame(x, columns=list("pqrs")), y))
    with pytest.raises(SubjectError, match="takes the column 's', which the data does not have"):
        model.predict(pd.DataFrame(x[:, :3], columns=list("pqr")))


def test_a_pipeline_of_text_and_missing_values_has_its_numeric_input():
    frame, y = mixed()
    steps = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["job", "city"]), remainder="passthrough"
    )
    native = make_pipeline(steps, HistGradientBoostingClassifier(max_iter=5, random_state=0))
    native.fit(frame, y)
    model = wrap(native)
    agrees(model, native, frame)
    z = model.transform(frame)
    assert z.dtype == np.float64
    assert z.shape == (200, 7)
    assert np.isnan(z).any()
    assert np.array_equal(model.final.predict(z), native.predict(frame))
    assert model.description == "HistGradientBoostingClassifier in a Pipeline"


def test_boosting_with_native_categories_takes_plain_text_too():
    frame, y = mixed()
    frame = frame.astype({"job": "category"})
    native = HistGradientBoostingClassifier(
        max_iter=5, categorical_features="from_dtype", random_state=0
    ).fit(frame, y)
    model = wrap(native)
    plain = frame.astype({"job": object, "city": object})
    assert np.array_equal(model.probabilities(plain), native.predict_proba(frame))


def test_a_text_pipeline_takes_a_table_of_one_column():
    words = np.array(["win cash now", "see you at noon", "cash prize", "lunch at noon"] * 10)
    y = np.array([1, 0, 1, 0] * 10)
    native = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(words, y)
    model = wrap(native)
    frame = pd.DataFrame({"text": words})
    assert np.array_equal(model.probabilities(frame), native.predict_proba(words))
    assert model.transform(frame).shape == (40, len(native[0].vocabulary_))
    again = model.fit(frame, y, 0)
    assert np.array_equal(again.predict(frame), y)
    with pytest.raises(SubjectError, match="one column of text, and the data has 2"):
        model.predict(frame.assign(more="x"))


def test_decision_values_become_ordered_probabilities():
    x, y = numbers(k=2)
    native = LinearSVC().fit(x, y)
    p = wrap(native).probabilities(x)[:, 1]
    z = native.decision_function(x)
    assert np.allclose(p, 1 / (1 + np.exp(-z)))
    x, y = numbers(k=3)
    model = wrap(LinearSVC().fit(x, y))
    assert np.array_equal(model.probabilities(x).argmax(axis=1), model.predict(x))


def test_a_model_of_pairwise_decisions_gives_no_scores():
    x, y = numbers(n=80, k=4)
    model = wrap(SVC(decision_function_shape="ovo").fit(x, y))
    assert model.score is None
    with pytest.raises(NotApplicable, match="decisions only"):
        model.probabilities(x)


def test_refitting_is_seeded_repeatable_and_leaves_the_native_model_alone():
    x, y = numbers()
    native = make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=9)).fit(x, y)
    before = native.predict_proba(x)
    model = wrap(native)
    one, two, three = (model.fit(x, y, s).probabilities(x) for s in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, three)
    assert np.array_equal(native.predict_proba(x), before)
    direct = make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=1)).fit(x, y)
    assert np.array_equal(one, direct.predict_proba(x))


@pytest.mark.parametrize("framework", ["sklearn", "xgboost", "lightgbm"])
@pytest.mark.parametrize("present", [(0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_refitting_without_a_class_keeps_its_column_at_zero(framework, present):
    x, y = numbers(n=240)
    model = wrap(_small(framework).fit(x, y))
    part = np.isin(y, present)
    again = model.fit(x[part], y[part], 0)
    p = again.probabilities(x)
    absent = [c for c in range(3) if c not in present]
    assert list(again.classes) == list(model.classes)
    assert (p[:, absent] == 0).all()
    assert set(np.unique(again.predict(x))) <= set(present)
    assert (again.predict(x[part]) == y[part]).mean() > 0.6
    twice = again.fit(x, y, 0)  # a model that saw fewer classes can learn them all again
    assert set(np.unique(twice.predict(x))) == {0, 1, 2}


def test_refitting_on_one_class_says_so():
    x, y = numbers()
    with pytest.raises(SubjectError, match="all of one class"):
        wrap(LogisticRegression().fit(x, y)).fit(x[y == 1], y[y == 1], 0)


def test_the_users_own_fit_gets_labels_and_its_model_keeps_the_classes():
    x, y = numbers()
    seen = []

    def fit(rows, labels, seed):
        seen.append((set(labels), seed))
        return LogisticRegression().fit(rows, labels)

    model = wrap(LogisticRegression().fit(x, NAMES[y]), fit=fit)
    again = model.fit(x[y > 0], y[y > 0], 7)
    assert seen == [({"dog", "emu"}, 7)]
    assert list(again.classes) == list(NAMES)
    assert (again.probabilities(x)[:, 0] == 0).all()
    assert set(np.unique(again.predict(x))) == {1, 2}


def test_classes_in_another_order_reorder_the_scores():
    x, y = numbers()
    native = LogisticRegression().fit(x, NAMES[y])
    model = wrap(native, classes=["emu", "cat", "dog"])
    p = native.predict_proba(x)
    assert np.array_equal(model.probabilities(x), p[:, [2, 0, 1]])
    assert np.array_equal(model.classes[model.predict(x)], native.predict(x))


def test_names_stand_for_numbered_classes_by_position():
    x, y = numbers()
    model = wrap(LogisticRegression().fit(x, y), classes=list(NAMES))
    assert np.array_equal(model.classes[model.predict(x)], NAMES[wrap(model.native).predict(x)])
    again = model.fit(x, y, 0)
    assert np.array_equal(again.predict(x), model.predict(x))


def test_classes_that_do_not_fit_are_an_error():
    x, y = numbers()
    with pytest.raises(SubjectError, match="the model's classes are"):
        wrap(LogisticRegression().fit(x, NAMES[y]), classes=["red", "blue", "green"])


@pytest.mark.parametrize("kind", [bool, float, str])
def test_labels_of_every_type(kind):
    x, y = numbers(k=2)
    labels = y.astype(kind)
    model = wrap(LogisticRegression().fit(x, labels))
    assert np.array_equal(model.classes[model.predict(x)], model.native.predict(x))


def test_a_search_is_seen_through():
    x, y = numbers()
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [0.1, 1]}
    ).fit(x, y)
    model = wrap(search)
    agrees(model, search, x)
    assert isinstance(model.final, LogisticRegression)
    z = search.best_estimator_[0].transform(x)
    assert np.array_equal(model.transform(x), z)


def test_learned_numbers_are_counted():
    x, y = numbers()
    assert wrap(LogisticRegression().fit(x, y)).parameters == 3 * 4 + 3
    net = MLPClassifier((5,), max_iter=300, tol=0.1).fit(x, y)
    assert wrap(net).parameters == 4 * 5 + 5 + 5 * 3 + 3


def test_regression_values():
    x, _ = numbers()
    for native in (LinearRegression(), RandomForestRegressor(5, random_state=0)):
        native.fit(x, x[:, 0])
        model = wrap(native)
        assert model.task == "regression"
        assert model.score is None
        assert np.array_equal(model.predict(x), native.predict(x))
        assert np.allclose(model.fit(x, 2 * x[:, 0], 0).predict(x), 2 * x[:, 0], atol=2)


def test_an_outlier_detector_is_a_classifier_of_minus_one_and_one():
    x, _ = numbers()
    native = IsolationForest(n_estimators=10, random_state=0).fit(x)
    model = wrap(native, classes=[-1, 1])
    assert np.array_equal(model.classes[model.predict(x)], native.predict(x))
    assert np.array_equal(model.probabilities(x).argmax(axis=1), model.predict(x))


def test_no_rows_give_no_answers():
    x, y = numbers()
    model = wrap(CalibratedClassifierCV(LogisticRegression()).fit(x, y))
    assert model.predict(x[:0]).shape == (0,)
    assert model.probabilities(x[:0]).shape == (0, 3)


def test_a_model_is_returned_as_it_is_and_nonsense_is_refused():
    x, y = numbers()
    model = wrap(LogisticRegression().fit(x, y))
    assert wrap(model) is model
    assert isinstance(model, Model)
    with pytest.raises(SubjectError, match=r"builtins\.int is not a model"):
        wrap(3)


# --- XGBoost and LightGBM ------------------------------------------------------------------------


def _small(framework):
    if framework == "xgboost":
        xgboost = pytest.importorskip("xgboost")
        return xgboost.XGBClassifier(n_estimators=4, max_depth=3, n_jobs=1)
    if framework == "lightgbm":
        lightgbm = pytest.importorskip("lightgbm")
        return lightgbm.LGBMClassifier(n_estimators=4, num_leaves=7, n_jobs=1, verbose=-1)
    return RandomForestClassifier(5)


@pytest.mark.parametrize("frame", [False, True])
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("framework", ["xgboost", "lightgbm"])
def test_boosting_libraries_agree_in_both_of_their_apis(framework, k, frame):
    x, y = numbers(n=300, k=k)
    x[::7, 1] = np.nan
    rows = pd.DataFrame(x, columns=["p", "q q", "r", "s"]) if frame else x
    native = _small(framework).fit(rows, y)
    model = wrap(native)
    assert model.framework == framework
    agrees(model, native, rows)
    booster = native.get_booster() if framework == "xgboost" else native.booster_
    low = wrap(booster, classes=list(NAMES[:k]))
    assert low.fit is None
    assert np.allclose(low.probabilities(rows), native.predict_proba(rows), atol=1e-7)
    assert np.array_equal(low.predict(rows), model.predict(rows))
    with pytest.raises(SubjectError, match=f"has {k} classes, and 5 are named"):
        wrap(booster, classes=list("abcde"))


def test_xgboost_objectives_of_the_booster():
    xgboost = pytest.importorskip("xgboost")
    x, y = numbers(k=3)
    data = xgboost.DMatrix(x, label=y)
    hard = xgboost.train({"objective": "multi:softmax", "num_class": 3, "nthread": 1}, data, 4)
    soft = xgboost.train({"objective": "multi:softprob", "num_class": 3, "nthread": 1}, data, 4)
    model = wrap(hard)
    assert np.array_equal(model.predict(x), hard.predict(data))
    assert np.allclose(model.probabilities(x), soft.predict(data), atol=1e-6)
    two = xgboost.DMatrix(x, label=y > 0)
    raw = xgboost.train({"objective": "binary:logitraw", "nthread": 1}, two, 4)
    p = wrap(raw).probabilities(x)[:, 1]
    assert np.allclose(np.log(p / (1 - p)), raw.predict(two), atol=1e-4)
    hinge = xgboost.train({"objective": "binary:hinge", "nthread": 1}, two, 4)
    assert wrap(hinge).score is None
    assert np.array_equal(wrap(hinge).predict(x), hinge.predict(two))
    values = xgboost.train({"objective": "reg:squarederror", "nthread": 1}, data, 4)
    assert wrap(values).task == "regression"
    assert np.array_equal(wrap(values).predict(x), values.predict(data))


@pytest.mark.parametrize("framework", ["xgboost", "lightgbm"])
def test_categories_reach_the_booster_also_as_plain_text(framework):
    frame, y = mixed()
    frame = frame.astype({"job": "category"})
    native = _small(framework)
    if framework == "xgboost":
        native.set_params(enable_categorical=True)
    native.fit(frame, y)
    model = wrap(native)
    assert np.array_equal(model.probabilities(frame), native.predict_proba(frame))
    plain = frame.astype({"job": object, "city": object})
    assert np.array_equal(model.probabilities(plain), native.predict_proba(frame))
    few = plain.iloc[:3]  # not all categories occur in these rows
    assert np.array_equal(model.probabilities(few), native.predict_proba(frame)[:3])


def test_early_stopping_rounds_are_kept_for_refits_that_have_no_validation_data():
    xgboost = pytest.importorskip("xgboost")
    x, y = numbers(n=200, k=2)
    native = xgboost.XGBClassifier(n_estimators=50, early_stopping_rounds=2, n_jobs=1)
    native.fit(x[:150], y[:150], eval_set=[(x[150:], y[150:])], verbose=False)
    again = wrap(native).fit(x, y, 0)
    assert again.native.get_booster().num_boosted_rounds() == native.best_iteration + 1
