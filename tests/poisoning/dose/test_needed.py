"""Rows needed for an aim, against known curves and a grid of all doses."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from crenel.check import Context
from crenel.poisoning.checks import dose_response as poi102
from crenel.poisoning.controls import credulous
from crenel.poisoning.dose.attacks import goal, planted
from crenel.poisoning.dose.needed import Needed, bisected, needed
from crenel.poisoning.dose.plan import owning, rows_for_goals
from crenel.poisoning.dose.response import dose_response, share_harmed
from crenel.poisoning.triggers import find_triggers
from crenel.statistics import Interval
from tests.poisoning.dose.test_dose import subject_of

ROWS = 1_000


def noisy(seed, middle=40.0, steep=3.0, spread=0.15):
    """Success of an attack: logistic in the logarithm of the dose, its middle drawn anew."""
    asked = []

    def success(count, repeat):
        asked.append((count, repeat))
        rng = np.random.default_rng([seed, repeat])
        at = math.log(middle) + spread * rng.standard_normal()
        share = 1 / (1 + math.exp(-steep * (math.log(count) - at)))
        return float(rng.binomial(ROWS, share)) / ROWS

    return success, asked


def start(success, repeats=3, counts=(10, 25, 63, 160, 400)):
    return {c: tuple(success(c, r) for r in range(repeats)) for c in counts}


def test_the_true_number_lies_in_the_interval_and_few_trainings_are_enough():
    context = Context("POI-102", jobs=1)
    inside, near = {0.5: 0, 0.9: 0}, []
    for seed in range(20):
        success, asked = noisy(seed)
        known = start(success)
        asked.clear()
        curve = bisected(success, known, (0.5, 0.9), 3, context)
        assert len(asked) <= 2 * 3 * 3
        for share in inside:
            found = needed(curve, share, ROWS)
            truth = 40.0 * (share / (1 - share)) ** (1 / 3)
            inside[share] += found.rows.low <= truth <= found.rows.high
            near.append(abs(math.log(found.rows.value / truth)))
    assert min(inside.values()) >= 17  # of 20 at 95 %: 17 or more with probability 0.98
    assert np.median(near) < 0.12


def test_the_search_closes_in_on_a_step():
    def success(count, repeat):
        return float(count >= 137)

    known = {c: (success(c, 0),) for c in (10, 100, 1000)}
    curve = bisected(success, known, (0.5,), 20, Context("POI-102", jobs=1))
    found = needed(curve, 0.5, 10_000)
    assert found.rows.low <= 137 <= found.rows.high
    assert found.rows.high / found.rows.low <= 1.15
    assert len(curve) <= 3 + 6


def test_what_is_not_reached_is_said():
    short = needed({10: (0.1, 0.2), 100: (0.3, 0.4)}, 0.5, ROWS)
    assert short.rows is None
    assert short.most == 100
    assert short.there.low < 0.35 < short.there.high
    free = needed({10: (0.7, 0.8)}, 0.5, ROWS, baseline=0.6)
    assert free.rows == Interval(0.0, 0.0, 0.0)
    torn = needed({10: (0.1, 0.1), 100: (0.3, 0.9)}, 0.5, ROWS)
    assert torn.rows is not None
    assert math.isinf(torn.rows.high)  # one of two repetitions never got there


def test_one_row_can_be_enough():
    found = needed({1: (1.0, 1.0), 10: (1.0, 1.0)}, 0.5, ROWS)
    assert 0 < found.rows.value <= 1
    assert math.ceil(found.rows.high) == 1


def test_a_deadline_ends_the_search_with_what_is_known():
    success, asked = noisy(0)
    known = start(success)
    asked.clear()
    late = Context("POI-102", jobs=1, deadline=time.monotonic() - 1)
    assert bisected(success, known, (0.5, 0.9), 3, late) == known
    assert not asked


def test_against_a_grid_of_all_doses_of_a_small_model():
    subject = subject_of(LogisticRegression(C=10.0, max_iter=500))
    train, test, model = subject.train, subject.test, subject.model
    context = Context("POI-102", jobs=1)
    aim = goal(model, train, test)
    trigger = find_triggers(train, subject.schema, context.rng("triggers"))[0]
    attack = planted(trigger, train, test, aim.victim)
    doses = [[4, 40, 150]]
    (response,) = dose_response(model, train, [attack], doses, 2, context)
    half, most = rows_for_goals(model, train, response, 3, context)
    grid = {
        c: np.mean([share_harmed(model, train, attack, c, r, context) for r in range(2)])
        for c in range(2, 151, 2)
    }
    for found in (half, most):
        truth = next(c for c in sorted(grid) if grid[c] >= found.goal)
        assert found.rows.low <= truth <= found.rows.high + 1
        assert found.rows.value == pytest.approx(truth, rel=0.3)


def test_sources_that_own_enough_are_named_most_first():
    subject = subject_of(LogisticRegression())
    n = len(subject.train)
    source = np.array(["big"] * (n - 50) + ["middle"] * 40 + ["small"] * 10)
    train = replace(subject.train, source=source)
    rows = Needed(0.5, Interval(30.0, 20.0, 45.0), 100, Interval(1, 1, 1), 2)
    assert owning(train, rows) == {"big": n - 50, "middle": 40}
    some = np.array([None] * (n - 50) + [np.nan] * 10 + ["middle"] * 40, dtype=object)
    assert owning(replace(train, source=some), rows) == {"middle": 40}
    assert owning(subject.train, rows) == {}
    assert owning(train, replace(rows, rows=None)) == {}


def test_the_check_tells_rows_for_half_and_for_nine_tenths():
    subject = credulous()
    names = np.where(np.arange(len(subject.train)) % 2 == 0, "even", "odd")
    subject = replace(subject, train=replace(subject.train, source=names))
    measured = poi102.measure(subject, Context("POI-102", jobs=1))
    found = next(f for f in measured.findings if f.subject == "planted trigger")
    values = found.evidence.values
    assert values["rows_for_half_low"] <= values["rows_for_half"] <= values["rows_for_nine_tenths"]
    assert values["sources_with_rows_for_half"].keys() == {"even", "odd"}
    assert "nine tenths" in measured.exposures[0].headline
    assert any("even" in note for note in measured.notes)
