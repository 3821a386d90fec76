"""XGBoost's binary form is read as its JSON form is; what is not plain is left to the latter."""

import json
from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
import xgboost

from crenel.evasion.trees import from_xgboost, kept, tree_distance
from crenel.evasion.trees.flat import flatten
from crenel.evasion.trees.from_xgboost import grow
from crenel.evasion.trees.xgboost_binary import trees_of

FORMS = {
    "binary": {},
    "early": {"early_stopping_rounds": 2, "eval_metric": "logloss", "n_estimators": 60},
    "forest": {"num_parallel_tree": 3},
    "softmax-of-two": {"objective": "multi:softprob", "num_class": 2},
    "dart": {"booster": "dart", "rate_drop": 0.5},
    "categories": {"enable_categorical": True, "tree_method": "hist"},
    "three": {},
}


def fitted(name):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 9, size=(300, 4)).astype(float)
    y = (x[:, 0] * x[:, 1] + rng.normal(size=300) * 9 > 16).astype(int)
    y += (name == "three") * (x[:, 2] > 6)
    x[rng.random(x.shape) < 0.05] = np.nan
    arguments = {"n_estimators": 4, "max_depth": 4, "n_jobs": 1} | FORMS[name]
    model = xgboost.XGBClassifier(**arguments)
    if name == "early":
        return model.fit(x[:200], y[:200], eval_set=[(x[200:], y[200:])], verbose=False)
    if name == "categories":
        model.set_params(feature_types=["c", "q", "q", "q"])
    return model.fit(x, y)


@pytest.mark.parametrize("name", FORMS)
def test_both_forms_give_the_same_trees(name):
    model = fitted(name)
    booster = model.get_booster()
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    classes = max(2, int(learner["learner_model_param"]["num_class"]))
    used = int(model.best_iteration) + 1 if name == "early" else None
    assert used is None or used < booster.num_boosted_rounds()
    expected = grow(learner["gradient_booster"], classes, used).freeze(np.zeros(classes))
    found = flatten(model, 4).ensemble
    for field in ("feature", "threshold", "left", "right", "missing_left", "value", "roots"):
        np.testing.assert_array_equal(getattr(found, field), getattr(expected, field))
    assert found.categories == expected.categories
    assert bool(found.categories) == (name == "categories")


def test_only_plain_trees_are_read_from_the_binary_form():
    raw = {name: bytes(fitted(name).get_booster().save_raw("ubj")) for name in FORMS}
    assert trees_of(raw["binary"], 4, None) is not None
    assert trees_of(raw["three"], 12, None) is not None
    assert trees_of(raw["categories"], 4, None) is None
    assert trees_of(raw["binary"], 5, None) is None
    assert trees_of(raw["binary"][:-1500], 4, None) is None
    assert trees_of(b"", 4, None) is None


def test_a_model_is_read_once_and_anew_when_it_was_trained_further(monkeypatch):
    read = []

    def counted(raw, trees, used):
        read.append(trees)
        return trees_of(raw, trees, used)

    monkeypatch.setattr(from_xgboost, "trees_of", counted)
    rng = np.random.default_rng(7)
    x = rng.normal(size=(120, 3))
    y = (x[:, 0] > 0).astype(int)
    booster = xgboost.XGBClassifier(n_estimators=3, max_depth=2, n_jobs=1).fit(x, y).get_booster()
    once = [tree_distance(booster, x, y).upper for _ in range(2)]
    assert read == [3]
    np.testing.assert_array_equal(*once)
    for i in range(3, 13):
        booster.update(xgboost.DMatrix(x, (x[:, 1] > 0).astype(int)), i)
    later = tree_distance(booster, x, y).upper
    assert read == [3, 13]
    assert (later != once[0]).any()


def test_few_models_are_kept_and_no_large_ones(monkeypatch):
    made = []

    def build(size):
        def one():
            made.append(size)
            return SimpleNamespace(feature=np.zeros(size))

        return one

    monkeypatch.setattr(kept, "_kept", OrderedDict())
    for i in range(kept.KEPT + 1):
        kept.read_once(bytes([i]), build(1))
    kept.read_once(bytes([kept.KEPT]), build(2))
    kept.read_once(bytes([0]), build(3))
    kept.read_once(b"large", build(kept.NODES + 1))
    kept.read_once(b"large", build(kept.NODES + 1))
    assert made == [1] * (kept.KEPT + 1) + [3] + [kept.NODES + 1] * 2
