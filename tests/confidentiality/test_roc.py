"""Operating points against scikit-learn's ROC curve and brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from crenel.confidentiality.roc import curve, operating_point, rates


@given(st.integers(20, 300), st.integers(20, 300), st.integers(0, 3), st.integers(0, 10**6))
def test_points_lie_on_the_roc_curve(m, n, digits, seed):
    rng = np.random.default_rng(seed)
    members, others = rng.normal(0.5, 1, m).round(digits), rng.normal(0, 1, n).round(digits)
    fpr, tpr, _ = roc_curve(
        np.repeat([1, 0], [m, n]), np.concatenate([members, others]), drop_intermediate=False
    )
    for point in curve(members, others):
        assert point.identified.value == pytest.approx(tpr[fpr <= point.rate + 1e-9].max())
        assert point.alarms.value <= point.rate + 1e-9
        assert point.identified.low <= point.identified.value <= point.identified.high


def test_nothing_is_said_below_one_alarm():
    with pytest.raises(ValueError, match="cannot be measured with 500"):
        operating_point(np.ones(500), np.zeros(500), 0.001)
    assert rates(500)[0] == pytest.approx(1 / 500)
    assert rates(5000)[0] == pytest.approx(0.001)
    assert {0.001, 0.01, 0.1, 1.0} <= {round(r, 6) for r in rates(5000)}
    assert all(a < b for a, b in zip(rates(77), rates(77)[1:]))


def test_ties_are_not_broken_in_the_attackers_favour():
    point = operating_point(np.ones(100), np.ones(100), 0.05)
    assert point.identified.value == 0
    assert operating_point(np.ones(100), np.ones(100), 1.0).identified.value == 1
