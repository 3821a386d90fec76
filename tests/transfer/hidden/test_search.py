"""Which classes are searched where there are many, and what too little time does."""

from __future__ import annotations

import time

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from crenel.check import Context  # noqa: E402
from crenel.transfer.checks import hidden_behaviour  # noqa: E402
from crenel.transfer.hidden import controls  # noqa: E402
from crenel.transfer.hidden.beside import stand_beside  # noqa: E402
from crenel.transfer.hidden.inversion import Inverted  # noqa: E402
from crenel.transfer.hidden.outliers import Outlier  # noqa: E402
from crenel.transfer.hidden.search import (  # noqa: E402
    Margins,
    Searched,
    Verdict,
    energies,
    shortlist,
    verdicts_beside,
    verdicts_of,
)


def test_of_many_classes_those_of_the_largest_margins_and_as_many_others_are_searched():
    values = np.linspace(1, 2, 43)
    values[[7, 30]] = [9.0, 8.0]
    picked = shortlist(Margins(values, Outlier((7,), 0.01, 0.2)), np.random.default_rng(0))
    assert len(set(picked.tolist())) == len(picked) == 20
    assert {7, 30, 42, 41} <= set(picked.tolist())
    assert (np.diff(picked) > 0).all()


def _searched(costs, classes):
    blank = torch.zeros(len(costs), 1, 2, 2)
    return [
        Searched(Inverted(f, classes, blank, blank, np.asarray(c), 0), 10, 10)
        for f, c in zip(("patch", "blend", "wave"), costs)
    ]


def _margins(k, top=None, by=1.0):
    """Margins of k classes, one of which is so many times the usual one."""
    values = np.exp(1 + 0.1 * np.linspace(-1, 1, k))
    if top is not None:
        values[top] = np.exp(1) * by
    return Margins(values, Outlier((0,), 1.0, 1.0))


def test_classes_left_out_make_the_chance_larger():
    rng = np.random.default_rng(4)
    costs = [np.exp(rng.normal(3, 0.2, 20)), np.exp(rng.normal(1, 0.1, 20))]
    costs[0][5], costs[1][5] = 1.0, 0.5
    found = _searched(costs, np.arange(0, 40, 2))
    (few,), (many,) = verdicts_of(found, _margins(20)), verdicts_of(found, _margins(40))
    assert few.goal == many.goal == 10
    assert many.parts["cost"] == pytest.approx(2 * few.parts["cost"])
    # where margins chose the classes they are no evidence any more
    assert set(few.parts) == {"cost", "margin"}
    assert set(many.parts) == {"cost"}
    assert few.less["patch"] == pytest.approx(np.median(np.delete(costs[0], 5)))


def test_a_family_that_reached_no_class_gives_no_verdict():
    found = _searched([[np.inf] * 5, [1.0, 2.0, 3.0, 4.0, 5.0]], np.arange(5))
    assert verdicts_of(found, _margins(5)) == []


def _three(rng, easy):
    """Costs of ten classes in three families; class 4 is easier by some factors."""
    costs = [np.exp(rng.normal(m, 0.2, 10)) for m in (3, 1, 2)]
    for own, factor in zip(costs, easy):
        own[4] /= factor
    return _searched(costs, np.arange(10))


def test_a_trigger_spread_in_waves_stands_out_by_them_and_a_patch_without_them():
    rng = np.random.default_rng(1)
    (wave,) = verdicts_of(_three(rng, (1.0, 1.3, 8.0)), _margins(10, 4))
    assert wave.goal == 4
    assert wave.stands_out
    (without,) = verdicts_of(_three(np.random.default_rng(1), (1.0, 1.3, 8.0))[:2], _margins(10, 4))
    assert not without.stands_out
    (patch,) = verdicts_of(_three(rng, (9.0, 2.5, 1.0)), _margins(10, 4))
    assert patch.goal == 4
    assert patch.stands_out


def test_waves_that_reach_no_class_say_nothing_and_hide_nothing():
    found = _three(np.random.default_rng(1), (9.0, 2.5, 1.0))
    found[2].found.costs[:] = np.inf
    (verdict,) = verdicts_of(found, _margins(10))
    assert verdict.goal == 4
    assert verdict.stands_out


def test_where_nothing_is_planted_a_class_stands_out_as_rarely_as_is_said():
    alarms = [
        verdicts_of(_three(np.random.default_rng(seed), (1, 1, 1)), _margins(10, 4))[0].chance
        for seed in range(400)
    ]
    assert np.mean(np.array(alarms) < 0.05) <= 0.1  # one class, or two of them


def test_cost_and_margin_are_joined_as_fisher_does_and_both_views_are_paid_for():
    from scipy import stats

    for verdict in verdicts_of(_three(np.random.default_rng(3), (2, 1.5, 1)), _margins(10, 4)):
        told = [verdict.parts["cost"], verdict.parts["margin"]]
        both = 2 * stats.combine_pvalues(told, method="fisher")[1]
        assert verdict.chance == pytest.approx(min(1.0, both))


def test_a_verdict_beside_siblings_names_classes_by_their_own_positions():
    rng = np.random.default_rng(5)
    shown = np.arange(0, 24, 2)
    costs = np.exp(rng.normal(2, 0.6, 12))
    own, there = {"patch": costs.copy()}, {"patch": costs * np.exp(rng.normal(0, 0.1, 12))}
    own["patch"][7] /= 5
    found = _searched([own["patch"], costs], shown)
    among = energies(found, ("patch", "blend"))
    (few,) = verdicts_beside(stand_beside(own, [there], 12, among), found, 1)
    (many,) = verdicts_beside(stand_beside(own, [there], 24, among), found, 1)
    own["patch"][7] *= 5
    (usual,) = verdicts_beside(stand_beside(own, [there], 12, among), found, 1)
    assert not usual.stands_out
    assert few.goal == many.goal == 14
    assert few.siblings == 1
    assert few.stands_out
    assert many.chance == pytest.approx(2 * few.chance)


def test_the_bound_is_wider_beside_siblings():
    assert not Verdict(0, 0.025, {}, {}).stands_out
    assert Verdict(0, 0.025, {}, {}, siblings=1).stands_out
    assert not Verdict(0, 0.035, {}, {}, siblings=2).stands_out


def test_a_large_margin_speaks_for_the_class_that_is_easy_and_for_no_other():
    found = _three(np.random.default_rng(1), (2.0, 1.2, 1.5))
    chances = [
        verdicts_of(found, margins)[0].chance
        for margins in (_margins(10, 4, by=2.0), _margins(10, 4), _margins(10, 7, by=2.0))
    ]
    assert chances[0] < chances[1] / 20
    assert chances[1] < 2 * chances[2]


def test_a_search_without_time_says_that_its_silence_means_nothing():
    subject = controls.planted_trigger()
    context = Context(check="TRA-104", deadline=time.monotonic() + 0.2)
    got = hidden_behaviour.measure(subject, context)
    assert "gradients" in got.partial
    assert all(not e.health.ok for e in got.exposures)
