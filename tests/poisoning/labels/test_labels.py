"""Wrong labels, against slow literal versions, closed forms and planted truth."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar
from sklearn.datasets import load_digits
from sklearn.tree import DecisionTreeClassifier

from crenel.adapters import wrap
from crenel.errors import SubjectError
from crenel.poisoning import confident_joint, wrong_labels
from crenel.poisoning.labels.neighbours import numbers
from crenel.poisoning.labels.review import review_labels
from crenel.poisoning.labels.wrong import noise_rate, posterior
from crenel.poisoning.leftout.halves import by_halves
from crenel.statistics import proportion
from crenel.subject import Data


def probabilities(rng, n, k, sharp=3.0):
    e = np.exp(sharp * rng.standard_normal((n, k)))
    return e / e.sum(axis=1, keepdims=True)


def drawn(rng, p):
    return (p.cumsum(axis=1) < rng.random((len(p), 1))).sum(axis=1).clip(max=p.shape[1] - 1)


def flipped(rng, y, k, share):
    rows = rng.choice(len(y), round(share * len(y)), replace=False)
    changed = y.copy()
    changed[rows] = (y[rows] + rng.integers(1, k, len(rows))) % k
    return changed, rows


def slow_confident_joint(p, y):
    n, k = p.shape
    thresholds = [p[y == j, j].mean() if (y == j).any() else np.inf for j in range(k)]
    raw, off = np.zeros((k, k)), np.zeros(n, dtype=bool)
    for i in range(n):
        able = [j for j in range(k) if p[i, j] >= thresholds[j] - 1e-15]
        if able:
            j = max(able, key=lambda c: p[i, c])
            raw[y[i], j] += 1
            off[i] = j != y[i]
    joint = np.zeros((k, k))
    for i in range(k):
        if raw[i].sum():
            joint[i] = raw[i] / raw[i].sum() * (y == i).sum()
        else:
            joint[i, i] = (y == i).sum()
    return joint, off


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(2, 5))
def test_confident_joint_is_the_literal_one(seed, n, k):
    rng = np.random.default_rng(seed)
    p, y = probabilities(rng, n, k), rng.integers(0, k, n)
    joint, _, off = confident_joint(p, y)
    slow_joint, slow_off = slow_confident_joint(p, y)
    np.testing.assert_allclose(joint, slow_joint)
    assert (off == slow_off).all()
    np.testing.assert_allclose(joint.sum(axis=1), np.bincount(y, minlength=k))


def test_confident_joint_by_hand():
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
    y = np.array([0, 0, 0, 1, 1])  # thresholds 0.6 and 0.75
    joint, thresholds, off = confident_joint(p, y)
    np.testing.assert_allclose(thresholds, [0.6, 0.75])
    assert off.tolist() == [False, False, True, False, False]
    np.testing.assert_allclose(joint, [[2, 1], [0, 2]])


def test_the_rate_is_the_maximum_of_the_likelihood():
    rng = np.random.default_rng(0)
    n = 1500
    p = probabilities(rng, n, 3)
    y, _ = flipped(rng, drawn(rng, p), 3, 0.1)

    def loss(v):
        z = np.log(p) / np.exp(v[0])
        q = np.exp(z - z.max(1, keepdims=True))
        own = q[np.arange(n), y] / q.sum(1)
        return -np.log((1 - v[1]) * own + v[1] * (1 - own) / 2).sum()

    best = minimize(loss, [0.0, 0.1], bounds=[(-1.6, 3.0), (0, 0.66)])
    temperature, rate = noise_rate(p, y)
    assert loss([np.log(temperature), rate.value]) <= best.fun + 0.02
    assert rate.value == pytest.approx(best.x[1], abs=0.003)
    # The ends of the interval lie where the profile is 1.92 above its minimum.
    for end in (rate.low, rate.high):
        profile = min(loss([t, end]) for t in np.linspace(-1, 1, 401))
        assert profile - best.fun == pytest.approx(1.9207, abs=0.1)


def hard(n, k, share, seed, doubt=0.0):
    """Scores of 0 and 1 (or as much less and more), and labels of which a share says otherwise."""
    rng = np.random.default_rng(seed)
    decided = rng.integers(0, k, n)
    y, _ = flipped(rng, decided, k, share)
    return np.where(np.eye(k)[decided] > 0, 1 - doubt, doubt / (k - 1)), y


@pytest.mark.parametrize(("k", "share", "doubt"), [(2, 0.05, 0), (2, 0.3, 0), (5, 0.1, 1e-3)])
def test_hard_scores_leave_open_whether_labels_are_wrong_or_records_hard(k, share, doubt):
    """All that contradict may be wrong, or none: every rate up to their share fits as well."""
    p, y = hard(4000, k, share, 1, doubt)
    found = wrong_labels(p, y)
    assert (found.rate.value, found.rate.low) == (0, 0)
    # The upper end is that of a proportion: Wilks' interval and Wilson's agree to a thousandth.
    assert found.rate.high == pytest.approx(proportion(share * 4000, 4000).high, abs=0.002)
    assert not found.flagged.any()
    against = p.argmax(axis=1) != y
    assert found.score[against].min() > found.score[~against].max()  # they still rank first


@pytest.mark.parametrize("sure", [0.3, 0.6, 0.9])
def test_the_interval_of_scores_that_are_hard_in_part_is_that_of_the_profile(sure):
    rng = np.random.default_rng(3)
    soft = probabilities(rng, 1500, 3, 1.5)
    y, _ = flipped(rng, drawn(rng, soft), 3, 0.1)
    some = rng.random(1500) < sure
    p = np.where(some[:, None], np.eye(3)[soft.argmax(axis=1)], soft)
    logp, rows = np.log(np.maximum(p, 1e-12)), np.arange(1500)

    def tempered(heat):
        z = logp / np.exp(heat)
        return 1 / np.exp(z - z[rows, y][:, None]).sum(axis=1)

    heats = np.linspace(-1.6, 5.9, 60)
    coarse = [tempered(t) for t in heats]

    def profile(rate):
        def loss(own):
            return -np.log((1 - rate) * own + rate * (1 - own) / 2).sum()

        i = int(np.clip(np.argmin([loss(own) for own in coarse]), 1, len(heats) - 2))
        ends = heats[i - 1], heats[i + 1]
        return minimize_scalar(lambda t: loss(tempered(t)), bounds=ends, method="bounded").fun

    _, found = noise_rate(p, y)
    least = min(profile(r) for r in np.linspace(0, 0.6, 61))
    assert profile(found.value) - least < 0.11
    for end in (found.low, found.high):
        assert end == 0 or profile(end) - least == pytest.approx(1.92, abs=0.25)


@pytest.mark.parametrize(("k", "sharp"), [(2, 2.0), (2, 4.0), (5, 3.0)])
def test_planted_rates_lie_in_the_interval_and_clean_labels_are_left_alone(k, sharp):
    covered, silent, alarms = 0, 0, 0
    for seed in range(20):
        rng = np.random.default_rng([k, seed])
        p = probabilities(rng, 800, k, sharp)
        clean = drawn(rng, p)
        y, _ = flipped(rng, clean, k, 0.08)
        rate = wrong_labels(p, y).rate
        covered += rate.low <= 0.08 <= rate.high
        right = wrong_labels(p, clean)
        silent += right.rate.low == 0
        alarms += int(right.flagged.sum())
    assert covered >= 17  # of 20 at 95 %: 17 or more with probability 0.98
    assert silent >= 16
    assert alarms <= 0.005 * 20 * 800


def test_scores_are_calibrated_probabilities_whatever_the_temperature():
    rng = np.random.default_rng(4)
    p = probabilities(rng, 20_000, 3, 4.0)
    y, rows = flipped(rng, drawn(rng, p), 3, 0.1)
    sure = p**2 / (p**2).sum(axis=1, keepdims=True)  # a model twice too sure
    found = wrong_labels(sure, y)
    assert found.temperature == pytest.approx(2.0, rel=0.1)
    wrong = np.isin(np.arange(len(y)), rows)
    for low, high in ((0.0, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 1.01)):
        band = (found.score >= low) & (found.score < high)
        assert wrong[band].mean() == pytest.approx(found.score[band].mean(), abs=0.06)
    assert found.score.mean() == pytest.approx(0.1, abs=0.01)


def test_posterior_in_closed_form():
    p, y = np.array([[0.99, 0.01], [0.01, 0.99]]), np.array([1, 1])
    got = posterior(p, y, 1.0, 0.1)
    want = [0.1 * 0.99 / (0.1 * 0.99 + 0.9 * 0.01), 0.1 * 0.01 / (0.1 * 0.01 + 0.9 * 0.99)]
    np.testing.assert_allclose(got, want)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_order_of_rows_and_of_classes_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    p = probabilities(rng, 200, 3)
    y, _ = flipped(rng, drawn(rng, p), 3, 0.1)
    rows, classes = rng.permutation(200), rng.permutation(3)
    one = wrong_labels(p, y)
    other = wrong_labels(p[rows][:, classes], np.argsort(classes)[y[rows]])
    np.testing.assert_allclose(other.score, one.score[rows], atol=1e-4)
    assert (classes[other.suggested] == one.suggested[rows]).all()


@pytest.mark.parametrize(
    ("p", "y", "words"),
    [
        (np.ones((3, 2)) / 2, [0, 1], "do not fit"),
        (np.ones((2, 1)), [0, 0], "do not fit"),
        (np.zeros((0, 2)), [], "do not fit"),
        (np.array([[np.nan, 1.0]]), [0], "not finite"),
        (np.ones((2, 2)) / 2, [0, 2], "class indices"),
        (np.ones((2, 2)) / 2, [0, -1], "class indices"),
    ],
)
def test_bad_input_is_one_sentence(p, y, words):
    with pytest.raises(SubjectError, match=words):
        wrong_labels(p, np.asarray(y, dtype=int))


def test_a_model_of_hard_scores_is_reviewed_with_the_help_of_neighbours():
    x, y = load_digits(return_X_y=True)
    wrong, rows = flipped(np.random.default_rng(0), y, 10, 0.1)
    model = wrap(DecisionTreeClassifier(random_state=0).fit(x, wrong))
    found = review_labels(model, Data(x, wrong, np.arange(len(y))), 0).scores
    flagged = np.flatnonzero(found.flagged)
    assert found.rate.low <= 0.1 <= found.rate.high
    assert found.rate.high - found.rate.low < 0.05
    assert np.isin(flagged, rows).mean() > 0.9
    assert np.isin(rows, flagged).mean() > 0.7


def test_columns_of_one_name_are_columns_all_the_same():
    rng = np.random.default_rng(0)
    x = pd.DataFrame(
        {"a": rng.normal(size=400), "b": rng.choice(["p", "q"], 400), "c": rng.normal(size=400)}
    )
    x["d"] = rng.choice(["u", "v", "w"], 400)
    y = ((x["c"] > 0) ^ (x["d"] == "u")).to_numpy().astype(np.int64)
    twice = x.set_axis(["a", "b", "a", "b"], axis=1)
    assert (by_halves(twice, y) == by_halves(x, y)).all()
    assert (numbers(twice) == numbers(x)).all()
