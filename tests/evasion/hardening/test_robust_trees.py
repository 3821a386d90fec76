"""Robust splits against enumeration, published figures, and the exact attacker."""

import io
import itertools
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from crenel.adapters import wrap
from crenel.check import Context
from crenel.errors import UsageError
from crenel.evasion.controls import wide_leaves
from crenel.evasion.hardening import tree_hardening
from crenel.evasion.hardening.robust_kernel import best_split, gini, worst
from crenel.evasion.hardening.robust_trees import robust_forest, robust_tree
from crenel.evasion.hardening.tree_settings import directions, monotone, wider_margins
from crenel.evasion.remedies import robust_trees
from crenel.evasion.trees import tree_distance
from crenel.subject import Data, Subject

COUNT = st.integers(0, 6)
PUBLISHED = Path(__file__).parents[4] / "shared" / "data" / "13_groot_trees"


@given(COUNT, COUNT, COUNT, COUNT, COUNT, COUNT)
@settings(max_examples=300, deadline=None)
def test_the_worst_placement_is_no_better_than_any(l0, l1, r0, r1, m0, m1):
    if l0 + l1 + r0 + r1 + m0 + m1 == 0:
        return
    found, placement = worst((float(l0), float(l1)), (float(r0), float(r1)), (float(m0), float(m1)))
    every = [
        gini(l0 + a, l1 + b) + gini(r0 + m0 - a, r1 + m1 - b)
        for a, b in itertools.product(range(m0 + 1), range(m1 + 1))
    ]
    assert found >= max(every) - 1e-9
    if placement:  # then it is one of them, with whole rows
        assert found == pytest.approx(max(every))


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_the_best_threshold_is_that_of_enumeration(seed):
    rng = np.random.default_rng(seed)
    n, reach = 14, float(rng.choice([0.0, 0.5, 1.5]))
    x, y = rng.integers(0, 8, n).astype(float), rng.integers(0, 2, n)
    low, high = x[:, None] - reach, x[:, None] + reach
    found, cut, how = best_split(low, high, y, np.ones(n), np.arange(n), 0, 1.0)

    def at(t):
        left, right = high[:, 0] <= t, low[:, 0] > t

        def count(mask):
            return float((mask & (y == 0)).sum()), float((mask & (y == 1)).sum())

        value, placement = worst(count(left), count(right), count(~left & ~right))
        return value if placement else np.inf

    every = np.unique(np.concatenate([low, high]))
    assert found == pytest.approx(min(at(t) for t in every))
    if how:
        assert at(cut) == pytest.approx(found)


def test_without_an_attacker_it_is_an_ordinary_tree():
    x, y = load_breast_cancer(return_X_y=True)
    ours = robust_tree(x, y, 0.0, max_depth=1, min_samples_leaf=1)
    theirs = DecisionTreeClassifier(max_depth=1, random_state=0).fit(x, y)
    assert ours.tree_.feature[0] == theirs.tree_.feature[0]
    assert ours.tree_.threshold[0] == pytest.approx(theirs.tree_.threshold[0], rel=1e-4)
    assert ours.tree_.impurity == pytest.approx(theirs.tree_.impurity)
    assert robust_tree(x, y, 0.0, min_samples_leaf=1).score(x, y) == 1.0


def test_a_wide_gap_is_preferred_to_a_pure_but_narrow_one():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    narrow = np.where(y == 1, 0.51, 0.49)
    wide = np.where(rng.random(400) < 0.95, y, 1 - y) * 1.0
    x = np.stack([narrow, wide], axis=1)
    assert DecisionTreeClassifier(max_depth=1).fit(x, y).tree_.feature[0] == 0
    assert robust_tree(x, y, 0.1, max_depth=1).tree_.feature[0] == 1
    fixed = robust_tree(x, y, np.array([0.0, 0.1]), max_depth=1)  # who cannot move it
    assert fixed.tree_.feature[0] == 0


def test_they_are_plain_scikit_learn_objects_that_the_exact_search_reads():
    x, y = load_breast_cancer(return_X_y=True)
    names = np.array(["bad", "good"])[y]
    forest = robust_forest(x, names, 0.05 * x.std(axis=0), n_estimators=5, max_depth=4, seed=3)
    assert type(forest).__module__.startswith("sklearn.ensemble")
    assert forest.score(x, names) > 0.9
    stored = io.BytesIO()
    joblib.dump(forest, stored)
    assert b"crenel" not in stored.getvalue()
    stored.seek(0)
    assert (joblib.load(stored).predict_proba(x) == forest.predict_proba(x)).all()
    found = tree_distance(forest, x[:10], names[:10], scale=x.std(axis=0))
    hit = np.isfinite(found.upper)
    assert hit.any()
    assert (forest.predict(found.adversarial[hit]) != names[:10][hit]).all()
    again = robust_forest(x, names, 0.05 * x.std(axis=0), n_estimators=5, max_depth=4, seed=3)
    assert (again.predict_proba(x) == forest.predict_proba(x)).all()


@pytest.mark.parametrize(
    ("name", "file"), [("ionosphere", "ionosphere.csv"), ("sonar", "sonar.csv")]
)
def test_published_order_robust_above_ordinary(name, file):
    """Exact adversarial accuracy over the published folds, L-inf 0.1, depth 4."""
    if not PUBLISHED.is_dir():
        pytest.skip("the published trees are not beside this repository")
    table = pd.read_csv(PUBLISHED / "data" / file, header=None)
    x, y = table.iloc[:, :-1].to_numpy(float), pd.factorize(table.iloc[:, -1])[0]
    published = pd.read_csv(PUBLISHED / "json_results.csv")
    stood = {"ours": [], "ordinary": []}
    for a, b in StratifiedKFold(5, shuffle=True, random_state=1).split(x, y):
        ours = robust_tree(x[a], y[a], 0.1, max_depth=4, min_samples_leaf=1)
        plain = DecisionTreeClassifier(max_depth=4, random_state=0).fit(x[a], y[a])
        for key, tree in (("ours", ours), ("ordinary", plain)):
            found = tree_distance(tree, x[b], y[b])
            assert found.exact.all()
            stood[key].append((found.upper > 0.1).mean())
    theirs = published[(published["Dataset"] == name) & (published["Metric"] != "accuracy")]
    groot = theirs[theirs["Model"] == "GROOT"]["Score"].mean()
    assert np.mean(stood["ours"]) >= groot - 0.02
    assert np.mean(stood["ours"]) > np.mean(stood["ordinary"]) + 0.1


def test_bad_arguments_are_told():
    x, y = np.zeros((4, 2)), np.array([0, 1, 0, 1])
    with pytest.raises(UsageError, match="two classes"):
        robust_tree(x, [0, 1, 2, 0], 0.1)
    with pytest.raises(UsageError, match="missing"):
        robust_tree(np.full((4, 2), np.nan), y, 0.1)
    with pytest.raises(UsageError, match="epsilon"):
        robust_tree(x, y, -1.0)
    with pytest.raises(UsageError, match="epsilon"):
        robust_tree(x, y, np.ones(3))


def test_directions_are_those_that_both_halves_show():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 600)
    noise = rng.normal(size=(600, 3))
    x = np.stack([2 * y + noise[:, 0], -2 * y + noise[:, 1], noise[:, 2]], axis=1)
    assert directions(x, y).tolist() == [1, -1, 0]
    boosting = HistGradientBoostingClassifier()
    assert monotone(boosting, x, y)["monotonic_cst"].tolist() == [1, -1, 0]
    assert monotone(boosting, x, np.arange(600) % 3) == {}


@pytest.mark.parametrize("library", ["sklearn", "xgboost", "lightgbm"])
def test_settings_are_accepted_by_their_family(library):
    if library == "sklearn":
        estimator = HistGradientBoostingClassifier(max_iter=5)
    else:
        module = pytest.importorskip(library)
        kind = module.XGBClassifier if library == "xgboost" else module.LGBMClassifier
        estimator = kind(n_estimators=5, **({"verbose": -1} if library == "lightgbm" else {}))
    x, y = load_breast_cancer(return_X_y=True)
    own = estimator.get_params()
    found = wider_margins(estimator) + [("monotone", monotone(estimator, x, y))]
    assert len(found) >= 5
    for _, changed in found:
        assert changed
        fitted = type(estimator)(**{**own, **changed}).fit(x, y)
        assert (fitted.predict(x) == y).mean() > 0.8


def cancer(estimator, n=380):
    x, y = load_breast_cancer(return_X_y=True, as_frame=True)
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x.iloc[order, :8].reset_index(drop=True), y.to_numpy()[order]
    ids = np.arange(len(y))
    return Subject(
        "cells",
        model=wrap(estimator.fit(x.iloc[:n], y[:n])),
        train=Data(x.iloc[:n], y[:n], ids[:n]),
        test=Data(x.iloc[n:].reset_index(drop=True), y[n:], ids[n:]),
    )


@pytest.mark.parametrize(
    "estimator",
    [DecisionTreeClassifier(random_state=0),
     make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0))],
    ids=["tree", "tree in a pipeline"],
)  # fmt: skip
def test_more_rows_are_proven_to_stand_after_it(estimator, monkeypatch):
    monkeypatch.setattr(tree_hardening, "MOST", 300)
    subject = cancer(estimator)
    treated = robust_trees.apply(subject, None, Context("harden"))
    v = treated.values
    assert "trained again with" in treated.sentence
    assert v["robust_after"] > v["robust_before"]
    assert v["accuracy_after"] >= v["accuracy_before"] - 0.05
    assert treated.model is treated.subject.model.native
    assert type(treated.model) is type(subject.model.native)
    test, harm = subject.test, []
    train = subject.train.x
    scale = np.subtract(*np.percentile(train, [75, 25], axis=0))
    for s in (subject, treated.subject):  # by the exact distance in the trees' own input
        z = test.x if s.model.transform is None else s.model.transform(test.x)
        width = scale
        if s.model.transform is not None:
            fed = s.model.transform(train)
            width = np.subtract(*np.percentile(fed, [75, 25], axis=0))
        found = tree_distance(s.model.final, np.asarray(z), test.y, scale=width, indices=True)
        harm.append((found.upper <= v["epsilon"]).mean())
    assert harm[1] < harm[0]
    again = treated.subject.model.fit(train, subject.train.y, 1)
    assert (again.predict(test.x) == test.y).mean() > 0.85


def test_trees_with_wide_margins_are_left_as_they_are(monkeypatch):
    monkeypatch.setattr(tree_hardening, "RADII", (0.05,))
    subject = wide_leaves()
    treated = robust_trees.apply(subject, None, Context("harden"))
    assert treated.subject is subject
    assert treated.model is None
    assert treated.sentence.startswith("nothing was changed")
