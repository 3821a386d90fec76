"""Witnesses on the legal lattice, asked again."""

from __future__ import annotations

import math

import numpy as np
import pytest

from crenel.evasion.lattice import Lattice
from crenel.evasion.verification import sizes, verified

X = np.array([[10, 20], [30, 40]], dtype=np.uint8)
BYTES = Lattice(0, 255, 1.0, dtype=np.uint8)


def above(limit):
    return lambda x: (x.astype(float).sum(axis=1) > limit).astype(int)


def test_a_change_that_vanishes_when_stored_is_not_counted():
    changed = X + np.array([[0.3, 0.3], [0.3, 0.3]])
    within = np.full(2, 0.3)
    witness, size = verified(
        above(30.2), X, np.array([0, 1]), changed, BYTES, norm=2, within=within
    )
    assert np.isinf(size).all()
    assert (witness == X).all()


def test_rounding_away_saves_a_witness_that_rounding_to_the_nearest_loses():
    changed = X + np.array([[1.4, 0.0], [0.0, 0.0]])
    within = np.array([2.0, math.inf])
    witness, size = verified(
        above(31.5), X, np.array([0, 1]), changed, BYTES, norm=math.inf, within=within
    )
    assert witness[0].tolist() == [12, 20]
    assert size.tolist() == [2.0, math.inf]


def test_a_witness_outside_its_ball_is_not_counted():
    x = np.zeros((1, 3), dtype=np.float32)
    free = Lattice(-5.0, 5.0, dtype=np.float32)
    _, size = verified(
        above(0.5), x, np.array([0]), x + 0.4, free, norm=math.inf, within=np.array([0.3])
    )
    assert np.isinf(size).all()
    _, size = verified(
        above(0.5), x, np.array([0]), x + 0.3, free, norm=math.inf, within=np.array([0.3])
    )
    assert size == pytest.approx(0.3)


@pytest.mark.parametrize(("norm", "size"), [(0, 2), (1, 7), (2, 5), (math.inf, 4)])
def test_sizes(norm, size):
    assert sizes(np.zeros((1, 3)), np.array([[3.0, 0.0, -4.0]]), norm) == pytest.approx([size])
