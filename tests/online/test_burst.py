"""Bursts and critical shares of counting learners against their closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crenel.online.burst import (
    critical_share,
    mixed,
    poison_amount,
    smallest_burst,
    still_turned,
)
from crenel.online.learners import Live, Snapshot
from crenel.online.poison import Poison


class Counts:
    """Answers the label with the largest weight; each sample multiplies old weights by ``keep``."""

    def __init__(self, keep=1.0):
        self.keep = keep
        self.weights = np.zeros(2)

    def learn(self, x, y):
        for label in y:
            self.weights *= self.keep
            self.weights[label] += 1

    def predict(self, x):
        return np.full(len(x), int(self.weights[1] > self.weights[0]))


def learned(honest, keep=1.0, batch=16):
    live = Live(Counts(keep), "step", 2, batch)
    live.learn(np.zeros((honest, 1)), np.zeros(honest, dtype=np.int64))
    return Snapshot.of(live)


BAD = Poison(np.zeros((3, 1)), np.ones(3, dtype=np.int64))
ROW = np.zeros((1, 1))


def turned(live):
    return live.decide(ROW)[0] == 1


@settings(max_examples=40, deadline=None)
@given(honest=st.integers(0, 300), batch=st.integers(1, 40))
def test_burst_against_a_majority_is_one_more_than_the_honest_samples(honest, batch):
    found = smallest_burst(learned(honest, batch=batch), BAD, turned, 4_096)
    assert found.count == honest + 1


def test_burst_stops_at_the_limit():
    found = smallest_burst(learned(100), BAD, turned, 100)
    assert found.count is None
    assert found.fed == 100


def test_burst_stops_at_the_deadline_and_says_what_was_fed():
    asked = iter([False, True])
    found = smallest_burst(learned(900), BAD, turned, 4_096, lambda: next(asked))
    assert (found.count, found.fed) == (None, 128)
    assert smallest_burst(learned(40), BAD, turned, 4_096, lambda: True).count == 41


@settings(max_examples=30, deadline=None)
@given(keep=st.floats(0.9, 0.995))
def test_burst_against_forgetting_is_its_half_life(keep):
    # After m poisoned samples: good = G keep^m, bad = (1 - keep^m) / (1 - keep), G at its limit.
    m = np.arange(1, 2_000)
    good = (1 - keep**2_000) / (1 - keep) * keep**m
    expected = int(m[(1 - keep**m) / (1 - keep) > good][0])
    found = smallest_burst(learned(2_000, keep), BAD, turned, 4_096)
    assert abs(found.count - expected) <= 1


@pytest.mark.parametrize(("share", "is_turned"), [(0.3, False), (0.45, False), (0.55, True)])
def test_forgetting_counter_turns_at_half_of_the_stream(share, is_turned):
    honest = np.zeros((3_000, 1)), np.zeros(3_000, dtype=np.int64)
    rng = np.random.default_rng(0)
    live = mixed(learned(100, 0.99), BAD, honest, share, rng)
    assert turned(live) is np.bool_(is_turned)


def test_critical_share_of_the_forgetting_counter_is_just_above_a_half():
    honest = np.zeros((3_000, 1)), np.zeros(3_000, dtype=np.int64)
    start, grid = learned(100, 0.99), (0.1, 0.3, 0.45, 0.55, 0.7, 0.9)

    def holds(share):
        return turned(mixed(start, BAD, honest, share, np.random.default_rng(1)))

    assert critical_share(holds, grid) == 0.55
    assert critical_share(holds, (0.1, 0.3)) is None


@given(first=st.integers(0, 8), size=st.integers(1, 8))
def test_critical_share_is_the_first_that_holds(first, size):
    grid = tuple(float(i) for i in range(size))
    expected = next((g for g in grid if g >= first), None)
    assert critical_share(lambda share: share >= first, grid) == expected


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.9])
def test_mixed_stream_holds_every_honest_sample_in_order_and_the_share(share):
    class Listing:
        def __init__(self):
            self.seen = []

        def learn(self, x, y):
            self.seen += list(zip(x[:, 0].tolist(), y.tolist()))

        def predict(self, x):
            return np.zeros(len(x))

    start = Snapshot.of(Live(Listing(), "step", 2))
    honest = np.arange(200.0)[:, None], np.zeros(200, dtype=np.int64)
    seen = mixed(start, BAD, honest, share, np.random.default_rng(2)).native.seen
    assert [x for x, y in seen if y == 0] == list(range(200))
    amount = sum(y for _, y in seen)
    assert amount == poison_amount(200, share)
    assert abs(amount / len(seen) - share) < 0.005
    if amount > 10:  # evenly: no half of the stream holds nearly all
        first = sum(y for _, y in seen[: len(seen) // 2])
        assert abs(first - amount / 2) <= 2


def test_healing_takes_as_many_honest_samples_as_the_lead():
    # 50 honest, then 80 bad: the lead is 30, undone by 30 honest samples (a tie goes to 0).
    honest = np.zeros((7, 1)), np.zeros(7, dtype=np.int64)
    marks = np.array([0, 29, 30, 100])
    seen = still_turned(learned(50), BAD, 80, honest, turned, marks)
    assert seen.tolist() == [True, True, False, False]
