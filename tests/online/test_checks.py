"""ONL-101 on its controls, on River and scikit-learn learners, and under a deadline."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from crenel.check import Context
from crenel.errors import Inconclusive
from crenel.online.checks import what_it_takes
from crenel.online.controls import Hasty, LongMemory, weak_learner
from crenel.statistics import proportion
from crenel.subject import Data, Learning, Subject


def measure(subject, **context):
    return what_it_takes.measure(subject, Context(check="ONL-101", **context))


def by_series(measurement, role="attack"):
    return {e.series: e for e in measurement.exposures if e.role == role}


def phishing():
    datasets = pytest.importorskip("river.datasets")
    rows = list(datasets.Phishing())
    y = np.array([int(label) for _, label in rows])
    return Data(pd.DataFrame([x for x, _ in rows]), y, np.arange(len(y)))


def test_check_keeps_the_contract():
    testing = pytest.importorskip("crenel.testing")
    report = testing.check_check(what_it_takes)
    subjects = {f.subject for f in report.weak.findings}
    assert {"burst of samples", "share of the stream", "broken sample"} <= subjects


def test_river_learner_is_turned_by_a_burst_heals_and_is_killed_by_nan():
    from river import linear_model, preprocessing

    def learner():
        return preprocessing.StandardScaler() | linear_model.LogisticRegression()

    learning = Learning(learner, phishing(), samples_per_day=5_000, protect=("row:1200",))
    measured = measure(Subject("phishing", learning=learning))
    attack, control = by_series(measured), by_series(measured, "control")
    burst = attack["burst"]
    assert burst.health.ok
    assert burst.harm.values[-1] == 1
    assert max(control["burst"].harm.values) < 0.2
    assert by_series(measured, "reference")["healing"].harm.values[-1] < 0.3
    share = attack["share of the stream"]
    assert share.harm.values[0] < 0.2 < share.harm.low[-1]
    assert "samples a day" in share.headline
    broken = next(f for f in measured.findings if f.subject == "broken sample")
    assert broken.evidence.values["NaN"]["accuracy after"] < 0.6
    found = next(f for f in measured.findings if f.subject == "burst of samples")
    assert "row 1200" in found.evidence.values


def test_slower_learning_takes_a_longer_burst():
    def median_burst(step):
        learning = replace(weak_learner().learning, learner=lambda: Hasty(step))
        burst = by_series(measure(Subject("steps", learning=learning)))["burst"]
        return burst.budget.values[np.flatnonzero(np.array(burst.harm.values) >= 0.5)[0]]

    assert median_burst(0.02) * 3 < median_burst(0.002)


def test_a_learner_that_learns_nothing_is_inconclusive():
    class Constant:
        def partial_fit(self, x, y, classes):
            return self

        def predict(self, x):
            return np.zeros(len(x))

    learning = replace(weak_learner().learning, learner=Constant)
    with pytest.raises(Inconclusive, match="does not learn"):
        measure(Subject("constant", learning=learning))


def test_a_refused_sample_is_no_finding():
    learning = Learning(LongMemory, weak_learner().learning.stream)
    measured = measure(Subject("careful", learning=learning))
    assert not [f for f in measured.findings if f.subject == "broken sample"]


def test_a_passed_deadline_leaves_fewer_behaviours_and_wider_intervals():
    full = by_series(measure(weak_learner()))["burst"]
    short = by_series(measure(weak_learner(), deadline=time.monotonic()))["burst"]
    assert short.n < full.n
    width = [e.harm.high[-1] - e.harm.low[-1] for e in (short, full)]
    assert width[0] > width[1]


def test_the_interval_of_random_flips_covers_other_draws_of_them():
    subject = weak_learner()
    curves = [by_series(measure(subject, seed=s))["random flips"] for s in range(4)]
    values = [c.harm.values[-1] for c in curves]
    # The draws differ far more than rows alone would let them.
    rows = proportion(values[0] * curves[0].n, curves[0].n)
    assert curves[0].harm.high[-1] - curves[0].harm.low[-1] > 1.5 * (rows.high - rows.low)
    inside = [c.harm.low[-1] <= np.mean(values) <= c.harm.high[-1] for c in curves]
    assert all(inside)


def test_the_stream_is_left_as_it_was():
    subject = weak_learner()
    before = subject.learning.stream.x.copy()
    measure(subject)
    pd.testing.assert_frame_equal(subject.learning.stream.x, before)
