"""Scores against closed forms and planted truths."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import polygamma
from scipy.stats import norm

from crenel.confidentiality.likelihood import (
    _inverse_trigamma,
    dominance,
    likelihood_ratio,
    logit,
    moderated_variance,
    pair_ratio,
)
from crenel.statistics import auc
from crenel.training.shadows import complementary_pairs


def worlds(n, pairs, gap, spread, rng):
    """Confidences of records that are Gaussian with a known gap between the two worlds."""
    inside = complementary_pairs(np.zeros(n, dtype=int), pairs, rng)
    centre = rng.normal(0, 3, n)
    shadows = centre + gap * inside + spread * rng.normal(size=inside.shape)
    member = rng.random(n) < 0.5
    target = centre + gap * member + spread * rng.normal(size=n)
    return target, shadows, inside, member, centre


def test_likelihood_ratio_is_the_closed_form_of_two_gaussians():
    rng = np.random.default_rng(0)
    spread = 0.7
    target, shadows, inside, member, centre = worlds(2000, 200, 1.0, spread, rng)
    found = likelihood_ratio(target, shadows, inside)
    exact = norm.logpdf(target, centre + 1, spread) - norm.logpdf(target, centre, spread)
    assert np.corrcoef(found, exact)[0, 1] > 0.99
    assert np.median(np.abs(found - exact)) < 0.15
    # The best AUC of two Gaussians a gap apart is Phi(gap / (spread sqrt 2)).
    best = norm.cdf(1 / (spread * np.sqrt(2)))
    area = auc(found[member], found[~member])
    assert area.low <= best <= area.high


def test_moderation_beats_own_variances_with_few_shadows():
    rng = np.random.default_rng(1)
    target, shadows, inside, member, _ = worlds(4000, 2, 1.5, 1.0, rng)
    found = likelihood_ratio(target, shadows, inside)

    def raw(mask):
        count = mask.sum(axis=0)
        centre = np.where(mask, shadows, 0).sum(axis=0) / count
        spread = np.sqrt(np.where(mask, (shadows - centre) ** 2, 0).sum(axis=0) / (count - 1))
        return norm.logpdf(target, centre, spread + 1e-9)

    textbook = raw(inside) - raw(~inside)
    assert auc(found[member], found[~member]).low > auc(textbook[member], textbook[~member]).high


def test_moderated_variance_recovers_a_common_variance_and_keeps_real_differences():
    rng = np.random.default_rng(2)
    df = 4
    common = rng.chisquare(df, 5000) / df * 2.0
    variances, _ = moderated_variance(common, df)
    assert variances.std() < 0.15 * common.std()
    true = np.exp(rng.normal(0, 2, 5000))
    mixed = true * rng.chisquare(df, 5000) / df
    variances, freedom = moderated_variance(mixed, df)
    assert freedom < 8
    error = np.abs(np.log(variances / true)).mean()
    assert error < np.abs(np.log(mixed / true)).mean()
    assert np.corrcoef(np.log(variances), np.log(true))[0, 1] > 0.8


@pytest.mark.parametrize("value", [1e-3, 0.1, 1.0, 7.0, 300.0])
def test_inverse_trigamma(value):
    assert float(polygamma(1, _inverse_trigamma(value))) == pytest.approx(value, rel=1e-6)


def test_one_pair_has_no_likelihood_ratio():
    inside = complementary_pairs(np.zeros(10, dtype=int), 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="two shadows"):
        likelihood_ratio(np.zeros(10), np.zeros((2, 10)), inside)


def test_constant_shadows_give_finite_ratios():
    inside = complementary_pairs(np.zeros(40, dtype=int), 2, np.random.default_rng(0))
    found = likelihood_ratio(logit(np.ones(40)), logit(np.ones((4, 40))), inside)
    assert np.isfinite(found).all()


def test_pair_ratio_by_hand():
    inside = np.array([[True, False], [False, True]])
    shadows = np.array([[0.9, 0.4], [0.5, 0.8]])
    found = pair_ratio(np.array([0.9, 0.3]), shadows, inside)
    np.testing.assert_allclose(found, np.log([0.9 / 0.7, 0.3 / 0.6]))


@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=30),
    st.lists(st.floats(-5, 5), min_size=1, max_size=30),
)
def test_dominance_is_the_share_below_and_keeps_order(scores, population):
    s, p = np.array(scores), np.array(population)
    brute = [np.mean((v > p) + 0.5 * (v == p)) for v in s]
    np.testing.assert_allclose(dominance(s, p), brute)
