"""Inversion and margins against closed forms on linear networks."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from crenel.transfer.hidden.inversion import invert  # noqa: E402
from crenel.transfer.hidden.kinds import FAMILIES, changed  # noqa: E402
from crenel.transfer.hidden.margin import largest_margins  # noqa: E402


def images(n=64, side=6, seed=0):
    return torch.from_numpy(
        (0.3 + 0.2 * np.random.default_rng(seed).random((n, 1, side, side))).astype(np.float32)
    )


def one_pixel_decides():
    """Four classes; class 2 wins wherever pixel (4, 1) is bright, the others need many pixels."""
    w = np.full((4, 36), 0.0, dtype=np.float32)
    w[0] = 0.05
    w[1, ::2], w[3, 1::2] = 0.1, 0.1
    w[2, 4 * 6 + 1] = 6.0
    bias = np.array([0.6, -0.2, -3.0, -0.2], dtype=np.float32)

    def logits(x):
        return 5 * (x.flatten(1) @ torch.from_numpy(w).T + torch.from_numpy(bias))

    return logits


def test_the_patch_is_found_at_the_pixel_that_decides():
    logits, x = one_pixel_decides(), images()
    decided = logits(x).argmax(dim=1)
    assert set(decided.tolist()) == {0}
    found = invert(logits, x, decided, np.arange(1, 4), "patch", steps=300, seed=0)
    assert found.mask[1, 0].argmax() == 4 * 6 + 1
    assert found.costs[1] < 2.0
    assert found.costs.argmin() == 1
    turned = logits(found.on(x, 1)).argmax(dim=1) == 2
    assert turned.float().mean() >= 0.7  # a running share of small batches was at 0.9


def test_the_blend_is_about_as_small_as_the_closed_form():
    rng = np.random.default_rng(3)
    w = rng.normal(size=(2, 36)).astype(np.float32) * 0.3
    x = images()

    def logits(z):
        return z.flatten(1) @ torch.from_numpy(w).T

    gap = (w[0] - w[1]) @ x.flatten(1).numpy().T
    loser = int(gap.mean() > 0)  # the class to turn to
    sign = 1 if loser == 1 else -1
    decided = torch.full((64,), 1 - loser)
    found = invert(logits, x, decided, np.array([loser]), "blend", steps=800, seed=0)
    # to turn 90 % of the images the gap has to fall by its 90 % quantile along w0 - w1
    least = np.quantile(sign * gap, 0.9) / np.linalg.norm(w[0] - w[1])
    assert found.costs[0] == pytest.approx(least, rel=0.25)


def test_the_largest_margin_is_that_of_a_corner_of_the_box():
    rng = np.random.default_rng(5)
    w = torch.from_numpy(rng.normal(size=(2, 16)).astype(np.float32))
    found = largest_margins(lambda z: z.flatten(1) @ w.T, (1, 4, 4), np.arange(2), steps=60, seed=0)
    edge = (w[0] - w[1]).numpy()
    np.testing.assert_allclose(found, [edge.clip(0).sum(), (-edge).clip(0).sum()], rtol=2e-3)


def test_the_same_seed_finds_the_same_and_nothing_leaves_the_range():
    logits, x = one_pixel_decides(), images()
    decided = torch.zeros(64, dtype=torch.int64)
    for family in FAMILIES:
        one, two = (
            invert(logits, x, decided, np.arange(1, 4), family, steps=20, seed=1) for _ in "ab"
        )
        assert torch.equal(one.values, two.values)
        np.testing.assert_array_equal(one.costs, two.costs)
        shown = changed(x, one.mask[0], (1 if family == "patch" else 9) * one.values[0], family)
        assert 0 <= float(shown.min()) <= float(shown.max()) <= 1


def test_gradients_that_vanish_reach_no_class():
    def blind(x):
        z = torch.round(x.flatten(1)).detach() @ torch.ones(36, 4)
        return z + 0 * x.sum() + torch.tensor([1.0, 0.0, 0.0, 0.0])

    decided = torch.zeros(64, dtype=torch.int64)
    found = invert(blind, images(), decided, np.arange(1, 4), "patch", steps=30, seed=0)
    assert np.isinf(found.costs).all()


def test_it_stops_when_told_to():
    calls = iter([True] * 3 + [False])
    found = invert(
        one_pixel_decides(), images(), torch.zeros(64, dtype=torch.int64), np.arange(1, 4), "patch",
        steps=50, seed=0, go_on=lambda: next(calls),
    )  # fmt: skip
    assert found.gradients == 3 * 3 * 16
