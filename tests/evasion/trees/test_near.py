"""The search for near rows that proves nothing: valid, sound, and nearly as near as the exact."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

from crenel.evasion.trees import tree_distance

from .oracles import nearest
from .test_distance import MODELS, fitted


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", MODELS)
def test_bounds_enclose_brute_force(name, classes):
    model, x, _ = fitted(name, classes)
    rows = x[:12]
    label = model.predict(rows)
    found = tree_distance(model, rows, label, exact=False)
    truth = np.array([nearest(model, row, c) for row, c in zip(rows, label)])
    assert (found.upper >= truth - 1e-9).all()
    assert (found.lower <= truth + 1e-9).all()
    assert (model.predict(found.adversarial) != label).all()
    step = np.abs(found.adversarial.astype(float) - rows).max(axis=1)
    np.testing.assert_allclose(step, found.upper, rtol=1e-6)
    assert found.upper.mean() < 1.1 * truth.mean() + 1e-9


@pytest.mark.parametrize("norm", [1, 2])
@pytest.mark.parametrize("name", ["xgboost", "forest"])
def test_other_norms_are_measured_in_them(name, norm):
    model, x, _ = fitted(name, 3)
    rows, label = x[:10], model.predict(x[:10])
    found = tree_distance(model, rows, label, norm=norm, exact=False)
    truth = np.array([nearest(model, row, c, norm) for row, c in zip(rows, label)])
    step = np.linalg.norm(found.adversarial.astype(float) - rows, ord=norm, axis=1)
    np.testing.assert_allclose(step, found.upper, rtol=1e-6)
    assert (model.predict(found.adversarial) != label).all()
    assert (found.upper >= truth - 1e-9).all()
    assert (found.lower <= truth + 1e-9).all()
    assert found.upper.mean() < 1.5 * truth.mean()


@pytest.mark.parametrize("name", ["xgboost", "histogram", "forest"])
def test_box_scale_and_missing_values_are_kept(name):
    model, x, _ = fitted(name, 2, width=3, missing=0.2)
    rows, label = x[:20], model.predict(x[:20])
    low, high = np.array([-1.0, -np.inf, -0.5]), np.array([1.0, np.inf, 0.5])
    scale = np.array([0.5, 2.0, 1.0])
    found = tree_distance(model, rows, label, box=(low, high), scale=scale, exact=False)
    full = tree_distance(model, rows, label, box=(low, high), scale=scale)
    hit = np.isfinite(found.upper)
    np.testing.assert_array_equal(hit, np.isfinite(full.upper))
    changed, own = found.adversarial[hit], rows[hit]
    np.testing.assert_array_equal(np.isnan(changed), np.isnan(own))
    assert (model.predict(changed) != label[hit]).all()
    # The bounds are widened to values of the rows that lie outside.
    assert not (changed < np.fmin(low, own)).any()
    assert not (changed > np.fmax(high, own)).any()
    step = np.nan_to_num(np.abs(changed.astype(float) - own) / scale).max(axis=1)
    np.testing.assert_allclose(step, found.upper[hit], rtol=1e-6)
    assert (found.upper >= full.upper).all()
    assert (found.lower <= full.upper).all()


def test_whole_numbers_stay_whole():
    model, x, _ = fitted("boosting", 2, width=3)
    rows = np.round(x[:40] * 3)
    model = model.__class__(n_estimators=20, random_state=0).fit(rows, x[:40, 0] > 0)
    label = model.predict(rows)
    found = tree_distance(model, rows, label, integer=[True] * 3, exact=False)
    hit = np.isfinite(found.upper)
    assert hit.any()
    np.testing.assert_array_equal(found.adversarial[hit], np.round(found.adversarial[hit]))
    assert (model.predict(found.adversarial[hit]) != label[hit]).all()


def test_a_row_alone_is_turned_without_others_to_draw_in():
    model, x, _ = fitted("forest", 3)
    for row, label in zip(x[:6], model.predict(x[:6])):
        found = tree_distance(model, row[None], [label], exact=False)
        assert model.predict(found.adversarial)[0] != label
        assert found.upper[0] >= tree_distance(model, row[None], [label]).upper[0]


def test_what_nothing_turns_has_no_distance():
    model, x, _ = fitted("forest")
    label = model.predict(x[:5])
    found = tree_distance(model, x[:5], label, scale=[0, np.inf], exact=False)
    assert np.isinf(found.upper).all()
    assert np.isnan(found.adversarial).all()
    wrong = tree_distance(model, x[:5], 1 - label, exact=False)
    np.testing.assert_array_equal(wrong.upper, 0)


@pytest.fixture(scope="module", params=[RandomForestClassifier, ExtraTreesClassifier])
def larger(request):
    x, y = load_breast_cancer(return_X_y=True)
    x = ((x - x.min(0)) / np.ptp(x, axis=0)).astype(np.float32)
    model = request.param(60, max_depth=6, random_state=0).fit(x[:400], y[:400])
    return model, x[400:], model.predict(x[400:])


def test_boxes_bring_rows_nearer_and_are_counted(larger):
    model, x, label = larger
    drawn = tree_distance(model, x, label, exact=False, node_limit=0)
    boxed = tree_distance(model, x, label, exact=False)
    assert (drawn.nodes == 0).all()
    assert (drawn.lower == 0).all()
    assert boxed.nodes.max() < 1_200  # the last try may end a little later
    assert boxed.upper.mean() < 0.97 * drawn.upper.mean()
    for found in (drawn, boxed):
        assert np.isfinite(found.upper).all()
        assert (model.predict(found.adversarial) != label).all()


def test_bounds_of_a_larger_forest_enclose_the_proven_ones(larger):
    model, x, label = larger
    near = tree_distance(model, x[:20], label[:20], exact=False)
    full = tree_distance(model, x[:20], label[:20], node_limit=5_000)
    assert (near.upper >= full.lower).all()
    assert (near.lower <= full.upper).all()
    assert (near.lower > 0).any()
    assert near.upper.mean() < 1.3 * full.upper.mean()


def test_threads_and_a_deadline():
    model, x, _ = fitted("forest", 3)
    label = model.predict(x)
    one, two = (tree_distance(model, x, label, exact=False, workers=w) for w in (1, 2))
    np.testing.assert_array_equal(one.upper, two.upper)
    late = tree_distance(model, x, label, exact=False, deadline=0.0)
    assert (late.lower <= late.upper).all()
    assert np.isinf(late.upper).all()
