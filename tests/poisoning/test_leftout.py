"""Answers without each row, against trainings and countings without it."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler

from crenel.adapters import wrap
from crenel.errors import NotApplicable
from crenel.poisoning import review_labels
from crenel.poisoning.dose.corruption import relabel
from crenel.poisoning.influence.newton import Logistic
from crenel.poisoning.leftout.answers import left_out
from crenel.poisoning.leftout.halves import BINS, binned, by_halves, suits
from crenel.poisoning.leftout.logistic import logistic_left_out
from crenel.poisoning.leftout.trees import boosting_left_out, forest_left_out
from crenel.statistics import auc
from crenel.subject import Data


def flipped(x, y, share, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(y), round(share * len(y)), replace=False)
    bad = relabel(y.astype(np.int64), rows, int(y.max()) + 1, rng)
    return Data(x, bad, np.arange(len(y))), np.isin(np.arange(len(y)), rows)


def flat(model, x):
    from crenel.evasion.trees.flat import flatten

    found = flatten(model, x.shape[1])
    return found.ensemble, found.encode(x)


# --- logistic regression -------------------------------------------------------------------------


def test_one_newton_step_is_the_training_without_the_row():
    x, y = load_breast_cancer(return_X_y=True)
    x = StandardScaler().fit_transform(x)[:200]
    y = y[:200]
    tight = {"C": 0.1, "tol": 1e-10, "max_iter": 5000}
    model = LogisticRegression(**tight).fit(x, y)
    theta = np.column_stack([model.coef_, model.intercept_])
    penalty = np.append(np.full(x.shape[1], 10.0), 0.0)
    found = logistic_left_out(Logistic(theta, penalty), x, y, np.ones(200), 2)
    for row in range(0, 200, 20):
        rest = np.arange(200) != row
        again = LogisticRegression(**tight).fit(x[rest], y[rest])
        want = again.decision_function(x[row : row + 1])[0]
        before = model.decision_function(x[row : row + 1])[0]
        got = np.log(found[row, 1] / found[row, 0])
        assert abs(got - want) <= 0.1 * abs(before - want) + 1e-3


def test_sparse_rows_and_many_classes_lean_away_from_their_labels():
    digits = load_digits()
    x, y = StandardScaler().fit_transform(digits.data)[:600], digits.target[:600]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(x, y)
    rows = np.arange(600)
    without = left_out(wrap(model), Data(x, y, rows)).probabilities[rows, y]
    assert (without <= model.predict_proba(x)[rows, y] + 1e-9).all()
    words = [" ".join(np.array(list("abcdefgh"))[(v % 8).astype(int)]) for v in digits.data[:300]]
    table = pd.DataFrame({"text": [w.replace(" ", "xx ") for w in words]})
    label = (digits.target[:300] % 2).astype(np.int64)
    text = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(table["text"], label)
    found = left_out(wrap(text), Data(table, label, np.arange(300)))
    assert found.probabilities.shape == (300, 2)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(found.probabilities, found.unseen)


# --- trees ---------------------------------------------------------------------------------------


def test_a_forest_votes_without_the_row():
    x, y = load_breast_cancer(return_X_y=True)
    model = RandomForestClassifier(30, random_state=0, oob_score=True).fit(x, y)
    ensemble, z = flat(model, x)
    bags = np.stack([np.bincount(s, minlength=len(y)) for s in model.estimators_samples_])
    whole, without, unseen = forest_left_out(ensemble, bags.astype(float), z, y)
    np.testing.assert_allclose(whole, model.predict_proba(x), atol=1e-9)
    enough = (bags == 0).sum(axis=0) >= 1
    assert unseen is None or enough.all()
    for row in (0, 5, 77, 300):  # by the trees themselves
        votes, out = np.zeros(2), np.zeros(2)
        for tree, bag in zip(model.estimators_, bags, strict=True):
            path = tree.decision_path(x.astype(np.float32))[:, :].toarray().astype(bool)
            nodes = np.flatnonzero(path[row])[::-1]
            weight = bag * (np.arange(len(y)) != row)
            node = next(v for v in nodes if weight[path[:, v]].sum() > 0)
            share = np.bincount(y[path[:, node]], weight[path[:, node]], 2)
            votes += share / share.sum() * (0.25 if bag[row] else 1)
            out += (share / share.sum()) * (bag[row] == 0)
        np.testing.assert_allclose(without[row], votes / votes.sum(), atol=1e-9)
        np.testing.assert_allclose(model.oob_decision_function_[row], out / out.sum(), atol=1e-9)


def test_out_of_bag_votes_are_those_of_the_library():
    x, y = load_digits(return_X_y=True)
    model = RandomForestClassifier(60, random_state=0, oob_score=True).fit(x, y)
    ensemble, z = flat(model, x)
    bags = np.stack([np.bincount(s, minlength=len(y)) for s in model.estimators_samples_])
    unseen = forest_left_out(ensemble, bags.astype(float), z, y)[2]
    np.testing.assert_allclose(unseen, model.oob_decision_function_, atol=1e-9)


@pytest.mark.parametrize(
    "model",
    [
        HistGradientBoostingClassifier(max_iter=15, early_stopping=False, l2_regularization=1.0),
        GradientBoostingClassifier(n_estimators=10),
    ],
    ids=["histogram", "exact"],
)
def test_boosted_leaves_are_computed_without_the_row(model):
    from crenel.poisoning.influence.boosting import booster_of

    x, y = load_breast_cancer(return_X_y=True)
    model.fit(x, y)
    ensemble, z = flat(model, x)
    booster = booster_of(model, 2)
    whole, without = boosting_left_out(ensemble, booster, z, y, np.ones(len(y)))
    np.testing.assert_allclose(whole, model.predict_proba(x), atol=1e-4)
    leaf = ensemble.leaves(z)
    for row in (3, 200, 400):
        rest = np.arange(len(y)) != row
        margin = np.full(len(y), np.log(y.mean() / (1 - y.mean())))
        left = margin[row]
        for at in leaf.T:
            p = 1 / (1 + np.exp(-margin))
            g, h = p - y, p * (1 - p)
            mates = rest & (at == at[row])
            if h[mates].sum() > 1e-9:
                left -= booster.rate * g[mates].sum() / (h[mates].sum() + booster.penalty)
            values = np.bincount(at, g) / np.maximum(np.bincount(at, h) + booster.penalty, 1e-12)
            margin = margin - booster.rate * values[at]
        assert np.log(without[row, 1] / without[row, 0]) == pytest.approx(left, abs=2e-3)


# --- halves --------------------------------------------------------------------------------------


def test_a_label_has_no_part_in_the_answer_to_its_row_but_through_others():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 5))
    y = (x[:, 0] + 0.5 * rng.standard_normal(400) > 0).astype(np.int64)
    base = by_halves(x, y)
    moves = []
    for row in range(0, 400, 40):
        other = y.copy()
        other[row] = 1 - y[row]
        changed = by_halves(x, other)
        moves.append((changed[row, 1] - base[row, 1]) * (other[row] - y[row]))
    # A model that is shown the row moves towards the new label; this one does not.
    assert np.mean(moves) < 0.02
    assert auc(base[y == 1, 1], base[y == 0, 1]).value > 0.9


def test_halves_do_not_lean_to_labels_that_are_random():
    rng = np.random.default_rng(1)
    areas = []
    for _ in range(5):
        x, y = rng.standard_normal((600, 4)), rng.integers(0, 2, 600)
        p = by_halves(x, y)
        areas.append(auc(p[y == 1, 1], p[y == 0, 1]).value)
    assert np.mean(areas) < 0.53  # as any leave-one-out, rather against the label than for it


def test_bins_keep_the_order_and_resolve_rare_values():
    rng = np.random.default_rng(0)
    gains = np.where(rng.random(3000) < 0.9, 0, rng.integers(1, 10**5, 3000)).astype(float)
    gains[5] = np.nan
    table = pd.DataFrame({"gain": gains, "place": rng.choice(["a", "b", "c"], 3000)})
    bins = binned(table)
    assert bins.shape == (2, 3000)
    assert bins.max() < BINS
    assert len(np.unique(bins[0])) > 20
    known = np.delete(np.arange(3000), 5)
    order = known[np.argsort(gains[known], kind="stable")]
    assert (np.diff(bins[0][order].astype(int)) >= 0).all()
    for value in "abc":
        assert len(np.unique(bins[1][table["place"] == value])) == 1


# --- the review ----------------------------------------------------------------------------------


def models():
    forest = RandomForestClassifier(60, random_state=0)
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    yield "forest", forest
    yield "boosted", HistGradientBoostingClassifier(max_iter=40, random_state=0)
    yield "logistic", make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    yield "codes", make_pipeline(codes, forest)


@pytest.mark.parametrize(("name", "model"), list(models()), ids=[n for n, _ in models()])
def test_reviewed_without_training_flips_rank_as_by_folds_and_the_rate_holds(name, model):
    x, y = load_breast_cancer(return_X_y=True)
    if name == "codes":
        x = np.round(x[:, :8], 1)
    data, wrong = flipped(x, y, 0.08)
    fitted = wrap(model.fit(data.x, data.y))
    found, folds = review_labels(fitted, data, 0), review_labels(fitted, data, 0, folds=5)
    assert found.predicted.fits == 0
    assert folds.predicted.fits == 5
    area = auc(found.scores.score[wrong], found.scores.score[~wrong]).value
    assert area >= auc(folds.scores.score[wrong], folds.scores.score[~wrong]).value - 0.015
    # Without a row its neighbours lean away from it a little: the rate may come out a point high.
    assert found.scores.rate.low - 0.01 <= 0.08 <= found.scores.rate.high
    assert wrong[found.scores.flagged].mean() >= 0.6


def test_right_labels_raise_no_alarm_where_splits_saw_them():
    x, y = load_breast_cancer(return_X_y=True)
    data = Data(x, y.astype(np.int64), np.arange(len(y)))
    boosted = HistGradientBoostingClassifier(random_state=0).fit(x, y)
    scores = review_labels(wrap(boosted), data, 0).scores
    assert scores.rate.low == 0
    assert scores.flagged.mean() < 0.01


@pytest.mark.parametrize(
    "model",
    [
        MLPClassifier(max_iter=20),
        LogisticRegression(solver="liblinear", l1_ratio=1.0),
        ExtraTreesClassifier(20),  # every tree is shown every row
        HistGradientBoostingClassifier(max_iter=3),  # of more than two classes
    ],
    ids=lambda m: type(m).__name__,
)
def test_other_models_are_told_apart(model):
    x, y = load_digits(return_X_y=True)
    if isinstance(model, LogisticRegression):
        x, y = x[y < 2], y[y < 2]
    data = Data(x, y, np.arange(len(y)))
    with pytest.raises(NotApplicable):
        left_out(wrap(model.fit(x, y)), data)


@pytest.mark.parametrize("classes", [["yes", "no"], ["no", "yes", "maybe"]])
def test_classes_other_than_the_regressions_own_are_not_mistaken_for_them(classes):
    x, y = load_breast_cancer(return_X_y=True)
    x, label = StandardScaler().fit_transform(x), np.where(y == 1, "yes", "no")
    model = wrap(LogisticRegression().fit(x, label), classes=classes)
    data = Data(x, np.array([classes.index(v) for v in label]), np.arange(len(y)))
    with pytest.raises(NotApplicable):
        left_out(model, data)
    reviewed = review_labels(model, data, 0)
    assert reviewed.accuracy.low > 0.9
    assert reviewed.scores.rate.value < 0.1


def test_what_halves_are_made_for():
    table = pd.DataFrame({"a": np.arange(200.0), "b": ["x", "y"] * 100})
    y = np.arange(200) % 2
    assert suits(Data(table, y, y), 2)
    assert not suits(Data(table, y, y), 3)
    assert not suits(Data(np.zeros((200, 4, 4)), y, y), 2)
    assert not suits(Data(pd.DataFrame({"t": ["a text of several words"] * 200}), y, y), 2)
    assert not suits(Data(table[:50], y[:50], y[:50]), 2)
