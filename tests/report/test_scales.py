import math
from itertools import pairwise

from hypothesis import assume, given
from hypothesis import strategies as st

from crenel.report.scales import Axis, budget_axis, harm_axis, linear_ticks, log_ticks

finite = st.floats(-1e6, 1e6)
positive = st.floats(1e-6, 1e6)


@given(finite, st.floats(1e-3, 1e6), st.integers(2, 9))
def test_linear_ticks_are_few_round_and_inside(low, span, most):
    high = low + span
    ticks = linear_ticks(low, high, most)
    assert len(ticks) <= most
    slack = span * 1e-6 + 1e-9
    assert all(low - slack <= t <= high + slack for t in ticks)
    steps = {round(b - a, 9) for a, b in pairwise(ticks)}
    for step in steps:
        digits = round(step / 10 ** math.floor(math.log10(step) + 1e-9), 3)
        assert digits in (1, 2, 5, 10) or len(ticks) > 1e3


@given(positive, st.floats(1.5, 1e9))
def test_log_ticks_are_few_and_inside(low, ratio):
    ticks = log_ticks(low, low * ratio)
    assert len(ticks) <= 6
    assert ticks == sorted(ticks)
    assert all(low * 0.999 <= t <= low * ratio * 1.001 for t in ticks)


@given(st.lists(st.floats(0, 1e4), min_size=2, max_size=8, unique=True), st.booleans())
def test_a_larger_budget_is_never_further_left(values, log):
    values = sorted(values)
    assume(values[-1] - values[0] > 1e-6)
    axis = budget_axis(values, (values[0], values[-1]), "log" if log else "linear", 40, 400)
    places = [axis(v) for v in values]
    assert places == sorted(places)
    assert places[0] == 40
    assert math.isclose(places[-1], 400)


def test_zero_has_a_place_of_its_own_before_a_logarithmic_axis():
    axis = budget_axis([0, 0.001, 0.1], (0, 0.1), "log", 0, 100)
    assert axis(0) == 0 < axis(0.001)
    assert math.isclose(axis(0.01), (axis(0.001) + axis(0.1)) / 2)
    assert axis.ticks()[0] == 0.0


def test_without_positive_budgets_a_logarithmic_axis_is_linear():
    assert not budget_axis([0.0], (0.0, 1.0), "log", 0, 100).log
    assert not budget_axis([-1.0, 1.0], (-1.0, 1.0), "log", 0, 100).log


def test_a_harm_axis_points_upwards():
    axis = harm_axis((0.0, 1.0), "linear", 200, 10)
    assert axis(0) == 200
    assert axis(1) == 10
    assert axis(2) == 10, "beyond the domain is its end"
    assert Axis(0.01, 1, 200, 10, log=True, zero=True)(0) == 200
