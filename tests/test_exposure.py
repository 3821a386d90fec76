import math

import pytest
from pydantic import ValidationError

from crenel.access import Access, Attacker
from crenel.exposure import Budget, Harm
from crenel.finding import Severity, severity
from tests.helpers import exposure


def test_budgets_must_increase():
    with pytest.raises(ValidationError, match="strictly increase"):
        Budget(name="epsilon", values=(0, 1, 1))


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [((0.5,), (0.6,), (0.7,)), ((0.5,), (0.1,), (0.4,)), ((math.nan,), (0.0,), (1.0,))],
)
def test_a_harm_outside_its_interval_is_refused(values, low, high):
    with pytest.raises(ValidationError):
        Harm(name="flipped", values=values, low=low, high=high)


def test_a_curve_needs_a_harm_for_every_budget():
    with pytest.raises(ValidationError):
        exposure(budgets=(0, 1))


def test_an_exposure_cannot_be_changed():
    with pytest.raises(ValidationError):
        exposure().n = 5


def test_harm_outside_the_measured_budgets_is_not_invented():
    for budget in (-1, 5):
        with pytest.raises(ValueError, match="outside the measured"):
            exposure().at(budget)


def test_severity_grows_with_effect_access_and_cheapness():
    scores, weights = Access(attacker=Attacker.LABELS), Access(attacker=Attacker.WEIGHTS)
    assert severity(0.5, scores) is Severity.CRITICAL
    assert severity(0.5, weights) is Severity.HIGH
    assert severity(0.5, scores, cheapness=0.2) is Severity.MEDIUM
    assert severity(0.0, scores) is None
    assert severity(-0.3, scores) is None
