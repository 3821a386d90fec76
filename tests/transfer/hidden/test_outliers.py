"""The test for a class that stands out: closed form, false alarms, several at once."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from crenel.transfer.hidden.outliers import chance_of, smallest


def test_it_is_students_prediction_interval_times_the_number_of_choices():
    costs = np.array([9.0, 12.0, 10.0, 2.0, 11.0, 14.0])
    told = smallest(costs, most=1)
    rest = np.log(np.delete(costs, 3))
    t = (rest.mean() - np.log(2.0)) / (rest.std(ddof=1) * np.sqrt(1 + 1 / 5))
    assert told.at == (3,)
    assert told.p == pytest.approx(6 * stats.t.sf(t, 4))
    assert told.ratio == pytest.approx(2.0 / 11.0)


def test_a_class_that_was_not_chosen_here_pays_for_no_choice():
    costs = np.array([9.0, 12.0, 10.0, 2.0, 11.0, 14.0])
    assert 6 * chance_of(costs, 3) == pytest.approx(smallest(costs, most=1).p)
    rng = np.random.default_rng(0)
    told = [chance_of(np.exp(rng.normal(3, 0.5, 10)), 4) for _ in range(2_000)]
    assert np.mean(np.array(told) < 0.05) == pytest.approx(0.05, abs=0.015)
    assert chance_of(costs, 5) > 0.5


@pytest.mark.parametrize("classes", [4, 10, 20])
def test_classes_that_differ_by_chance_rarely_stand_out(classes):
    rng = np.random.default_rng(0)
    alarms = [smallest(np.exp(rng.normal(3, 0.5, classes))).p < 0.05 for _ in range(1_500)]
    # two counts are tried, each at the stated chance
    assert np.mean(alarms) <= 0.1


def test_a_second_planted_class_does_not_hide_the_first():
    rng = np.random.default_rng(1)
    costs = np.exp(rng.normal(3, 0.2, 10))
    costs[[2, 7]] = [1.0, 1.1]
    told = smallest(costs)
    assert told.at == (2, 7)
    assert told.p < 0.001


def test_a_class_that_was_not_reached_counts_as_dear():
    costs = np.array([10.0, 11.0, np.inf, 9.0, 1.0, 12.0])
    filled = np.where(np.isfinite(costs), costs, 12.0)
    assert smallest(costs) == smallest(filled)


@pytest.mark.parametrize("costs", [[1.0, 2.0, 3.0], [np.inf] * 6])
def test_too_little_to_compare_is_said(costs):
    with pytest.raises(ValueError, match="no outlier can be told"):
        smallest(np.array(costs))
