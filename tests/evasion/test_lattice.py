"""Legal numbers: pixels, whole numbers, one-hot groups."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crenel.evasion.lattice import PIXEL, Lattice, lattice_of, one_hot_groups


def test_pixels_scaled_to_one_are_recognised_and_kept():
    rng = np.random.default_rng(0)
    x = (rng.integers(0, 256, (20, 1, 8, 8)) / 255).astype(np.float32)
    lattice = lattice_of(x, 0.0, 1.0)
    assert lattice.step == pytest.approx(PIXEL)
    moved = lattice.project(x, x + rng.normal(0, 0.1, x.shape).astype(np.float32))
    eight = moved.astype(np.float64) * 255
    assert np.abs(eight - np.round(eight)).max() < 1e-4
    assert moved.min() >= 0
    assert moved.max() <= 1


def test_pixels_kept_as_whole_floats_stay_whole_and_black_and_white_ones_are_pixels():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (20, 1, 8, 8)).astype(np.float32)
    lattice = lattice_of(x, 0.0, 255.0)
    assert lattice.step == 1.0
    moved = lattice.project(x, x + rng.normal(0, 3, x.shape).astype(np.float32))
    assert (moved == np.round(moved)).all()
    assert (moved != x).any()
    assert lattice_of((x > 99).astype(np.float32), 0.0, 1.0).step == pytest.approx(PIXEL)


def test_real_numbers_are_left_free():
    x = np.random.default_rng(0).normal(size=(50, 4))
    assert lattice_of(x, -5.0, 5.0).free


def test_whole_columns_stay_whole_and_others_do_not():
    rng = np.random.default_rng(1)
    x = np.column_stack([rng.integers(0, 50, 100), rng.normal(size=100)]).astype(float)
    got = lattice_of(x, x.min(axis=0), x.max(axis=0)).project(x, x + 0.4)
    assert (got[:, 0] == np.round(got[:, 0])).all()
    assert (got[:, 1] != np.round(got[:, 1])).all()


def test_integers_come_back_as_integers():
    x = np.arange(12, dtype=np.uint8).reshape(3, 4)
    got = lattice_of(x, 0, 255).project(x, x + 0.6)
    assert got.dtype == np.uint8
    assert (got == x + 1).all()


def test_one_hot_groups_are_found_where_an_encoder_put_them():
    rng = np.random.default_rng(2)
    a, b = np.eye(4)[rng.integers(0, 4, 200)], np.eye(3)[rng.integers(0, 3, 200)]
    x = np.hstack([rng.normal(size=(200, 2)), a, b, rng.integers(0, 2, (200, 1))])
    assert one_hot_groups(x) == ((2, 3, 4, 5), (6, 7, 8))


def test_a_group_keeps_exactly_one():
    x = np.eye(3)[[0, 1, 2]]
    lattice = Lattice(0.0, 1.0, groups=((0, 1, 2),), dtype=np.float64)
    got = lattice.project(x, np.array([[0.4, 0.6, 0.1], [0.2, 0.3, 0.9], [0.1, 0.2, 0.3]]))
    assert (got == np.eye(3)[[1, 2, 2]]).all()


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 255), min_size=1, max_size=6),
    st.lists(st.floats(-0.3, 0.3), min_size=6, max_size=6),
    st.floats(0.01, 0.2),
)
def test_rounding_never_leaves_the_ball_or_the_bounds(pixels, change, epsilon):
    x = (np.array([pixels]) / 255).astype(np.float32)
    moved = x + np.clip(np.array([change[: len(pixels)]]), -epsilon, epsilon)
    lattice = Lattice(0.0, 1.0, PIXEL)
    got = lattice.project(x, moved, norm=math.inf, epsilon=epsilon).astype(np.float64)
    assert np.abs(got - x).max() <= epsilon + 1e-6
    assert got.min() >= 0
    assert got.max() <= 1


def test_what_was_not_changed_stays_exactly_as_it_was():
    x = np.array([[0.1234567, 3.0]])
    lattice = Lattice(0.0, 5.0, np.array([0.0, 1.0]), dtype=np.float64)
    assert (lattice.project(x, x.copy()) == x).all()
