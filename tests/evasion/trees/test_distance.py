"""The distance against brute force over every cell, library by library."""

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

from crenel.evasion.trees import tree_distance

from .oracles import nearest

MODELS = {
    "xgboost": lambda: xgboost.XGBClassifier(n_estimators=5, max_depth=3, n_jobs=1),
    "xgboost-dart": lambda: xgboost.XGBClassifier(
        n_estimators=5, max_depth=3, booster="dart", rate_drop=0.5, n_jobs=1
    ),
    "lightgbm": lambda: lightgbm.LGBMClassifier(
        n_estimators=5, num_leaves=6, min_child_samples=5, verbose=-1, n_jobs=1
    ),
    "tree": lambda: DecisionTreeClassifier(max_depth=5, random_state=0),
    "extra-tree": lambda: ExtraTreeClassifier(max_depth=5, random_state=0),
    "forest": lambda: RandomForestClassifier(6, max_depth=3, random_state=0),
    "pure-forest": lambda: RandomForestClassifier(6, max_leaf_nodes=9, random_state=0),
    "extra-trees": lambda: ExtraTreesClassifier(6, max_depth=3, random_state=0),
    "boosting": lambda: GradientBoostingClassifier(n_estimators=5, max_depth=2, random_state=0),
    "histogram": lambda: HistGradientBoostingClassifier(
        max_iter=5, max_leaf_nodes=5, min_samples_leaf=5, random_state=0
    ),
}


def table(classes, width, rows=120, seed=0, missing=0.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, width)).astype(np.float32)
    y = np.digitize(
        x[:, 0] * x[:, 1] + 0.3 * rng.normal(size=rows), np.linspace(-0.4, 0.4, classes - 1)
    )
    x[rng.random(x.shape) < missing] = np.nan
    return x, y


def fitted(name, classes=2, width=2, missing=0.0):
    x, y = table(classes, width, missing=missing)
    return MODELS[name]().fit(x, y), x, y


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", MODELS)
def test_equals_brute_force(name, classes):
    model, x, _ = fitted(name, classes)
    rows = x[:12]
    label = model.predict(rows)
    found = tree_distance(model, rows, label)
    expected = [nearest(model, row, c) for row, c in zip(rows, label)]
    np.testing.assert_allclose(found.upper, expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.lower, expected, rtol=0, atol=1e-9)
    assert found.exact.all()
    assert found.rejected == 0
    assert (model.predict(found.adversarial) != label).all()
    np.testing.assert_allclose(np.abs(found.adversarial - rows).max(axis=1), found.upper, rtol=1e-6)


@pytest.mark.parametrize("norm", [1, 2])
@pytest.mark.parametrize("name", ["xgboost", "lightgbm", "pure-forest"])
def test_other_norms_equal_brute_force(name, norm):
    model, x, _ = fitted(name, 3)
    rows, label = x[:10], model.predict(x[:10])
    found = tree_distance(model, rows, label, norm=norm)
    expected = [nearest(model, row, c, norm) for row, c in zip(rows, label)]
    assert found.exact.all()
    np.testing.assert_allclose(found.upper, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["xgboost", "lightgbm", "histogram", "forest"])
def test_missing_values_stay_missing(name):
    model, x, _ = fitted(name, 3, missing=0.3)
    rows = x[np.isnan(x).any(axis=1)][:10]
    label = model.predict(rows)
    found = tree_distance(model, rows, label)
    expected = np.array([nearest(model, row, c) for row, c in zip(rows, label)])
    np.testing.assert_allclose(found.upper, expected, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(found.lower, found.upper)
    reached = np.isfinite(expected)
    assert reached.sum() > 0
    np.testing.assert_array_equal(np.isnan(found.adversarial[reached]), np.isnan(rows[reached]))
    assert np.isnan(found.adversarial[~reached]).all()


@pytest.mark.parametrize("name", ["xgboost", "histogram", "forest"])
def test_box_and_scale_equal_brute_force(name):
    model, x, _ = fitted(name, 2, width=3)
    rows, label = x[:8], model.predict(x[:8])
    low, high = np.array([-1.0, -np.inf, -0.5]), np.array([1.0, np.inf, 0.5])
    scale = np.array([0.5, 2.0, 1.0])
    found = tree_distance(model, rows, label, box=(low, high), scale=scale)
    expected = [
        nearest(model, r, c, low=np.minimum(low, r), high=np.maximum(high, r), scale=scale)
        for r, c in zip(rows, label)
    ]
    np.testing.assert_allclose(found.upper, expected, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(found.lower, found.upper)


def test_immutable_columns_keep_their_value():
    model, x, _ = fitted("xgboost", 2, width=3)
    rows, label = x[:30], model.predict(x[:30])
    low = np.where([True, False, False], rows, -np.inf)
    high = np.where([True, False, False], rows, np.inf)
    by_box = tree_distance(model, rows, label, box=(low, high))
    by_scale = tree_distance(model, rows, label, scale=[0, 1, 1])
    free = tree_distance(model, rows, label)
    kept = np.isfinite(by_box.upper)
    np.testing.assert_array_equal(by_box.adversarial[kept, 0], rows[kept, 0])
    np.testing.assert_array_equal(by_box.upper, by_scale.upper)
    assert (by_box.upper >= free.upper).all()
    assert (by_box.upper > free.upper).any()


def test_everything_immutable_is_proven_unreachable():
    model, x, _ = fitted("forest")
    label = model.predict(x[:5])
    found = tree_distance(model, x[:5], label, scale=[0, np.inf])
    assert np.isinf(found.lower).all()
    assert np.isinf(found.upper).all()
    assert found.exact.all()
    assert np.isnan(found.adversarial).all()


def test_rows_that_are_wrong_have_distance_zero():
    model, x, _ = fitted("boosting")
    found = tree_distance(model, x[:20], 1 - model.predict(x[:20]))
    np.testing.assert_array_equal(found.upper, 0)
    np.testing.assert_array_equal(found.adversarial, x[:20])
