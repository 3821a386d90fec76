"""XGBoost's binary form is read as its JSON form is; what is not plain is left to the latter."""

import json

import numpy as np
import pytest
import xgboost

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
