"""Likeness: closed forms held against all orders, exact singular values, and unrelated layers."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from crenel.transfer.lineage.similarity import (
    is_table,
    likeness,
    low_rank_share,
    order_z,
    permutation_test,
)
from crenel.transfer.lineage.weights import narrowed


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_order_z_is_that_of_all_orders():
    gram = normal(6, 6).astype(np.float64) + 3
    sums = np.array([sum(gram[i, p[i]] for i in range(6)) for p in permutations(range(6))])
    expected = (np.trace(gram) - sums.mean()) / sums.std()
    assert order_z(gram) == pytest.approx(expected, rel=1e-9)


def test_unrelated_layers_with_means_and_norms_in_common_are_no_evidence():
    # The same mean filter, the same norms by output, heavy tails: the cosine is high, and by
    # ±1/sqrt(n) all pairs would be called related.
    rng = np.random.default_rng(1)
    naive = found = 0
    tries = 300
    for _ in range(tries):
        mean = rng.standard_normal((1, 24, 3, 3)) * 1.5
        a, b = (
            (mean + rng.standard_t(4, (32, 24, 3, 3)) * rng.gamma(2, 1, (32, 1, 1, 1))).astype(
                np.float32
            )
            for _ in "ab"
        )
        naive += likeness(a, b).cosine * np.sqrt(a.size) > 2.33
        found += permutation_test(a, b)[1] <= -2
    assert naive > 0.5 * tries
    # 1 % are expected at most; ten of 300 would be had by chance in one of a thousand cases.
    assert found < 10


def test_a_channel_or_weight_that_outweighs_all_others_proves_nothing():
    # A first layer, of which one axis alone is long enough, and one weight far from all others.
    for shape, place in (((64, 3, 7, 7), (7,)), ((100, 80), (7, 9))):
        a, b = normal(*shape), normal(*shape, seed=1)
        for x in (a, b):
            x[place] *= 1000 / np.abs(x[place]).max()
        b *= np.sign((a * b).sum())
        assert likeness(a, b).cosine * np.sqrt(a.size) > 4
        assert permutation_test(a, b)[1] > -3


def test_a_copy_under_noise_is_seen_and_a_constant_axis_is_not():
    a = normal(64, 32)
    for scale, least in ((0.5, -20), (3.0, -6)):
        z, log10_p = permutation_test(a, a + scale * normal(64, 32, seed=2))
        assert z > 4
        assert log10_p < least
    same = np.tile(normal(1, 32), (64, 1))
    assert permutation_test(same, same)[1] > -1


def test_short_axes_are_not_tested():
    assert permutation_test(normal(10, 8), normal(10, 8)) is None
    # Only the inputs of a last layer with ten classes are in an order without meaning.
    a = normal(10, 64)
    assert permutation_test(a, a)[1] < -6


def test_large_layers_are_tested_on_a_part():
    a = normal(3000, 40)
    assert permutation_test(a, a + normal(3000, 40, seed=3))[1] < -6
    assert permutation_test(a, normal(3000, 40, seed=4))[1] > -4


@pytest.mark.parametrize("rank", [1, 4, 12])
def test_low_rank_share_is_that_of_exact_singular_values(rank):
    change = normal(160, rank) @ normal(rank, 130, seed=1) + 0.02 * normal(160, 130, seed=2)
    values = np.linalg.svd(change, compute_uv=False) ** 2
    expected = values[:16].sum() / values.sum()
    assert low_rank_share(change) == pytest.approx(expected, abs=2e-3)
    assert low_rank_share(change) > 0.99
    assert low_rank_share(normal(160, 130)) < 0.5


def test_likeness_over_pieces_is_that_of_the_whole():
    a, b = normal(5_000_000), normal(5_000_000, seed=1)
    b = a + 0.1 * b
    got = likeness(a, b)
    x, y = a.astype(np.float64), b.astype(np.float64)
    assert got.cosine == pytest.approx(x @ y / np.sqrt((x @ x) * (y @ y)), rel=1e-5)
    assert got.change == pytest.approx(np.linalg.norm(y - x) / np.linalg.norm(x), rel=1e-4)
    assert not got.identical
    assert likeness(a, a).identical
    assert likeness(np.ones(9, np.float32), a[:9]).constant


def test_rounding_is_that_of_torch():
    torch = pytest.importorskip("torch")
    a = normal(1000) * 10.0 ** np.random.default_rng(1).integers(-4, 4, 1000).astype(np.float32)
    for dtype, kind in (("F16", torch.float16), ("BF16", torch.bfloat16)):
        expected = torch.from_numpy(a).to(kind).float().numpy()
        np.testing.assert_array_equal(narrowed(a, dtype), expected)


def test_tables_are_told_from_weights():
    frame = np.arange(256)
    fourier = np.stack([np.cos(2 * np.pi * k * frame / 256) for k in range(129)])
    windowed = (fourier * np.hanning(256)).astype(np.float32)
    assert is_table(windowed)
    assert is_table(np.tril(np.ones((64, 64), np.float32)))
    smooth = np.cumsum(normal(64, 128), axis=1)
    for weights in (normal(64, 128), smooth, normal(64, 3, 7, 7)):
        assert not is_table(weights)
