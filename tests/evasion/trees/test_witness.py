"""Every witness is accepted by the user's own model, and arguments are checked."""

import lightgbm
import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

import crenel.evasion
from crenel.errors import NotApplicable, SubjectError, UsageError
from crenel.evasion.trees import tree_distance
from crenel.evasion.trees.ensemble import at_most, at_most_float32, below_float32

from .test_distance import MODELS, fitted


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(list(MODELS)),
    classes=st.integers(2, 4),
    double=st.booleans(),
    norm=st.sampled_from([np.inf, 1, 2]),
    node_limit=st.sampled_from([1, 30, 200_000]),
    first=st.integers(0, 100),
)
def test_witnesses_are_valid_and_bounds_are_in_order(
    name, classes, double, norm, node_limit, first
):
    model, x, _ = fitted(name, classes, width=4)
    rows = x[first : first + 6].astype(float) if double else x[first : first + 6]
    label = model.predict(rows)
    found = tree_distance(model, rows, label, norm=norm, node_limit=node_limit)
    reached = np.isfinite(found.upper)
    assert found.adversarial.dtype == rows.dtype
    assert (found.lower <= found.upper).all()
    if reached.any():
        assert (model.predict(found.adversarial[reached]) != label[reached]).all()
    step = found.adversarial[reached].astype(float) - rows[reached]
    size = np.linalg.norm(step, ord=norm, axis=1)
    np.testing.assert_allclose(size, found.upper[reached], rtol=1e-9, atol=1e-12)
    if node_limit > 1000:
        assert found.exact.all()


def test_a_row_in_a_leaf_of_equal_shares_is_decided_as_the_library_does():
    model, x, _ = fitted("extra-tree", 3, width=4)
    rows = x[50:56]
    shares = model.predict_proba(rows)
    assert (np.sort(shares, axis=1)[:, -1] == np.sort(shares, axis=1)[:, -2]).any()
    found = tree_distance(model, rows, model.predict(rows))
    assert found.exact.all()
    assert found.rejected == 0


@given(
    value=st.floats(-1e6, 1e6),
    threshold=st.floats(-1e6, 1e6, width=32),
    nudge=st.integers(-2, 2),
)
def test_casts_are_folded_into_the_threshold_exactly(value, threshold, nudge):
    t32 = np.float32(threshold)
    bound = float(below_float32(t32))
    near = bound + nudge * np.spacing(bound)
    for x in (value, near, threshold):
        assert (np.float32(x) < t32) == (x < bound)
        assert (float(np.float32(x)) <= value) == (x < at_most_float32(value))
        assert (x <= value) == (x < at_most(value))


def test_float64_rows_use_the_cast_of_the_library():
    model, x, _ = fitted("forest")
    rows = x[:20].astype(float)
    label = model.predict(rows)
    double, single = tree_distance(model, rows, label), tree_distance(model, x[:20], label)
    assert (double.upper <= single.upper).all()
    np.testing.assert_allclose(double.upper, single.upper, atol=1e-6)


def test_votes_that_tie_are_decided_as_the_library_does():
    x = np.array([[0.0], [1.0]] * 10, dtype=np.float32)
    y = np.array([0, 1] * 10)
    member = DecisionTreeClassifier(max_depth=1).fit(x, y)
    other = DecisionTreeClassifier(max_depth=1).fit(np.array([[0.0], [4.0]]), [0, 1])
    forest = RandomForestClassifier(2, random_state=0).fit(x, y)
    forest.estimators_ = [member, other]
    found = tree_distance(forest, np.array([[0.0], [9.0]], dtype=np.float32), [0, 1])
    # Between the thresholds 0.5 and 2 the vote is a tie, which argmax gives to class 0.
    np.testing.assert_allclose(found.upper, [2.0, 7.0], atol=1e-6)
    assert found.exact.all()


def test_string_classes_and_native_boosters():
    x, y = load_breast_cancer(return_X_y=True)
    x = x.astype(np.float32)
    names = np.array(["benign", "malignant"])[y]
    forest = RandomForestClassifier(5, max_depth=3, random_state=0).fit(x, names)
    found = tree_distance(forest, x[:20], names[:20])
    right = forest.predict(x[:20]) == names[:20]
    assert (forest.predict(found.adversarial[right]) != names[:20][right]).all()
    for model in (
        lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(x, y),
        xgboost.XGBClassifier(n_estimators=5).fit(x, y),
    ):
        native = model.booster_ if hasattr(model, "booster_") else model.get_booster()
        wrapped, bare = (tree_distance(m, x[:20], y[:20]) for m in (model, native))
        np.testing.assert_array_equal(wrapped.upper, bare.upper)


def test_early_stopping_uses_the_best_round_only():
    x, y = load_breast_cancer(return_X_y=True)
    x = x.astype(np.float32)
    model = xgboost.XGBClassifier(n_estimators=200, early_stopping_rounds=2, max_depth=3)
    model.fit(x[:400], y[:400], eval_set=[(x[400:], y[400:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    found = tree_distance(model, x[:30], y[:30])
    assert found.rejected == 0
    right = model.predict(x[:30]) == y[:30]
    assert (model.predict(found.adversarial[right]) != y[:30][right]).all()


def test_integer_columns_stay_whole():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 20, size=(200, 3)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 80).astype(int)
    model = GradientBoostingClassifier(n_estimators=10, random_state=0).fit(x, y)
    label = model.predict(x[:30])
    found = tree_distance(model, x[:30], label, integer=[True, True, True])
    np.testing.assert_array_equal(found.upper, np.round(found.upper))
    np.testing.assert_array_equal(found.adversarial, np.round(found.adversarial))
    grid = np.stack(np.meshgrid(*[np.arange(20.0)] * 2), axis=-1).reshape(-1, 2)
    for row, mine, distance in zip(x[:30], label, found.upper):
        every = np.column_stack([grid, np.full(len(grid), row[2])]).astype(np.float32)
        other = every[model.predict(every) != mine]
        least = np.abs(other - row).max(axis=1).min()
        assert distance <= least


@pytest.mark.parametrize("library", ["histogram", "lightgbm", "xgboost"])
def test_category_splits_need_an_immutable_column(library):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    x[:, 1] = rng.integers(0, 6, size=400)
    y = ((x[:, 0] > 0) ^ np.isin(x[:, 1], [1, 3, 4])).astype(int)
    if library == "histogram":
        model = HistGradientBoostingClassifier(max_iter=10, categorical_features=[1]).fit(x, y)
    elif library == "lightgbm":
        model = lightgbm.LGBMClassifier(n_estimators=10, min_child_samples=5, verbose=-1)
        model.fit(x, y, categorical_feature=[1])
    else:
        matrix = xgboost.DMatrix(x, y, feature_types=["q", "c", "q"], enable_categorical=True)
        parameters = {"objective": "binary:logistic", "max_cat_to_onehot": 1, "max_depth": 3}
        model = xgboost.train(parameters, matrix, 10)

    def predict(rows):
        if library != "xgboost":
            return model.predict(rows)
        kinds = {"feature_types": ["q", "c", "q"], "enable_categorical": True}
        return (model.predict(xgboost.DMatrix(rows, **kinds)) > 0.5).astype(int)

    label = predict(x[:20])
    with pytest.raises(NotApplicable, match="column 1 by category"):
        tree_distance(model, x[:20], label)
    found = tree_distance(model, x[:20], label, scale=[1, 0, 1])
    reached = np.isfinite(found.upper)
    assert reached.sum() >= 15
    assert found.exact.all()
    np.testing.assert_array_equal(found.adversarial[reached, 1], x[:20][reached, 1])
    assert (predict(found.adversarial[reached]) != label[reached]).all()
    # Nothing nearer: the only way to flip is to cross x[:, 0] = 0 or what the trees made of it.
    for shrink in (0.5, 0.999):
        nearer = x[:20] + shrink * (found.adversarial - x[:20])
        assert (predict(nearer[reached]) == label[reached]).all()


def test_deadline_and_node_limit_give_bounds_that_hold():
    x, y = load_breast_cancer(return_X_y=True)
    x = ((x - x.min(0)) / np.ptp(x, axis=0)).astype(np.float32)
    model = RandomForestClassifier(60, max_depth=6, random_state=0).fit(x[:400], y[:400])
    rows, label = x[400:412], model.predict(x[400:412])
    full = tree_distance(model, rows, label, node_limit=100_000)
    none = tree_distance(model, rows, label, deadline=0.0)
    little = tree_distance(model, rows, label, node_limit=20)
    assert not none.exact.any()
    np.testing.assert_array_equal(none.lower, 0)
    assert (little.lower <= full.upper).all()
    assert (full.lower <= little.upper).all()
    assert (little.upper - little.lower).sum() > (full.upper - full.lower).sum()
    assert little.nodes.max() < 3000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": [0.5], "indices": True}, "whole numbers"),
        ({"y": [7], "indices": True}, "class indices from 0 to 1"),
        ({"y": [7]}, r"y holds \[7\], and the model's classes are \[0, 1\]"),
        ({"x": [[np.inf, 0.0]]}, "infinite"),
        ({"norm": 3}, "norm must be"),
        ({"scale": [-1, 1]}, "scale"),
        ({"box": ([1, 1], [0, 0])}, "low bound above"),
        ({"box": (np.zeros(5), np.ones(5))}, "shape"),
        ({"x": [[0.5, 0.5]], "integer": [True, False]}, "fractions"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    model, x, _ = fitted("tree")
    arguments = {"x": x[:1], "y": [0]} | change
    with pytest.raises(UsageError, match=message):
        tree_distance(model, arguments.pop("x"), arguments.pop("y"), **arguments)


@pytest.mark.parametrize("names", [(1, 2), ("b", "a"), (False, True)])
def test_classes_are_named_as_the_model_names_them(names):
    model, x, y = fitted("forest")
    two = (np.asarray(y) > 0).astype(int)
    named = np.asarray(names)[two]
    forest = model.__class__(5, max_depth=3, random_state=0)
    found = tree_distance(forest.fit(x, named), x[:20], named[:20])
    wrong = forest.predict(x[:20]) != named[:20]
    assert np.array_equal(found.upper == 0, wrong)
    index = np.searchsorted(forest.classes_, named[:20])
    same = tree_distance(forest, x[:20], index, indices=True)
    assert np.array_equal(found.upper, same.upper)


def test_models_that_do_not_apply_are_refused():
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10) % 2
    for model in (
        RandomForestRegressor(2).fit(x, y),
        LogisticRegression().fit(x, y),
        xgboost.XGBRegressor(n_estimators=2).fit(x, y),
        lightgbm.LGBMRegressor(n_estimators=2, verbose=-1, min_child_samples=1).fit(x, y),
        xgboost.XGBClassifier(booster="gblinear").fit(x, y),
        GradientBoostingClassifier(init=LogisticRegression()).fit(x, y),
        object(),
    ):
        with pytest.raises(NotApplicable):
            tree_distance(model, x, y)


def test_trees_that_do_not_score_as_the_model_are_refused():
    model, x, _ = fitted("forest")
    original = model.predict_proba
    model.predict_proba = lambda rows: original(rows)[:, ::-1]
    with pytest.raises(SubjectError, match="score rows differently"):
        tree_distance(model, x[:5], [0] * 5)


def test_public_name():
    assert crenel.evasion.tree_distance is tree_distance


@pytest.mark.parametrize("norm", [1, 2])
def test_bounds_in_other_norms_are_their_own(norm):
    x, y = load_breast_cancer(return_X_y=True)
    x = ((x - x.min(0)) / np.ptp(x, axis=0)).astype(np.float32)
    model = RandomForestClassifier(60, max_depth=6, random_state=0).fit(x[:400], y[:400])
    rows, label = x[400:406], model.predict(x[400:406])
    wide = tree_distance(model, rows, label, node_limit=1_000)
    found = tree_distance(model, rows, label, norm=norm, node_limit=4_000)
    step = np.linalg.norm(wide.adversarial.astype(float) - rows, ord=norm, axis=1)
    assert found.upper.mean() < 0.97 * step.mean()
    assert found.lower.sum() > 1.05 * wide.lower.sum()
    assert (found.lower <= found.upper).all()
