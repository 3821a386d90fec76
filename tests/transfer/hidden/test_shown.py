"""Which of a class's recovered triggers is shown, at which size, and when none is."""

from __future__ import annotations

import numpy as np
import pytest

from crenel.finding import Evidence, Finding, Severity
from crenel.statistics import Interval
from crenel.transfer.hidden.found import shown, untold
from crenel.transfer.hidden.kinds import Trigger
from crenel.transfer.hidden.verdict import Verdict


def trigger(family, *turned, chance=0.05):
    n = len(turned)
    return Trigger(
        family, 3, tuple(float(i + 1) for i in range(n)),
        tuple(Interval(v, v - 0.05, v + 0.05) for v in turned), (chance,) * n, [None] * n,
        [None] * n, np.arange(4), np.ones((n, 4), bool), 8 * n,
    )  # fmt: skip


def of(chance, patch=2.0, blend=2.0):
    return Verdict(3, chance, {}, {"patch": patch, "blend": blend}, 1)


@pytest.mark.parametrize("chance", [0.001, 0.02])
def test_a_trigger_that_beats_the_next_class_is_shown_where_it_does_most(chance):
    patch = trigger("patch", 0.1, 0.9, 0.95), trigger("patch", 0.0, 0.2, 0.9)
    blend = trigger("blend", 0.1, 0.4, 0.9), trigger("blend", 0.1, 0.4, 0.9)
    one = shown([blend, patch], of(chance))
    assert (one.own, one.rival, one.at) == (*patch, 1)
    assert one.beyond
    assert one.gain == pytest.approx(0.85 - 0.2)


def test_where_others_are_as_easy_a_rare_class_is_shown_by_what_works():
    patch = trigger("patch", 0.1, 0.3, 0.7), trigger("patch", 0.1, 0.9, 1.0)
    blend = trigger("blend", 0.1, 0.6, 0.9), trigger("blend", 0.2, 0.8, 1.0)
    one = shown([patch, blend], of(0.001))
    # the least size at which half are turned, of the one farthest from random values
    assert (one.own, one.rival, one.at) == (*patch, 2)
    assert not one.beyond
    assert one.gain == pytest.approx(0.65 - 0.05)
    assert shown([patch, blend], of(0.02)) is None
    # a class that needs more than most of the others was not made easy by anybody
    assert shown([patch, blend], of(0.001, patch=0.8)).own is blend[0]
    assert shown([patch, blend], of(0.001, 0.8, 0.7)) is None


def test_a_rare_class_whose_triggers_do_not_work_is_not_shown():
    weak = trigger("patch", 0.1, 0.3, 0.5), trigger("patch", 0.1, 0.9, 1.0)
    assert shown([weak], of(0.001)) is None


def test_a_class_that_stands_out_without_a_finding_is_said_to_be_no_all_clear():
    names = np.array(["cat", "dog", "ship", "frog"])
    (note,) = untold([of(0.001)], [], names)
    assert "Class frog stands out" in note
    assert "no all-clear" in note
    assert untold([of(0.5)], [], names) == ()
    found = Finding(
        check="TRA-104", risk="transfer", severity=Severity.HIGH, subject="s", sentence="s",
        attack="a", fix="f", evidence=Evidence(values={"class": "frog"}),
    )  # fmt: skip
    assert untold([of(0.001)], [found], names) == ()
