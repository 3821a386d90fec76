"""What stands out beside other networks: closed forms, false alarms, nature explained away."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from crenel.transfer.hidden.beside import (
    AGAIN,
    CORRELATION,
    USUAL,
    Beside,
    joined,
    seen_twice,
    stand_beside,
)

WAYS = tuple(USUAL)


def network(rng, nature, noise=1.0, ratios=(1.0, 1.0, 1.0)):
    """Costs of ten classes in three ways: their nature, and what differs by chance.

    What differs is that many times the usual spread of a way, as two networks share it.
    """
    common = rng.normal(size=nature.shape[1])
    own = np.sqrt(CORRELATION) * common + np.sqrt(1 - CORRELATION) * rng.normal(size=nature.shape)
    usual = noise * np.array(ratios) * np.array(list(USUAL.values())) / np.sqrt(2)
    return dict(zip(WAYS, np.exp(nature + usual[:, None] * own)))


def natures(rng, k=10):
    return rng.normal(0, 0.8, (3, k))


def test_one_way_is_students_prediction_interval_of_what_is_left():
    own = np.array([9.0, 12.0, 10.0, 2.0, 11.0, 14.0])
    there = [
        np.array([8.0, 13.0, 11.0, 9.0, 9.0, 15.0]),
        np.array([9.0, 9.0, 9.0, 8.0, 12.0, 12.0]),
    ]
    told, *others = stand_beside({"patch": own}, [{"patch": t} for t in there])
    gaps = np.log(own) - (np.log(there[0]) + np.log(there[1])) / 2
    rest = np.delete(gaps, 3)
    t = (rest.mean() - gaps[3]) / (rest.std(ddof=1) * np.sqrt(1 + 1 / 5))
    assert told.at == 3
    assert told.p == pytest.approx(6 * stats.t.sf(t, 4))
    assert told.parts == {"patch": pytest.approx(stats.t.sf(t, 4))}
    assert sorted([3, *(o.at for o in others)]) == list(range(6))
    assert all(o.p > 0.3 for o in others)


def test_ways_tell_together_how_much_classes_differ(monkeypatch):
    """By hand, for a class among six in two ways that are independent."""
    monkeypatch.setattr("crenel.transfer.hidden.beside.CORRELATION", 0.0)
    gaps = {
        "patch": np.array([0.3, -0.2, 0.1, -1.4, 0.25, -0.1]),
        "faint wave": np.array([0.02, -0.08, 0.05, -0.3, 0.01, -0.04]),
    }
    there = {way: np.full(6, 2.0) for way in gaps}
    told = stand_beside({way: 2 * np.exp(g) for way, g in gaps.items()}, [there])[0]
    assert told.at == 3
    rest = {way: np.delete(g, 3) for way, g in gaps.items()}
    shares = {way: r.var(ddof=1) / USUAL[way] ** 2 for way, r in rest.items()}
    for way, other in (("patch", "faint wave"), ("faint wave", "patch")):
        # half its own, half the mean of both
        variance = USUAL[way] ** 2 * (0.75 * shares[way] + 0.25 * shares[other])
        t = (gaps[way][3] - rest[way].mean()) / np.sqrt(variance * (1 + 1 / 5))
        freedom = 4 / (0.75**2 + 0.25**2)
        assert told.parts[way] == pytest.approx(stats.t.cdf(t, freedom)), way


def test_other_ways_make_a_class_seen_in_one_of_them_found_more_often():
    """By the spread of the other classes in one way alone, 92 of these 200 would be."""
    rng = np.random.default_rng(21)
    found = 0
    for _ in range(200):
        nature = natures(rng)
        own, there = network(rng, nature), network(rng, nature)
        own["faint wave"][3] *= np.exp(-5 * USUAL["faint wave"])
        first = stand_beside(own, [there])[0]
        found += first.at == 3 and first.p < 0.015
    assert found >= 130


def test_independent_chances_would_be_joined_as_fisher_does():
    told = np.array([0.03, 0.2, 0.01])
    assert joined(told[:, None], 0.0)[0] == pytest.approx(stats.combine_pvalues(told)[1])


@pytest.mark.parametrize(
    ("others", "ratios", "most"),
    [
        (1, (1.0, 1.0, 1.0), 0.03),
        (2, (1.0, 1.0, 1.0), 0.03),
        # waves that differ more than they usually do beside patches, as on imagined images
        (1, (0.9, 0.85, 1.35), 0.04),
        # and as beside two controls that are taught by answers
        (2, (0.7, 0.73, 1.3), 0.04),
    ],
)
def test_where_nothing_is_planted_a_class_stands_out_as_rarely_as_is_said(others, ratios, most):
    rng = np.random.default_rng(others)
    told = []
    for _ in range(1_500):
        nature = natures(rng)
        noise = np.exp(rng.normal(0, 0.3))  # some networks differ more, in all ways
        own, *there = (network(rng, nature, noise, ratios) for _ in range(1 + others))
        told.append(stand_beside(own, there)[0].p)
    # dependence between ways and views is paid for, not used; two counts are tried
    assert np.mean(np.array(told) < 0.02) <= most
    assert np.mean(np.array(told) < 0.1) <= 0.13
    assert np.mean(np.array(told) < 0.1) >= 0.05


def test_a_class_that_is_easy_everywhere_is_not_and_one_that_is_easy_here_alone_is():
    rng = np.random.default_rng(3)
    nature = natures(rng)
    nature[:, 4] = -3.0
    own, there = network(rng, nature), network(rng, nature)
    assert stand_beside(own, [there])[0].p > 0.1
    own["blend"][7] /= 5
    own["patch"][7] /= 6
    told = stand_beside(own, [there])[0]
    assert told.at == 7
    assert told.p < 0.001
    assert told.parts["faint wave"] > 0.01


def test_a_trigger_in_one_way_alone_is_not_lost_among_the_others():
    rng = np.random.default_rng(4)
    nature = natures(rng)
    own, there = network(rng, nature), network(rng, nature)
    own["faint wave"][1] /= 12
    told = stand_beside(own, [there])[0]
    assert told.at == 1
    assert told.p < 0.01


def test_a_second_planted_class_does_not_hide_the_first():
    rng = np.random.default_rng(1)
    nature = natures(rng)
    own, there = network(rng, nature), network(rng, nature)
    for way in WAYS:
        own[way][[2, 7]] /= (5.0, 9.0)
    first, second, third = stand_beside(own, [there])[:3]
    assert {first.at, second.at} == {2, 7}
    assert second.p < 0.001
    assert third.p > 0.1


def test_a_way_that_reached_nothing_or_was_not_tried_everywhere_tells_nothing():
    rng = np.random.default_rng(2)
    nature = natures(rng)
    own, there = network(rng, nature), network(rng, nature)
    del there["faint wave"]
    own["blend"][:] = np.inf
    told = stand_beside(own, [there])
    assert set(told[0].parts) == {"patch"}
    assert told == stand_beside({"patch": own["patch"]}, [there])
    with pytest.raises(ValueError, match="no way"):
        stand_beside({"blend": own["blend"]}, [there])
    with pytest.raises(ValueError, match="3 classes"):
        stand_beside({"patch": own["patch"][:3]}, [{"patch": there["patch"][:3]}])


def test_what_is_far_easier_than_all_others_here_is_told_though_networks_differ_much():
    rng = np.random.default_rng(8)
    nature = 0.2 * natures(rng)
    own, there = network(rng, nature), network(rng, 5 * natures(rng))
    for way in WAYS:
        own[way][6] /= 10
    assert stand_beside(own, [there])[0].p > 0.05
    told = stand_beside(own, [there], among=own["patch"] * own["blend"] ** 2)[0]
    assert told.at == 6
    assert told.p < 0.01


def test_the_view_among_the_classes_is_paid_for():
    rng = np.random.default_rng(9)
    alarms = []
    for _ in range(1_000):
        own, there = (network(rng, nature) for nature in [0.5 * natures(rng)] * 2)
        alarms.append(stand_beside(own, [there], among=own["patch"] * own["blend"] ** 2)[0].p)
    assert np.mean(np.array(alarms) < 0.03) <= 0.045


def test_classes_that_were_not_searched_count_as_choices():
    rng = np.random.default_rng(6)
    nature = natures(rng)
    own, there = network(rng, nature), network(rng, nature)
    own["patch"][5] /= 6
    few, many = stand_beside(own, [there])[0], stand_beside(own, [there], choices=30)[0]
    assert many.at == few.at == 5
    assert many.p == pytest.approx(3 * few.p)


def _looks(alone):
    """One look with the chances of its classes alone."""
    return sorted(
        (Beside(i, q, min(1.0, len(alone) * q), {"patch": q}) for i, q in enumerate(alone)),
        key=lambda b: b.p,
    )


def test_independent_looks_would_be_joined_as_fisher_does_times_the_classes(monkeypatch):
    monkeypatch.setattr("crenel.transfer.hidden.beside.AGAIN", 0.0)
    first, second = _looks([0.4, 0.02, 0.9, 0.6]), _looks([0.01, 0.03, 0.5, 0.7])
    told = seen_twice(first, second, 4)
    expected = 4 * stats.combine_pvalues([0.02, 0.03])[1]
    assert told[0].at == 1
    assert told[0].p == pytest.approx(expected)
    assert [b.p for b in told] == sorted(b.p for b in told)


def test_a_class_seen_in_both_looks_stands_out_and_one_seen_in_the_second_alone_does_less():
    rest = [0.3, 0.5, 0.7, 0.9, 0.4, 0.6, 0.8]
    faint = seen_twice(_looks([0.0025, *rest]), _looks([0.0035, *rest]), 8)[0]
    assert faint.at == 0
    assert faint.p < 0.01 < 8 * 0.0025
    alone = seen_twice(_looks([0.5, *rest]), _looks([0.0035, *rest]), 8)[0]
    assert alone.p > 8 * 0.0035
    first = seen_twice(_looks([0.0001, *rest]), _looks([0.9, *rest]), 8)[0]
    assert first.p == pytest.approx(8 * 0.0001)
    assert first.parts == {"patch": 0.0001}


def test_two_looks_that_go_together_by_chance_raise_no_more_alarms_than_is_said():
    rng = np.random.default_rng(7)
    told = []
    for _ in range(4_000):
        common = rng.normal(size=10)
        looks = [
            _looks(stats.norm.cdf(np.sqrt(AGAIN) * common + np.sqrt(1 - AGAIN) * own).tolist())
            for own in rng.normal(size=(2, 10))
        ]
        told.append(min(1.0, 2 * seen_twice(*looks, 10)[0].p))
    assert np.mean(np.array(told) < 0.03) <= 0.036
    assert np.mean(np.array(told) < 0.1) <= 0.11
    assert np.mean(np.array(told) < 0.1) >= 0.04
