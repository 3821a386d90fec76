"""The distance against brute force over every cell, library by library."""

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

from crenel.errors import NotApplicable
from crenel.evasion.trees import tree_distance

from .oracles import nearest, thresholds

MODELS = {
    "xgboost": lambda: xgboost.XGBClassifier(n_estimators=5, max_depth=3, n_jobs=1),
    "xgboost-dart": lambda: xgboost.XGBClassifier(
        n_estimators=5, max_depth=3, booster="dart", rate_drop=0.5, n_jobs=1
    ),
    "xgboost-forest": lambda: xgboost.XGBRFClassifier(n_estimators=6, max_depth=3, n_jobs=1),
    "lightgbm-forest": lambda: lightgbm.LGBMClassifier(
        boosting_type="rf",
        bagging_freq=1,
        bagging_fraction=0.7,
        n_estimators=5,
        num_leaves=6,
        min_child_samples=5,
        verbose=-1,
        n_jobs=1,
    ),
    "bagging": lambda: BaggingClassifier(
        DecisionTreeClassifier(max_depth=3), 6, max_samples=0.7, random_state=0
    ),
    "adaboost": lambda: AdaBoostClassifier(
        DecisionTreeClassifier(max_depth=2), n_estimators=5, random_state=0
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


@pytest.mark.parametrize("members", [0.5, 1.0])
def test_bagging_of_some_columns_equals_brute_force(members):
    x, y = table(3, 2)
    tree = DecisionTreeClassifier(max_depth=3)
    model = BaggingClassifier(tree, 5, max_features=members, random_state=0).fit(x, y)
    rows, label = x[:10], model.predict(x[:10])
    found = tree_distance(model, rows, label)
    # Each tree's own columns, in the places that they have in the whole table.
    own = [
        sorted({t for m, f in zip(model.estimators_, model.estimators_features_)
                for c, t in zip(m.tree_.feature, m.tree_.threshold) if c >= 0 and f[c] == column})
        for column in range(2)
    ]  # fmt: skip
    expected = [nearest(model, row, c, splits=own) for row, c in zip(rows, label)]
    np.testing.assert_allclose(found.upper, expected, rtol=0, atol=1e-9)
    assert found.exact.all()


@pytest.mark.parametrize("normal", [True, False])
def test_isolation_forest_both_ways_equals_brute_force(normal):
    x, _ = table(2, 2)
    model = IsolationForest(n_estimators=6, contamination=0.2, random_state=0).fit(x)
    label = model.predict(x)
    rows = x[(label > 0) == normal][:10]
    mine = model.predict(rows)
    found = tree_distance(model, rows, mine)
    model.classes_ = np.array([-1, 1])
    expected = [nearest(model, row, int(c > 0)) for row, c in zip(rows, mine)]
    np.testing.assert_allclose(found.upper, expected, rtol=0, atol=1e-9)
    assert (model.predict(found.adversarial) != mine).all()


@pytest.mark.parametrize("classes", [2, 3])
def test_zero_as_missing_equals_brute_force(classes):
    x, y = table(classes, 2)
    rng = np.random.default_rng(1)
    x[rng.random(x.shape) < 0.3] = 0
    model = lightgbm.LGBMClassifier(
        n_estimators=8, num_leaves=6, min_child_samples=5, verbose=-1, n_jobs=1,
        zero_as_missing=True,
    ).fit(x, y)  # fmt: skip
    rows, label = x[:20], model.predict(x[:20])
    found = tree_distance(model, rows, label)
    edges = [-1e-35, np.nextafter(np.float32(1e-35), np.float32(1)), 0.0]
    own = [[*split, *edges] for split in thresholds(model, 2)]
    expected = [nearest(model, row, c, splits=own) for row, c in zip(rows, label)]
    np.testing.assert_allclose(found.upper, expected, rtol=0, atol=1e-9)
    assert found.exact.all()
    assert any("Zero" in str(t) for t in model.booster_.dump_model()["tree_info"])


def test_lightgbm_linear_trees_are_refused():
    x, y = table(2, 2)
    model = lightgbm.LGBMClassifier(
        n_estimators=3, num_leaves=4, linear_tree=True, min_child_samples=5, verbose=-1, n_jobs=1
    ).fit(x, y)
    with pytest.raises(NotApplicable, match="linear_tree"):
        tree_distance(model, x[:2], y[:2])


@pytest.mark.parametrize("classes", [2, 3])
def test_catboost_equals_brute_force(classes):
    catboost = pytest.importorskip("catboost")
    x, y = table(classes, 2, missing=0.1)
    model = catboost.CatBoostClassifier(
        iterations=5, depth=2, verbose=0, thread_count=1, allow_writing_files=False
    ).fit(x, y)
    rows, label = x[:12], np.ravel(model.predict(x[:12]))
    found = tree_distance(model, rows, label)
    own = [model.get_borders()[f] for f in range(2)]
    asked = Raveled(model)
    expected = [nearest(asked, row, int(c), splits=own) for row, c in zip(rows, label)]
    np.testing.assert_allclose(found.upper, expected, rtol=0, atol=1e-9)
    assert found.exact.all()


class Raveled:
    """A CatBoost model whose decisions have one axis."""

    def __init__(self, model):
        self.model, self.classes_ = model, model.classes_

    def predict(self, x):
        return np.ravel(self.model.predict(x))


def test_threads_give_the_same_distances():
    model, x, _ = fitted("forest", 3)
    label = model.predict(x)
    one, two = (tree_distance(model, x, label, workers=w) for w in (1, 2))
    np.testing.assert_array_equal(one.upper, two.upper)
    np.testing.assert_array_equal(one.lower, two.lower)
    np.testing.assert_array_equal(one.adversarial, two.adversarial)
