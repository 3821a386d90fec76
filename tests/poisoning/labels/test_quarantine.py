"""The remedy: find, hold back, train again, find less."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from crenel.check import Context
from crenel.poisoning import controls
from crenel.poisoning.checks import wrong_labels as poi101
from crenel.poisoning.controls import _cancer, _linear, _refitted, _split
from crenel.poisoning.dose.corruption import relabel
from crenel.poisoning.labels.quarantine import choose_threshold, weighted_change
from crenel.poisoning.remedies import quarantine_labels


def poisoned(subject, share=0.08, seed=1):
    rng = np.random.default_rng(seed)
    y = subject.train.y
    rows = rng.choice(len(y), round(share * len(y)), replace=False)
    train = replace(subject.train, y=relabel(y, rows, subject.model.k, rng))
    return _refitted(replace(subject, train=train)), subject.train.ids[rows]


def accuracy(subject):
    return (subject.model.predict(subject.test.x) == subject.test.y).mean()


def subjects():
    digits = load_digits()
    yield _split("digits", KNeighborsClassifier(3), digits.data, digits.target)
    yield _cancer("cancer", _linear())


@pytest.mark.parametrize("subject", list(subjects()), ids=lambda s: s.name)
def test_the_loop_mends_the_model(subject):
    bad, rows = poisoned(subject)
    (before,) = poi101.measure(bad, Context("POI-101")).findings
    treatment = quarantine_labels.apply(bad, before, Context("harden"))
    table = treatment.tables["quarantine"]
    assert np.isin(table["record"], rows).mean() > 0.8
    assert set(table["record"]) <= set(before.evidence.rows)
    assert (table["given"] != table["suggested"]).all()
    hardened = treatment.subject
    assert len(hardened.train) + len(table) == len(bad.train)
    assert not set(hardened.train.ids) & set(table["record"])
    assert accuracy(hardened) >= accuracy(bad)
    assert treatment.model is hardened.model.native
    assert not poi101.measure(hardened, Context("POI-101")).findings
    assert treatment.values["accuracy_after"] >= treatment.values["accuracy_before"] - 0.02


def test_test_data_takes_no_part():
    bad, _ = poisoned(_cancer("cancer", _linear()))
    one = quarantine_labels.apply(bad, None, Context("harden"))
    other = quarantine_labels.apply(replace(bad, test=None), None, Context("harden"))
    assert one.values == other.values
    assert (one.subject.train.ids == other.subject.train.ids).all()


def test_clean_data_stays_as_it_is_or_nearly():
    subject = controls.right_labels()
    treatment = quarantine_labels.apply(subject, None, Context("harden"))
    assert len(treatment.subject.train) >= 0.99 * len(subject.train)


def test_a_quarantine_that_harms_is_rolled_back():
    subject = controls.right_labels()
    # "Suspects" are all malignant rows but a few: without them the model cannot know the class.
    few = np.flatnonzero(subject.train.y == 0)[:3]
    score = (subject.train.y == 0).astype(float) * 0.99
    score[few] = 0.0
    held_truth = np.where(score > 0.5, 0.99, 0.0)
    choice = choose_threshold(subject.model.fit, subject.train, held_truth * 1.0, 0)
    assert choice.threshold is None or choice.after >= choice.before - 0.05
    rng = np.random.default_rng(0)
    blamed = np.where(rng.random(len(score)) < 0.97, 0.6 * (subject.train.y == 0), 0.0)
    worse = choose_threshold(_forgetful(subject), subject.train, blamed, 0)
    assert worse.threshold != 0.5


def _forgetful(subject):
    """Trains well, but on a class that has lost most of its rows not at all."""

    def fit(x, y, seed):
        if (y == 0).mean() < 0.2:
            return replace(subject.model, decide=lambda rows: np.ones(len(rows), dtype=np.int64))
        return subject.model.fit(x, y, seed)

    return fit


def test_weighted_change_in_closed_form():
    nothing = weighted_change(np.zeros(100), np.ones(100))
    assert (nothing.value, nothing.low, nothing.high) == (0, -0.03, 0.03)
    change = np.array([1.0, 0, 0, -1, 1])
    found = weighted_change(change, np.ones(5))
    assert found.value == pytest.approx(0.2)
    assert found.high - found.value == pytest.approx(1.959964 * change.std() / np.sqrt(5))
    assert weighted_change(change, np.array([1.0, 1, 1, 0, 1])).value == pytest.approx(0.5)
