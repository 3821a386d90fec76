"""Estimates of what training without each source does, against training without it."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from crenel.adapters import wrap
from crenel.errors import NotApplicable
from crenel.evasion.trees.flat import flatten
from crenel.poisoning.influence import removal, source_influence
from crenel.poisoning.influence.boosting import Booster, boosting_without
from crenel.poisoning.influence.effects import Answers, compare
from crenel.poisoning.influence.forest import forest_without
from crenel.poisoning.influence.newton import groups, hessian, logistic_without, root
from crenel.poisoning.influence.removal import logistic_of
from crenel.poisoning.influence.ridge import as_shares, ridge_without
from crenel.subject import Data


def split(loader, sources=8, seed=0):
    x, y = loader(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(y))
    x, y, n = x[order], y[order].astype(np.int64), 2 * len(y) // 3
    source = np.random.default_rng(seed + 1).integers(0, sources, n)
    train = Data(
        x[:n], y[:n], np.arange(n), np.array([f"s{i:02d}" for i in range(sources)])[source]
    )
    return train, Data(x[n:], y[n:], np.arange(len(y) - n)), source


def loss(model, data):
    p = model.probabilities(data.x)[np.arange(len(data)), data.y]
    return -np.log(np.maximum(p, 1e-12)).mean()


def by_training(model, train, test, names):
    """Log loss taken off by training without each source."""
    with_all = loss(model.fit(train.x, train.y, 0), test)
    rest = [train.take(train.source != name) for name in names]
    return [with_all - loss(model.fit(part.x, part.y, 0), test) for part in rest]


def exact(c=1.0):
    return LogisticRegression(C=c, tol=1e-10, max_iter=20_000)


@pytest.mark.parametrize("loader", [load_breast_cancer, load_wine])
def test_a_newton_step_is_training_again_for_small_groups(loader):
    train, test, _ = split(loader)
    z = StandardScaler().fit(train.x)
    a, b = z.transform(train.x), z.transform(test.x)
    codes = np.arange(len(train)) % 40  # a few rows each
    fitted = exact().fit(a, train.y)
    answers = logistic_without(logistic_of(fitted), a, train.y, np.ones(len(train)), codes, b)
    np.testing.assert_allclose(answers.whole, fitted.predict_proba(b), atol=1e-5)
    for s, p in zip(range(6), answers.without, strict=False):
        again = exact().fit(a[codes != s], train.y[codes != s]).predict_proba(b)
        moved = np.abs(again - fitted.predict_proba(b)).max()
        assert np.abs(p - again).max() < max(0.2 * moved, 1e-5)


def test_small_and_large_groups_take_the_same_step():
    train, test, _ = split(load_wine)
    a, b = (StandardScaler().fit_transform(d.x) for d in (train, test))
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), len(a))
    weight = rng.random(len(a))
    h = hessian(a, p, weight)
    np.testing.assert_allclose(root(a, p, weight).T @ root(a, p, weight), h, atol=1e-9)
    fitted = logistic_of(exact().fit(a, train.y))
    halves, few = np.arange(len(a)) % 2, np.where(np.arange(len(a)) < 5, 0, 1)
    for codes in (halves, few):  # one through the Hessian, one through Woodbury's identity
        p = next(iter(logistic_without(fitted, a, train.y, np.ones(len(a)), codes, b).without))
        again = exact().fit(a[codes != 0], train.y[codes != 0]).predict_proba(b)
        assert np.abs(p - again).mean() < 0.05


def test_linear_estimates_rank_sources_as_training_does():
    train, test, source = split(load_breast_cancer, sources=15)
    flip = (source < 4) & (np.random.default_rng(3).random(len(train)) < 0.4)
    y = np.where(flip, 1 - train.y, train.y)
    train = Data(train.x, y, train.ids, train.source)
    model = wrap(make_pipeline(StandardScaler(), LogisticRegression()).fit(train.x, train.y))
    found = source_influence(model, train, test)
    assert found.method == "newton step"
    truth = by_training(model, train, test, found.names)
    assert spearmanr(found.loss, truth).statistic > 0.95
    assert set(found.names[np.argsort(-found.loss)[:4]]) == {"s00", "s01", "s02", "s03"}


OWN = [
    HistGradientBoostingClassifier(max_iter=15),
    GradientBoostingClassifier(n_estimators=8, random_state=0),
    RandomForestClassifier(15, random_state=0, class_weight="balanced"),
    ExtraTreesClassifier(10, random_state=0),
    BaggingClassifier(DecisionTreeClassifier(), 10, max_features=0.5, random_state=0),
    DecisionTreeClassifier(max_depth=4),
]


@pytest.mark.parametrize("estimator", OWN, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("loader", [load_breast_cancer, load_digits])
def test_trees_counted_again_with_all_rows_answer_as_the_model(estimator, loader):
    train, test, _ = split(loader)
    model = wrap(estimator.fit(train.x, train.y))
    codes = np.arange(len(train)) % 3
    answers = removal._by_leaves(model, train, test, codes, 0, None)
    np.testing.assert_allclose(answers.whole, model.probabilities(test.x), atol=1e-6)


@pytest.mark.parametrize("loader", [load_breast_cancer, load_digits])
def test_xgboost_counted_again_with_all_rows_answers_as_the_model(loader):
    xgboost = pytest.importorskip("xgboost")
    train, test, _ = split(loader)
    for settings in ({}, {"reg_lambda": 5, "learning_rate": 0.1}):
        model = wrap(xgboost.XGBClassifier(n_estimators=8, **settings).fit(train.x, train.y))
        answers = removal._by_leaves(model, train, test, np.arange(len(train)) % 3, 0, None)
        np.testing.assert_allclose(answers.whole, model.probabilities(test.x), atol=1e-5)


@pytest.mark.parametrize("loader", [load_breast_cancer, load_digits])
def test_lightgbm_counted_again_with_all_rows_answers_as_the_model(loader):
    lightgbm = pytest.importorskip("lightgbm")
    train, test, _ = split(loader)
    for settings in ({}, {"reg_lambda": 5, "learning_rate": 0.05}):
        fitted = lightgbm.LGBMClassifier(n_estimators=8, n_jobs=1, verbose=-1, **settings)
        model = wrap(fitted.fit(train.x, train.y))
        answers = removal._by_leaves(model, train, test, np.arange(len(train)) % 3, 0, None)
        np.testing.assert_allclose(answers.whole, model.probabilities(test.x), atol=1e-5)


def boosted_again(ensemble, rate, x, y, keep, test):
    """Leaves of given trees computed again on the rows kept, plainly."""
    k = len(ensemble.base)
    j = 1 if k == 2 else k
    counts = np.log(np.bincount(y[keep], minlength=k) / keep.sum())
    start = [counts[1] - counts[0]] if k == 2 else counts
    own, shown = np.tile(start, (len(x), 1)), np.tile(start, (len(test), 1))
    leaf, reached = ensemble.leaves(x), ensemble.leaves(test)
    for first in range(0, leaf.shape[1], j):
        e = np.exp(own)
        p = e / (1 + e) if k == 2 else e / e.sum(axis=1, keepdims=True)
        for c in range(j):
            g = p[:, c] - (y == (c if j > 1 else 1))
            h = p[:, c] * (1 - p[:, c])
            for node in np.unique(leaf[:, first + c]):
                rows = leaf[:, first + c] == node
                inside = rows & keep
                value = -rate * g[inside].sum() / h[inside].sum() if inside.any() else 0.0
                own[rows, c] += value
                shown[reached[:, first + c] == node, c] += value
    e = np.exp(shown)
    if k == 2:
        return np.column_stack([1 / (1 + e[:, 0]), e[:, 0] / (1 + e[:, 0])])
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("loader", [load_breast_cancer, load_wine])
def test_boosting_without_a_group_is_its_leaves_computed_again(loader):
    train, test, source = split(loader, sources=4)
    settings = {"max_iter": 12, "early_stopping": False, "min_samples_leaf": 5}
    fitted = HistGradientBoostingClassifier(**settings).fit(train.x, train.y)
    ensemble = flatten(fitted, train.x.shape[1]).ensemble
    answers = boosting_without(
        ensemble, Booster(0.1), train.x, train.y, np.ones(len(train)), source, test.x, 0
    )
    for s, p in enumerate(answers.without):
        want = boosted_again(ensemble, 0.1, train.x, train.y, source != s, test.x)
        np.testing.assert_allclose(p, want, atol=1e-4)


def test_following_a_sample_of_the_rows_comes_near_to_following_all():
    train, test, source = split(load_digits, sources=6)
    y = (train.y < 5).astype(np.int64)
    fitted = HistGradientBoostingClassifier(max_iter=30).fit(train.x, y)
    ensemble = flatten(fitted, train.x.shape[1]).ensemble
    every, some, none = (
        boosting_without(
            ensemble, Booster(0.1), train.x, y, np.ones(len(y)), source, test.x, 0, followed
        ).without
        for followed in (5000, 600, 2)
    )
    for p, q, r in zip(every, some, none, strict=True):
        assert np.abs(p - q).mean() < 0.5 * np.abs(p - r).mean()


def grown_share(tree, node, keep, x, y, row, k):
    """What a tree answers when sides without rows are closed, by recursion."""
    while tree.children_left[node] >= 0:
        below = x[:, tree.feature[node]].astype(np.float32) <= tree.threshold[node]
        left, right = keep & below, keep & ~below
        goes_left = np.float32(row[tree.feature[node]]) <= tree.threshold[node]
        if not left.any() or not right.any():
            goes_left = left.any()
        node = tree.children_left[node] if goes_left else tree.children_right[node]
        keep = left if goes_left else right
    return np.bincount(y[keep], minlength=k) / keep.sum()


def test_a_tree_without_a_group_closes_sides_that_keep_no_row():
    train, test, source = split(load_wine, sources=3)
    y = train.y.copy()
    y[source == 0] = (y[source == 0] + 1) % 3  # leaves of these rows alone
    fitted = DecisionTreeClassifier(random_state=0).fit(train.x, y)
    ensemble = flatten(fitted, train.x.shape[1]).ensemble
    bags = np.ones((1, len(y)))
    answers = forest_without(ensemble, bags, train.x, y, source, test.x)
    closed = 0
    for s, p in enumerate(answers.without):
        keep = source != s
        emptied = set(ensemble.leaves(train.x)[:, 0]) - set(ensemble.leaves(train.x[keep])[:, 0])
        closed += np.isin(ensemble.leaves(test.x)[:, 0], list(emptied)).sum()
        want = [grown_share(fitted.tree_, 0, keep, train.x, y, row, 3) for row in test.x]
        np.testing.assert_allclose(p, want, atol=1e-9)
    assert closed > 5


def table(seed, n=3000, sources=12, bad=4):
    """Rows of a curved rule from sources of many sizes, some of which turn labels."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 6))
    odds = 2 * x[:, 0] + x[:, 1] ** 2 - 1 + x[:, 2] * x[:, 3]
    y = (rng.random(n) < 1 / (1 + np.exp(-2 * odds))).astype(np.int64)
    source = rng.choice(sources, n, p=rng.dirichlet(np.full(sources, 2.0)))
    flip = (source < bad) & (rng.random(n) < 0.6)
    flip[2 * n // 3 :] = False
    y = np.where(flip, 1 - y, y)
    cut = 2 * n // 3
    names = np.array([f"s{i:02d}" for i in range(sources)])[source]
    train = Data(x[:cut], y[:cut], np.arange(cut), names[:cut])
    return train, Data(x[cut:], y[cut:], np.arange(n - cut))


@pytest.mark.parametrize(
    "estimator",
    [
        HistGradientBoostingClassifier(max_iter=30),
        RandomForestClassifier(25, min_samples_leaf=5, random_state=0),
    ],
    ids=lambda e: type(e).__name__,
)
def test_estimates_of_trees_rank_sources_as_training_does(estimator):
    train, test = table(0)
    model = wrap(estimator.fit(train.x, train.y))
    found = source_influence(model, train, test)
    assert found.method == "leaf refit"
    truth = by_training(model, train, test, found.names)
    assert spearmanr(found.loss, truth).statistic > 0.85


def test_other_models_are_stood_in_for_and_the_agreement_tells_how_well():
    train, test, source = split(load_breast_cancer)
    train.y[source == 2] = 1 - train.y[source == 2]
    model = wrap(AdaBoostClassifier(n_estimators=10).fit(train.x, train.y))
    found = source_influence(model, train, test)
    assert found.method == "newton step of a linear model"
    assert 0.5 < found.agreement < 1
    assert found.names[found.loss.argmax()] == "s02"
    wide = np.random.default_rng(0).normal(size=(len(train), 1600))
    images = Data(wide, train.y, train.ids, train.source)
    guess = wrap(lambda x: np.zeros(len(x), dtype=np.int64), classes=[0, 1])
    assert source_influence(guess, images, images).method == "ridge"
    one = Data(train.x, train.y, train.ids, np.full(len(train), "s"))
    with pytest.raises(NotApplicable, match="one source"):
        source_influence(model, one, test)


def test_ridge_is_trained_without_each_group():
    rng = np.random.default_rng(1)
    z, y, codes = rng.standard_normal((90, 4)), rng.integers(0, 3, 90), rng.integers(0, 5, 90)
    zt = rng.standard_normal((40, 4))

    def trained(rows):
        a = np.column_stack([z[rows], np.ones(rows.sum())])
        w = np.linalg.solve(a.T @ a + 2.0 * np.eye(5), a.T @ np.eye(3)[y[rows]])
        return as_shares(np.column_stack([zt, np.ones(40)]) @ w)

    answers = ridge_without(z, y, codes, 3, zt, 2.0)
    np.testing.assert_allclose(answers.whole, trained(np.ones(90, dtype=bool)))
    for s, p in enumerate(answers.without):
        np.testing.assert_allclose(p, trained(codes != s))


def test_effects_in_closed_form():
    whole = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
    other = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]])
    y = np.array([0, 1, 1, 0])
    names = np.array(["a", "b"])
    answers = Answers(whole, iter([other, whole]), "ridge")
    found = compare(answers, y, np.array([0, 1, 0, 0]), np.array([0, 0, 1]), names)
    assert found.accuracy.tolist() == [0.25, 0.0]
    assert found.loss[0] == pytest.approx(np.log(0.6 / 0.4) / 4)
    assert found.turned.tolist() == [0.25, 0.0]
    assert found.rates.tolist() == [[-0.25, 0.25], [0.0, 0.0]]
    assert found.rows.tolist() == [2, 1]
    assert found.agreement == 0.75


def test_groups_are_the_rows_of_each_code():
    assert [g.tolist() for g in groups(np.array([1, 0, 1, 2]))] == [[1], [0, 2], [3]]
