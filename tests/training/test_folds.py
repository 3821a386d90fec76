"""Out-of-fold predictions: no model may have seen the row that it judges."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crenel.errors import NotApplicable
from crenel.model import Model
from crenel.subject import Data
from crenel.training import fold_numbers, out_of_fold


def memory(log=None, pause=0.0):
    """A model that answers 1 for rows it was trained on, and 0 for others."""

    def fit(x, y, seed):
        time.sleep(pause)
        seen = set(np.asarray(x)[:, 0].tolist())
        if log is not None:
            log.append((seen, seed))

        def score(rows):
            known = np.array([v in seen for v in np.asarray(rows)[:, 0]], dtype=float)
            return np.column_stack([1 - known, known])

        return model(lambda rows: score(rows).argmax(axis=1), score)

    def model(decide, score):
        return Model("function", "classification", np.array([0, 1]), decide, score, fit)

    return model(lambda x: np.zeros(len(x), dtype=np.int64), None)


def numbered(n):
    return Data(np.arange(float(n))[:, None], np.arange(n) % 2, np.arange(n))


@pytest.mark.parametrize("jobs", [1, 2])
def test_no_row_is_judged_by_a_model_that_saw_it(jobs):
    log = []
    found = out_of_fold(memory(log), numbered(53), seed=1, jobs=jobs)
    assert found.covered.all()
    assert found.fits == 5
    np.testing.assert_array_equal(found.probabilities, np.tile([1.0, 0.0], (53, 1)))
    assert (found.decisions == 0).all()
    for i in range(53):
        assert sum(i in seen for seen, _ in log) == 4
    assert len({seed for _, seed in log}) == 5


def test_decisions_stand_in_for_scores():
    found = out_of_fold(memory(), numbered(20), seed=0)
    assert found.probabilities.shape == (20, 2)


def test_a_deadline_leaves_folds_out_but_never_all():
    found = out_of_fold(memory(pause=0.05), numbered(40), 0, deadline=time.monotonic() + 0.07)
    assert 1 <= found.fits < 5
    assert found.covered.sum() == 8 * found.fits
    assert np.isnan(found.probabilities[~found.covered]).all()
    assert (found.decisions[~found.covered] == -1).all()


def test_folds_may_be_given():
    groups = np.repeat([0, 1, 2, 3], 5)
    log = []
    out_of_fold(memory(log), numbered(20), 0, assignment=groups)
    held = [sorted(set(range(20)) - {int(v) for v in seen}) for seen, _ in log]
    assert held == [list(range(5 * i, 5 * i + 5)) for i in range(4)]


def test_a_model_that_cannot_be_trained_is_not_applicable():
    fixed = Model("function", "classification", np.array([0, 1]), lambda x: np.zeros(len(x)))
    with pytest.raises(NotApplicable, match="trained again"):
        out_of_fold(fixed, numbered(10), 0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=10, max_size=80), st.integers(2, 6))
def test_folds_are_even_within_every_class(labels, folds):
    y = np.array(labels)
    fold = fold_numbers(y, folds, seed=5)
    assert (fold == fold_numbers(y, folds, seed=5)).all()
    sizes = np.bincount(fold, minlength=folds)
    assert sizes.max() - sizes.min() <= 1
    for c in np.unique(y):
        per = np.bincount(fold[y == c], minlength=folds)
        assert per.max() - per.min() <= 1
