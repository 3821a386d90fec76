"""Proofs beside an attack, and the test that they can be believed."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from crenel.evasion import certify  # noqa: E402
from crenel.evasion.proving import proofs  # noqa: E402

W = np.array([1.0, -2.0, 0.5], dtype=np.float32)
RADII = (0.05, 0.2, 0.6)


@pytest.fixture
def rows():
    """A linear network of one logit, and the exact L-inf distance of each row."""
    layer = torch.nn.Linear(3, 1)
    with torch.no_grad():
        layer.weight[:] = torch.from_numpy(W)
        layer.bias[:] = 0.0
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    return layer, x, (x @ W > 0).astype(np.int64), np.abs(x @ W) / np.abs(W).sum()


def ask(layer, x, y, upper):
    return proofs(
        layer, x, y, upper, norm=math.inf, epsilons=RADII, bounds=(-10.0, 10.0), seed=0,
        level="standard", deadline=None,
    )  # fmt: skip


def test_rows_are_proven_below_their_distance_and_broken_ones_are_not(rows):
    layer, x, y, exact = rows
    got = ask(layer, x, y, np.where(exact <= RADII[-1], exact, np.inf))
    expected = [max((r for r in RADII if r < d), default=0.0) for d in exact]
    assert got.lower == pytest.approx(np.array(expected))
    assert [t.ok for t in got.tests] == [True]
    assert "0 of 8 broken rows" in got.tests[0].detail


def test_a_slow_machine_proves_the_same(rows, monkeypatch):
    layer, x, y, _ = rows
    hours = iter(range(0, 10**9, 3600))
    free = ask(layer, x, y, np.full(40, np.inf))
    monkeypatch.setattr("time.monotonic", lambda: next(hours))
    assert np.array_equal(ask(layer, x, y, np.full(40, np.inf)).lower, free.lower)
    assert free.lower.any()


def test_where_a_broken_row_can_be_proven_nothing_is(rows, monkeypatch):
    layer, x, y, exact = rows
    monkeypatch.setattr(
        certify, "certified_radius", lambda m, x, y, **k: np.full(len(x), RADII[-1]), raising=False
    )
    got = ask(layer, x, y, np.where(exact <= RADII[-1], exact, np.inf))
    assert not got.lower.any()
    assert [t.ok for t in got.tests] == [False]


def test_a_network_that_cannot_be_read_says_why(rows):
    _, x, y, _ = rows
    got = ask(
        torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.GELU()), x, y, np.full(40, np.inf)
    )
    assert not got.lower.any()
    assert "Nothing is proven" in got.notes[0]
