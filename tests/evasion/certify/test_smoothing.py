"""Smoothing against the closed form of linear classifiers, whose exact radius is known."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.stats import binom, norm

from crenel.adapters import wrap
from crenel.errors import UsageError
from crenel.evasion.certify import Smoothed
from crenel.evasion.certify.smoothing import ABSTAIN, share_below

W, B = np.array([0.6, -0.8, 0.0]), 0.1
SIGMA = 0.5


def linear(x):
    return (np.asarray(x) @ W + B > 0).astype(np.int64)


def rows(n=40, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)


def distance(x):
    return np.abs(x @ W + B)  # W has length 1


def test_radii_of_a_linear_classifier_are_just_below_the_exact_distance():
    x = rows()
    got = Smoothed(linear, 2, SIGMA).certify(x, n=20000)
    sure = got.decision != ABSTAIN
    assert sure.mean() > 0.85
    assert np.array_equal(got.decision[sure], linear(x)[sure])
    exact = distance(x)  # of the vote as well: noise has no side
    assert (got.radius <= exact).all()
    near = sure & (exact < 2 * SIGMA)
    assert (got.radius[near] > exact[near] - 0.15 * SIGMA).all()
    share = norm.cdf(exact / SIGMA)
    assert (got.share <= share).all()
    assert (got.radius[~sure] == 0).all()
    most = SIGMA * norm.ppf(0.001 ** (1 / 20000))  # what so many copies can show at best
    far = Smoothed(linear, 2, SIGMA).certify((9 * W)[None].astype(np.float32), n=20000)
    assert far.radius[0] == pytest.approx(most, rel=1e-6)


@pytest.mark.parametrize("enough", [None, 0.2])
def test_wrong_certificates_are_as_rare_as_promised(enough):
    # rows at one distance, with a weak confidence so that errors are seen at all
    x = np.zeros((3000, 3), dtype=np.float32) + (0.1 * W - B * W).astype(np.float32)
    got = Smoothed(linear, 2, SIGMA, alpha=0.1).certify(x, n=128, first=4, enough=enough, seed=1)
    truth = norm.cdf(0.1 / SIGMA)
    right = linear(x)[0]
    wrong = ((got.decision == right) & (got.radius > 0.1)) | (got.decision == 1 - right)
    assert wrong.mean() < 0.12
    assert (got.share[got.decision == right] > truth).mean() > 0.005  # the bound is not empty


def test_the_bound_covers_at_its_confidence_exactly():
    for n, p, alpha in ((20, 0.7, 0.05), (200, 0.9, 0.01), (50, 0.5, 0.2)):
        hits = np.arange(n + 1)
        bound = share_below(hits, np.full(n + 1, n), alpha)
        missed = binom.pmf(hits, n, p)[bound > p].sum()
        assert missed <= alpha
        assert (np.diff(bound) > 0).all()
        # the bound is the share at which so many hits are just as rare as alpha
        for h in (n // 2, n):
            assert binom.sf(h - 1, n, bound[h]) == pytest.approx(alpha, rel=1e-6)


def test_stopping_early_saves_queries_and_abstains_where_the_vote_is_split():
    x = rows()
    smoothed = Smoothed(linear, 2, SIGMA)
    full = smoothed.certify(x, n=8000)
    early = smoothed.certify(x, n=8000, enough=0.1)
    assert (full.queries == 8100).all()
    far = full.radius > 0.4
    assert (early.queries[far] < 2200).all()
    assert (early.radius[far] >= 0.1).all()
    assert (early.radius <= distance(x)).all()
    assert early.queries[full.radius < 0.05].min() == 8100
    edge = (-B * W)[None].astype(np.float32)
    assert smoothed.certify(edge, n=4000).decision[0] == ABSTAIN
    assert smoothed.predict(edge, n=500)[0] == ABSTAIN
    clear = smoothed.predict(x[distance(x) > 0.3], n=500)
    assert np.array_equal(clear, linear(x[distance(x) > 0.3]))


def test_a_deadline_keeps_what_was_proven_and_seeds_repeat():
    x = rows()
    smoothed = Smoothed(linear, 2, SIGMA)
    late = smoothed.certify(x, n=4000, deadline=time.monotonic() - 1)
    assert (late.decision == ABSTAIN).all()
    assert (late.radius == 0).all()
    a, b = (smoothed.certify(x, n=1000, seed=5) for _ in range(2))
    assert np.array_equal(a.radius, b.radius)
    assert smoothed.certify(x[:0]).radius.shape == (0,)


def test_models_of_several_classes_and_bounds():
    model = wrap(
        lambda x: np.asarray(x)[:, :3], classes=["a", "b", "c"], sample=np.full((2, 3), 1 / 3)
    )
    x = np.abs(rows(30)) / np.abs(rows(30)).sum(axis=1, keepdims=True)
    smoothed = Smoothed(lambda z: np.asarray(z).argmax(axis=1), model.k, 0.1)
    got = smoothed.certify(x.astype(np.float32), n=4000)
    top = np.sort(x, axis=1)
    exact = (top[:, -1] - top[:, -2]) / np.sqrt(2)
    assert (got.radius <= exact + 1e-9).all()
    assert (got.radius > 0).mean() > 0.5
    seen = []

    def watch(z):
        seen.append((z.min(), z.max(), z.dtype))
        return np.zeros(len(z), dtype=int)

    Smoothed(watch, 2, 1.0, bounds=(0.0, 1.0)).certify(np.full((2, 3), 0.5, np.float32), n=100)
    assert all(low >= 0 and high <= 1 and kind == np.float32 for low, high, kind in seen)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [((2, 0.0), "sigma"), ((1, 0.1), "at least 2 classes"), ((2, 0.1, 1.5), "alpha")],
)
def test_wrong_arguments_are_told(arguments, text):
    with pytest.raises(UsageError, match=text):
        Smoothed(linear, *arguments)
