"""Complementary pairs, and shadows that obey the deadline."""

import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crenel.check import Context
from crenel.model import Model
from crenel.training.shadows import complementary_pairs, train_shadows


@given(st.lists(st.integers(0, 3), min_size=8, max_size=80), st.integers(1, 4), st.integers(0, 999))
def test_each_record_is_in_one_shadow_of_every_pair_and_classes_are_split(labels, pairs, seed):
    y = np.array(labels)
    inside = complementary_pairs(y, pairs, np.random.default_rng(seed))
    assert inside.shape == (2 * pairs, len(y))
    for i in range(pairs):
        assert (inside[2 * i] ^ inside[2 * i + 1]).all()
    for c in np.unique(y):
        counts = inside[:, y == c].sum(axis=1)
        assert np.abs(counts - (y == c).sum() / 2).max() <= 1


def _fit(x, y, seed):
    """Remembers its rows: sure of those it saw, coin flip on the others."""
    seen = {row.tobytes() for row in x}

    def score(rows):
        known = np.array([r.tobytes() in seen for r in rows])
        p = np.where(known, 0.99, 0.5)
        return np.column_stack([p, 1 - p])

    return Model(
        framework="function",
        task="classification",
        classes=np.array([0, 1]),
        decide=lambda rows: score(rows).argmax(axis=1),
        score=score,
    )


def test_shadows_answer_by_what_they_saw():
    x, y = np.random.default_rng(0).normal(size=(60, 2)), np.zeros(60, dtype=np.int64)
    inside = complementary_pairs(y, 3, np.random.default_rng(1))
    for threads in (False, True):
        found = train_shadows(_fit, x, y, inside, Context("CON-101"), threads)
        np.testing.assert_array_equal(found.p == 0.99, inside)
        assert found.queries == 6 * 60


def test_the_first_pair_is_always_trained_and_no_half_pair_returned():
    x, y = np.random.default_rng(0).normal(size=(60, 2)), np.zeros(60, dtype=np.int64)
    inside = complementary_pairs(y, 4, np.random.default_rng(1))
    late = Context("CON-101", deadline=time.monotonic() - 1)
    assert len(train_shadows(_fit, x, y, inside, late)) == 2
