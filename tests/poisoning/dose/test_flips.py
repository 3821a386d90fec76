"""Labels chosen by influence, against ridge trained again, finite differences and training."""

from itertools import product

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from crenel.adapters import wrap
from crenel.check import Context
from crenel.poisoning.dose.attacks import chosen_flips, random_flips
from crenel.poisoning.dose.flips import SMOOTH, Chooser, Flips
from crenel.poisoning.dose.response import Point, Response, dose_response
from crenel.poisoning.sources.report import rows_for
from crenel.statistics import Interval
from crenel.subject import Data


def rows(n=120, k=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    y = (x[:, 0] + 0.5 * rng.normal(size=n) > 0).astype(np.int64)
    y[x[:, 1] > 1] = k - 1
    return Data(x, y, np.arange(n))


def ridge(data, labels, k=3):
    z = (data.x - data.x.mean(axis=0)) / data.x.std(axis=0)
    a = np.column_stack([z, np.ones(len(z))])
    return a @ np.linalg.solve(a.T @ a + np.eye(5), a.T @ np.eye(k)[labels])


def test_the_error_is_that_of_ridge_trained_on_the_turned_labels():
    data = rows()
    chooser = Chooser(data, 3, 0)
    own, labels = np.array([3, 50, 70, 71]), np.array([2, 0, 1, 2])
    changed = data.y.copy()
    changed[own] = labels
    want = (ridge(data, changed).argmax(axis=1) != data.y).mean()
    assert chooser.error(own, labels) == pytest.approx(want)


def test_influence_is_the_slope_of_the_smoothed_error():
    data = rows()
    harm = Chooser(data, 3, 0).harm()

    def smoothed(targets):
        z = (data.x - data.x.mean(axis=0)) / data.x.std(axis=0)
        a = np.column_stack([z, np.ones(len(z))])
        values = a @ np.linalg.solve(a.T @ a + np.eye(5), a.T @ targets)
        p = np.exp(values / SMOOTH)
        p /= p.sum(axis=1, keepdims=True)
        return SMOOTH * (1 - p[np.arange(len(p)), data.y]).sum()

    targets = np.eye(3)[data.y]
    for row, label in ((5, 2), (80, 0), (101, 1)):
        step = np.zeros_like(targets)
        step[row] = 1e-5 * (np.eye(3)[label] - targets[row])
        slope = (smoothed(targets + step) - smoothed(targets - step)) / 2e-5
        assert harm[row, label] == pytest.approx(slope, abs=1e-6)


def test_the_choice_comes_near_to_the_worst_of_all_choices():
    data = rows(40, k=2, seed=3)
    chooser, own = Chooser(data, 2, 0), np.arange(0, 40, 4)
    found = chooser.worst(own)[0]
    every = []
    for turn in product((False, True), repeat=len(own)):
        chosen = own[np.array(turn)]
        every.append(chooser.error(chosen, 1 - data.y[chosen]) if len(chosen) else 0.0)
    everything = chooser.error(own, 1 - data.y[own])
    assert found.error >= everything
    assert np.mean(np.array(every) <= found.error) > 0.95


def test_chosen_labels_cost_more_than_random_ones_and_touch_no_other_row():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3000, 5))
    y = (x[:, 0] + 0.3 * rng.normal(size=3000) > 0).astype(np.int64)
    train = Data(x[:1500], y[:1500], np.arange(1500))
    test = Data(x[1500:], y[1500:], np.arange(1500))
    own = np.arange(0, 1500, 3)
    flips = Chooser(train, 2, 0).worst(own)[0]
    attack = chosen_flips(flips, test)
    poisoned = attack.poison(train, flips.rows[:40])
    changed = np.flatnonzero(poisoned.y != train.y)
    assert set(changed) == set(flips.rows[:40]) <= set(own)
    model = wrap(LogisticRegression().fit(train.x, train.y))
    attacks = [attack, random_flips(train, test, 2, own)]
    chosen, chance = dose_response(
        model, train, attacks, [[len(flips.rows)]] * 2, 1, Context("POI-103", jobs=1)
    )
    assert chosen.points[0].harm.low > chance.points[0].harm.high


def test_rows_for_a_part_of_the_effect_lie_between_doses():
    points = [
        Point(10, Interval(0.02, 0, 1), 1), Point(20, Interval(0.01, 0, 1), 1),
        Point(40, Interval(0.10, 0, 1), 1),
    ]  # fmt: skip
    response = Response(None, tuple(points), 0.0, None, 100, 3)
    assert rows_for(response, 0.1) == 5
    assert rows_for(response, 0.6) == 30  # 0.02 at 20 rows, 0.10 at 40
    assert rows_for(response, 1.0) == 40


def test_flips_are_applied_to_a_copy():
    data = rows()
    before = data.y.copy()
    changed = Flips(np.array([1, 2]), np.array([2, 2]), 0.0).applied(data)
    assert changed.y[[1, 2]].tolist() == [2, 2]
    np.testing.assert_array_equal(data.y, before)
