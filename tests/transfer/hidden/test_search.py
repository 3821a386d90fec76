"""Which classes are searched where there are many, and what too little time does."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from crenel.check import Context  # noqa: E402
from crenel.transfer.checks import hidden_behaviour  # noqa: E402
from crenel.transfer.hidden import controls  # noqa: E402
from crenel.transfer.hidden.inversion import Inverted  # noqa: E402
from crenel.transfer.hidden.outliers import Outlier  # noqa: E402
from crenel.transfer.hidden.search import (  # noqa: E402
    Margins,
    Searched,
    Verdict,
    shortlist,
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
    assert many.p == pytest.approx(2 * few.p)
    # where margins chose the classes they are no evidence any more
    assert few.margin is not None
    assert many.margin is None
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
    assert (wave.goal, wave.view) == (4, ("patch", "blend", "wave"))
    assert wave.stands_out
    (without,) = verdicts_of(_three(np.random.default_rng(1), (1.0, 1.3, 8.0))[:2], _margins(10, 4))
    assert not without.stands_out
    (patch,) = verdicts_of(_three(rng, (9.0, 2.5, 1.0)), _margins(10, 4))
    assert (patch.goal, patch.view) == (4, ("patch", "blend"))
    assert patch.stands_out


def test_waves_that_reach_no_class_say_nothing_and_hide_nothing():
    found = _three(np.random.default_rng(1), (9.0, 2.5, 1.0))
    found[2].found.costs[:] = np.inf
    (verdict,) = verdicts_of(found, _margins(10))
    assert verdict.goal == 4
    assert verdict.stands_out


def test_both_views_are_paid_for():
    """Where nothing is planted one of ten classes stands out as rarely as is said."""
    alarms = [
        verdicts_of(_three(np.random.default_rng(seed), (1, 1, 1)), _margins(10, 4))[0].p < 0.025
        for seed in range(400)
    ]
    assert np.mean(alarms) <= 0.1  # two views, two numbers of classes
    assert all(
        v.chance == pytest.approx(min(1.0, 2 * replace(v, views=1).chance))
        for v in verdicts_of(_three(np.random.default_rng(0), (1, 1, 1)), _margins(10, 4))
    )


def test_a_class_that_looks_usual_by_half_is_held_against_a_network_of_the_same_architecture():
    # the views are paid for in what is found, not in what is asked
    assert Verdict(2, 0.24, {}, views=2).unclear
    assert not Verdict(2, 0.4, {}, views=2).unclear


def test_what_is_easy_on_a_network_of_the_same_architecture_counts_no_more():
    rng = np.random.default_rng(2)
    nature = np.exp(rng.normal(0, 0.8, 10))
    nature[4] = 0.1

    def costs(easy):
        found = _three(rng, easy)
        for s in found:
            s.found.costs[:] *= nature
        return found

    own = costs((1.0, 1.0, 1.0))
    assert verdicts_of(own, _margins(10, 4))[0].p < 0.3
    assert not verdicts_of(own, _margins(10, 4), [costs((1.0, 1.0, 1.0))])[0].stands_out
    planted = costs((4.0, 2.0, 2.0))
    beside = verdicts_of(planted, _margins(10, 4), [costs((1.0, 1.0, 1.0))])[0]
    assert (beside.goal, beside.stands_out) == (4, True)
    assert beside.sibling < 0.02


def test_chances_are_joined_as_fisher_does():
    from scipy import stats

    for told in ([0.03, 0.02], [0.03, 0.2, 0.01]):
        one = Verdict(0, told[0], {}, sibling=told[1], margin=told[2] if told[2:] else None)
        assert one.chance == pytest.approx(stats.combine_pvalues(told, method="fisher")[1])
    assert Verdict(0, 0.03, {}).chance == pytest.approx(0.03)
    assert Verdict(0, 0.009, {}).stands_out
    assert not Verdict(0, 0.011, {}).stands_out
    assert not replace(Verdict(0, 0.009, {}), sibling=0.9).stands_out


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
