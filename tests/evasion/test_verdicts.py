"""Broken, certified or undecided; and the two sides of one curve."""

from __future__ import annotations

import numpy as np
import pytest

from crenel.access import Access, Attacker
from crenel.errors import UsageError
from crenel.evasion.curves import sandwich
from crenel.evasion.levels import gradients
from crenel.evasion.verdicts import Verdicts, just_below
from crenel.exposure import HealthTest


def verdicts(lower, upper, correct=None):
    lower, upper = np.asarray(lower, float), np.asarray(upper, float)
    correct = np.ones(len(lower), bool) if correct is None else np.asarray(correct)
    tests = (HealthTest(name="planted", ok=True),)
    return Verdicts(correct, lower, upper, np.zeros((len(lower), 1)), tests, Attacker.GRADIENTS)


def curve(v, epsilons):
    return sandwich(
        v, epsilons, check="T-1", name="L-inf distance", unit="", access=Access(), seed=0
    )  # fmt: skip


def test_a_row_ends_as_broken_certified_or_undecided():
    v = verdicts([0.0, 0.2, 0.1, 0.0], [0.1, np.inf, 0.3, 0.1], [True, True, True, False])
    assert list(v.status(0.1)) == ["broken", "certified", "certified", ""]
    assert list(v.status(0.25)) == ["broken", "undecided", "undecided", ""]


def test_an_exact_distance_is_broken_at_itself_and_certified_just_below():
    d = np.array([0.25])
    v = verdicts(just_below(d), d)
    assert list(v.status(0.25)) == ["broken"]
    assert list(v.status(np.nextafter(0.25, 0))) == ["certified"]


def test_a_proof_that_an_attack_contradicts_is_refused():
    with pytest.raises(ValueError, match=r"row 0 is proven up to 0\.3 and turned by 0\.2"):
        verdicts([0.3], [0.2])


def test_harm_is_what_was_broken_and_what_is_possible_is_what_was_not_certified():
    v = verdicts([0.0, 0.2, 0.1, 0.0], [0.1, np.inf, 0.3, 0.1], [True, True, True, False])
    harm = curve(v, [0.1, 0.25]).harm
    assert harm.values == pytest.approx((1 / 3, 1 / 3))
    assert harm.possible == pytest.approx((1 / 3, 1.0))
    assert harm.possible_high[0] > harm.possible[0]


def test_without_any_proof_nothing_is_said_of_what_is_possible():
    exposure = curve(verdicts([0.0, 0.0], [0.1, np.inf]), [0.1])
    assert exposure.harm.possible == ()
    assert exposure.possible_at(0.1) is None


def test_the_bound_between_two_radii_is_that_of_the_larger():
    exposure = curve(verdicts([0.1, 0.3], [0.2, np.inf]), [0.05, 0.2, 0.4])
    assert exposure.possible_at(0.1) == exposure.harm.possible_high[1]
    with pytest.raises(ValueError, match="above the measured"):
        exposure.possible_at(0.5)


def test_levels_have_the_stated_numbers_of_gradients():
    assert gradients("quick") == 80
    assert gradients("standard") == 300
    assert gradients("deep") > 300
    with pytest.raises(UsageError, match="quick, standard or deep"):
        gradients("fast")


def test_a_search_that_claims_every_row_counts_the_undecided_at_its_high_end():
    v = verdicts([0.05] * 30 + [0.5] * 70, [np.inf] * 100)
    words = {"check": "T-1", "name": "d", "unit": "", "access": Access(), "seed": 0}
    attacked, exact = sandwich(v, [0.1], **words).harm, sandwich(v, [0.1], exact=True, **words).harm
    assert attacked.high[0] < 0.05
    assert exact.values == attacked.values == (0.0,)
    assert exact.high[0] == exact.possible_high[0] > 0.3


def test_where_nothing_is_known_the_high_end_is_all():
    v = verdicts([0.0] * 20, [np.inf] * 20)
    words = {"check": "T-1", "name": "d", "unit": "", "access": Access(), "seed": 0}
    assert sandwich(v, [0.1], exact=True, **words).harm.high == (1.0,)
