import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from crenel import statistics


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_intervals_of_a_proportion_equal_scipys(pair):
    k, n = pair
    wilson = binomtest(k, n).proportion_ci(method="wilson")
    exact = binomtest(k, n).proportion_ci(method="exact")
    ours, ours_exact = statistics.proportion(k, n), statistics.exact_proportion(k, n)
    assert (ours.low, ours.high) == pytest.approx((wilson.low, wilson.high), abs=1e-9)
    assert (ours_exact.low, ours_exact.high) == pytest.approx((exact.low, exact.high), abs=1e-9)
    assert ours.low <= ours.value <= ours.high


def test_no_trials_say_nothing():
    interval = statistics.proportion(0, 0)
    assert (interval.low, interval.high) == (0.0, 1.0)


@given(
    st.lists(st.integers(0, 5), min_size=2, max_size=30),
    st.lists(st.integers(0, 5), min_size=2, max_size=30),
)
def test_auc_equals_counting_pairs(positive, negative):
    pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    interval = statistics.auc(positive, negative)
    assert interval.value == pytest.approx(np.mean(pairs))
    assert interval.low <= interval.value <= interval.high


def test_auc_interval_covers_the_truth_at_its_rate():
    rng = np.random.default_rng(0)
    # AUC of two unit normals a distance of one apart is Phi(1 / sqrt 2).
    truth, covered = 0.7602499, 0
    for _ in range(300):
        interval = statistics.auc(rng.normal(1, 1, 60), rng.normal(0, 1, 80))
        covered += interval.low <= truth <= interval.high
    assert 0.90 <= covered / 300 <= 0.99


def test_mean_interval_covers_the_truth_at_its_rate():
    rng = np.random.default_rng(1)
    intervals = [statistics.mean(rng.normal(3, 1, 8)) for _ in range(400)]
    assert 0.92 <= np.mean([i.low <= 3 <= i.high for i in intervals]) <= 0.98


def test_bootstrap_of_a_mean_is_close_to_the_students_interval():
    rng = np.random.default_rng(2)
    values = rng.normal(0, 1, 200)
    ours = statistics.bootstrap(lambda rows: values[rows].mean(), 200, rng, 2000)
    student = statistics.mean(values)
    assert ours.low == pytest.approx(student.low, abs=0.03)
    assert ours.high == pytest.approx(student.high, abs=0.03)


def test_derived_seeds_differ_by_every_part_and_are_stable():
    seeds = {statistics.derive_seed(0, "EVA-101", shard) for shard in range(100)}
    assert len(seeds) == 100
    assert statistics.derive_seed(7, "POI-101", "fold", 3) == 584410327


def test_a_repeated_experiment_covers_the_truth_where_its_rows_share_their_chance():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(400):
        chance = rng.beta(2, 3, size=(5, 1))  # one for each repetition, 0.4 on average
        found = statistics.repeated_proportion(rng.random((5, 200)) < chance)
        covered.append(found.low <= 0.4 <= found.high)
    assert np.mean(covered) >= 0.93
    one = rng.random((1, 200)) < 0.4
    wilson = statistics.proportion(int(one.sum()), 200)
    assert statistics.repeated_proportion(one).low == pytest.approx(wilson.low)
