"""Values of rows to their neighbours, against Shapley's own formula over all subsets."""

from itertools import combinations
from math import comb

import numpy as np
import pandas as pd
import pytest

from crenel.poisoning import knn_shapley
from crenel.poisoning.labels.neighbours import numbers
from crenel.poisoning.sources.shapley import source_values


def share_right(rows, distance, y, wanted, k):
    near = sorted(rows, key=lambda i: distance[i])[:k]
    return sum(y[i] == wanted for i in near) / k


def by_subsets(x, y, tx, ty, k):
    z = numbers(np.concatenate([x, tx]))
    a, b = z[: len(x)], z[len(x) :]
    n, values = len(y), np.zeros(len(y))
    for row, wanted in zip(b, ty, strict=True):
        distance = ((a - row) ** 2).sum(axis=1)
        for i in range(n):
            rest = [j for j in range(n) if j != i]
            for size in range(n):
                for some in combinations(rest, size):
                    gain = share_right([*some, i], distance, y, wanted, k)
                    gain -= share_right(some, distance, y, wanted, k)
                    values[i] += gain / (n * comb(n - 1, size))
    return values / len(b)


@pytest.mark.parametrize("k", [1, 3, 12])
def test_values_are_shapley_values(k):
    rng = np.random.default_rng(k)
    x, y = rng.normal(size=(8, 3)), rng.integers(0, 3, 8)
    tx, ty = rng.normal(size=(3, 3)), rng.integers(0, 3, 3)
    want = by_subsets(x, y, tx, ty, k)
    np.testing.assert_allclose(knn_shapley((x, y), (tx, ty), k), want, atol=1e-12)


def test_values_add_up_to_the_share_of_right_neighbours():
    rng = np.random.default_rng(0)
    x, y, tx, ty = (
        rng.normal(size=(300, 4)), rng.integers(0, 2, 300),
        rng.normal(size=(50, 4)), rng.integers(0, 2, 50),
    )  # fmt: skip
    z = numbers(np.concatenate([x, tx]))
    near = ((z[300:, None] - z[None, :300]) ** 2).sum(axis=2).argsort(axis=1)[:, :7]
    want = (y[near] == ty[:, None]).mean()
    assert knn_shapley((x, y), (tx, ty), 7).sum() == pytest.approx(want)


def test_the_nearest_alone_come_within_their_bound():
    rng = np.random.default_rng(1)
    x, tx = rng.normal(size=(800, 3)), rng.normal(size=(60, 3))
    y, ty = (x[:, 0] > 0).astype(int), (tx[:, 0] > 0).astype(int)
    exact = knn_shapley((x, y), (tx, ty), 5)
    for nearest in (20, 100, 799):
        assert np.abs(knn_shapley((x, y), (tx, ty), 5, nearest) - exact).max() < 1 / nearest


def test_turned_labels_are_worth_least_and_frames_are_read():
    rng = np.random.default_rng(2)
    x = pd.DataFrame({"a": rng.normal(size=600), "b": rng.choice(["u", "v"], 600)})
    clean = ((x["a"] > 0) ^ (x["b"] == "u")).to_numpy().astype(np.int64)
    turned = np.arange(400) < 40
    y = np.where(turned, 1 - clean[:400], clean[:400])
    rest = x.iloc[400:].reset_index(drop=True)
    values = knn_shapley((x.iloc[:400], y), (rest, clean[400:]), 5, 50)
    assert np.isin(np.argsort(values)[:30], np.flatnonzero(turned)).all()
    assert values[turned].mean() < 0 < values[~turned].mean()


def test_sources_are_below_zero_beyond_noise_only_where_they_harm():
    rng = np.random.default_rng(3)
    alarms = 0
    for _ in range(20):
        codes, values = rng.integers(0, 10, 500), rng.normal(0, 1, 500)
        mean, high = source_values(values, codes)
        assert mean[4] == pytest.approx(values[codes == 4].mean())
        alarms += (high < 0).any()
        values[codes == 4] -= 1
        assert source_values(values, codes)[1][4] < 0
    assert alarms <= 2
    assert source_values(np.array([-1.0, 2.0, 3.0]), np.array([0, 1, 1]))[1][0] == np.inf
