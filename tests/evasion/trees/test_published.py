"""Figures that others published, on their models and data."""

import numpy as np
import pytest
import xgboost
from sklearn.datasets import load_svmlight_file

from crenel.evasion.trees import tree_distance

from . import groot

FORESTS = groot.SHARED / "14_xgb_random_forests"
EPSILON = 0.1
SETS = ["banknote-authentication", "breast-cancer", "diabetes", "ionosphere", "sonar", "wine"]

needs_groot = pytest.mark.skipif(
    not groot.FOLDER.exists(), reason="the published GROOT trees are not beside the repository"
)
needs_forests = pytest.mark.skipif(
    not FORESTS.exists(), reason="the published XGBoost forests are not beside the repository"
)


def agrees_with_publication(method, name, fold):
    x, y = groot.fold(name, fold)
    ensemble = groot.ensemble(method, name, fold)
    # The study's attacker reaches what lies in [x - 0.1, x + 0.1] as float64 rounds these ends.
    found = tree_distance(ensemble, x, y, box=(x - EPSILON, x + EPSILON))
    key = groot.METHODS[method], name, fold
    assert found.exact.all()
    wrong, robust = found.upper == 0, np.isinf(found.upper)
    assert 1 - wrong.mean() == pytest.approx(groot.published()[*key, "accuracy"], abs=1e-9)
    published = groot.published()[*key, "adversarial accuracy"]
    assert robust.mean() == pytest.approx(published, abs=1e-9)


@needs_groot
@pytest.mark.parametrize("method", groot.METHODS)
@pytest.mark.parametrize("name", ["diabetes", "sonar"])
def test_adversarial_accuracy_of_published_trees(method, name):
    agrees_with_publication(method, name, 0)


@needs_groot
@pytest.mark.parametrize(
    ("method", "name", "fold"),
    [("sklearn", "diabetes", 1), ("sklearn", "wine", 0), ("groot", "spambase", 2)],
)
def test_rows_within_rounding_of_epsilon_count_as_published(method, name, fold):
    agrees_with_publication(method, name, fold)


@needs_groot
@pytest.mark.slow
@pytest.mark.parametrize("method", groot.METHODS)
@pytest.mark.parametrize("name", [*SETS, "spambase"])
@pytest.mark.parametrize("fold", range(5))
def test_adversarial_accuracy_of_all_140_published_trees(method, name, fold):
    agrees_with_publication(method, name, fold)


@needs_forests
@pytest.mark.parametrize(("norm", "mean"), [(np.inf, 0.332222), (1, 0.510000), (2, 0.402009)])
def test_published_forest_of_breast_cancer(norm, mean):
    booster = xgboost.Booster(model_file=str(FORESTS / "breast_cancer_rf.ubj"))
    x, y = load_svmlight_file(
        str(FORESTS / "breast_cancer_scale0.test"), n_features=11, zero_based=True
    )
    found = tree_distance(booster, x.toarray()[:100], y[:100].astype(int), norm=norm)
    assert found.exact.all()
    assert found.upper.mean() == pytest.approx(mean, abs=1e-6)
    answer = booster.predict(xgboost.DMatrix(found.adversarial)) > 0.5
    assert (answer != y[:100]).all()
