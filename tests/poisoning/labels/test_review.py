"""The review of labels on real data with planted flips."""

import time
from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from crenel.check import Context
from crenel.poisoning import controls, wrong_labels
from crenel.poisoning.checks import wrong_labels as poi101
from crenel.poisoning.controls import _cancer, _linear, _split
from crenel.poisoning.dose.corruption import draw_labels, relabel, subset
from crenel.poisoning.labels.neighbours import neighbour_votes, numbers
from crenel.poisoning.labels.review import review_labels
from crenel.statistics import auc


def planted(subject, share, seed):
    rng = np.random.default_rng(seed)
    y = subject.train.y
    rows = rng.choice(len(y), round(share * len(y)), replace=False)
    train = replace(subject.train, y=relabel(y, rows, subject.model.k, rng))
    return replace(subject, train=train), np.isin(np.arange(len(y)), rows)


def subjects():
    yield _cancer("cancer", _linear())
    digits = load_digits()
    forest = RandomForestClassifier(40, random_state=0, n_jobs=1)
    yield _split("digits", forest, digits.data, digits.target)


@pytest.mark.parametrize("subject", list(subjects()), ids=lambda s: s.name)
@pytest.mark.parametrize("share", [0.05, 0.1])
def test_planted_flips_rank_first_and_are_counted(subject, share):
    poisoned, wrong = planted(subject, share, 1)
    scores = review_labels(subject.model, poisoned.train, 0).scores
    assert auc(scores.score[wrong], scores.score[~wrong]).value >= 0.95
    assert scores.rate.low <= share <= scores.rate.high
    assert wrong[scores.flagged].mean() >= 0.7
    assert (scores.flagged & wrong).sum() >= 0.6 * wrong.sum()


def clean_subjects():
    wine = load_wine(as_frame=True)
    small = LogisticRegression(max_iter=3000)
    yield _split("wine", small, (wine.data - wine.data.mean()) / wine.data.std(), wine.target)
    yield from subjects()


@pytest.mark.parametrize("subject", list(clean_subjects()), ids=lambda s: s.name)
def test_real_clean_data_raises_no_alarm(subject):
    measured = poi101.measure(subject, Context("POI-101"))
    assert not measured.findings
    assert measured.exposures[0].health.ok, measured.exposures[0].health


def test_false_alarms_on_right_labels_over_seeds():
    subject = _cancer("cancer", _linear())
    p = review_labels(subject.model, subject.train, 0).probabilities
    flagged = []
    for seed in range(6):
        right = draw_labels(p, np.random.default_rng(seed))
        found = review_labels(subject.model, replace(subject.train, y=right), seed).scores
        flagged.append(found.flagged.mean())
    assert np.mean(flagged) < 0.02


def test_the_finding_lists_the_records_by_their_ids():
    subject, wrong = planted(_cancer("cancer", _linear()), 0.12, 3)
    names = np.array([f"r{i}" for i in range(len(wrong))])
    subject = replace(subject, train=replace(subject.train, ids=names))
    (found,) = poi101.measure(subject, Context("POI-101")).findings
    assert found.remedies == ("quarantine-labels",)
    listed = np.isin(names, found.evidence.rows)
    assert listed.sum() == found.evidence.values["suspected"] == len(found.evidence.rows)
    assert wrong[listed].mean() > 0.8
    assert found.evidence.values["rate_low"] <= 0.12 <= found.evidence.values["rate_high"]
    assert len(found.examples) == 3


def test_a_model_without_scores_is_reviewed_too():
    subject = _cancer("cancer", _linear())
    scaled = numbers(subject.train.x)
    subject = _split("svm", LinearSVC(), scaled, subject.train.y)
    subject = replace(subject, model=subject.model.with_decisions_only())
    poisoned, wrong = planted(subject, 0.1, 2)
    scores = review_labels(poisoned.model, poisoned.train, 0).scores
    assert auc(scores.score[wrong], scores.score[~wrong]).value >= 0.95


def test_a_deadline_leaves_fewer_simulations_not_none():
    subject = controls.wrong_labels()
    context = Context("POI-101", deadline=time.monotonic() + 0.6)
    measured = poi101.measure(subject, context)
    assert 1 <= len(measured.exposures[0].budget.values) <= 4


def test_neighbour_votes_are_those_of_brute_force():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((60, 3)), rng.integers(0, 3, 60)
    z = (x - x.mean(0)) / x.std(0)
    votes = neighbour_votes(x, y, 3, k=5)
    for i in range(60):
        distance = ((z - z[i]) ** 2).sum(axis=1)
        distance[i] = np.inf
        nearest = y[np.argsort(distance)[:5]]
        np.testing.assert_allclose(votes[i], np.bincount(nearest, minlength=3) / 5)


def test_numbers_of_a_mixed_table():
    import pandas as pd

    x = pd.DataFrame({"a": [1.0, 3.0, np.nan], "b": ["u", "v", "u"], "c": [5, 5, 5]})
    z = numbers(x)
    assert z.shape == (3, 4)
    assert np.isfinite(z).all()
    np.testing.assert_allclose(z[:, 0], [-1, 1, 0])


def test_relabel_changes_just_the_rows_and_draws_follow_the_probabilities():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 100)
    changed = relabel(y, np.arange(30), 4, rng)
    assert (changed[:30] != y[:30]).all()
    assert (changed[30:] == y[30:]).all()
    p = np.tile([0.2, 0.5, 0.3], (30_000, 1))
    shares = np.bincount(draw_labels(p, rng), minlength=3) / 30_000
    np.testing.assert_allclose(shares, p[0], atol=0.02)
    assert len(subset(10, 4, rng)) == 4
    assert subset(3, 4, rng).tolist() == [0, 1, 2]


def test_public_names_are_there():
    import crenel.poisoning as module

    assert all(callable(getattr(module, name)) for name in module.__all__)
    assert wrong_labels is module.wrong_labels


def test_without_the_comparison_with_right_labels_nothing_is_reported():
    # No time: one simulation of injected labels is all that is done.
    late = poi101.measure(controls.wrong_labels(), Context("POI-101", deadline=time.monotonic()))
    assert not late.findings
    assert not late.exposures[0].health.ok


def test_n_is_the_number_of_relabelled_rows_behind_the_fewest():
    measured = poi101.measure(controls.right_labels(), Context("POI-101")).exposures[0]
    rows = len(controls.right_labels().train)
    assert measured.n == round(0.01 * rows)
    # A point that rests on so few rows has an interval as wide as theirs.
    assert measured.harm.high[0] - measured.harm.low[0] > 0.3
