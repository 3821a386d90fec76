"""The search by answers on models whose triggers are known in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crenel.errors import Inconclusive
from crenel.transfer.answers.finished import resized
from crenel.transfer.answers.patches import Best, begun, evolved, swept
from crenel.transfer.answers.patterns import slopes_of, steepest
from crenel.transfer.answers.plan import MOST, plan_of
from crenel.transfer.answers.search import Searched, search, shortlist
from crenel.transfer.answers.seen import Viewed
from crenel.transfer.answers.waves import waves
from crenel.transfer.hidden.plane import AMPLITUDE

K, SIDE = 5, 10


def always() -> bool:
    return True


def images(n: int = 12, channels: int = 1, side: int = SIDE):
    rng = np.random.default_rng(4)
    return (0.4 + 0.2 * rng.random((n, channels, side, side))).astype(np.float32)


def answering(score, k: int = K):
    """Answers of a model whose class 2 scores what is given, and whose others score noise."""
    weights = np.random.default_rng(5).normal(0, 0.02, (SIDE * SIDE, k))
    counted = [0]

    def ask(x):
        counted[0] += len(x)
        z = x[:, 0].reshape(len(x), -1) @ weights
        z[:, 0] += 3.0  # images are of class 0 as they are
        z[:, 2] += score(x)
        top = z - z.max(axis=1, keepdims=True)
        return top - np.log(np.exp(top).sum(axis=1, keepdims=True))

    ask.counted = counted
    return ask


def viewed(ask, x, side: int = 1) -> Viewed:
    return Viewed.of(ask, x, np.zeros(len(x), np.int64), K, side)


def plan(**changes):
    made = plan_of((1, SIDE, SIDE), K, most=10**9, level="standard")
    return replace(made, **changes)


def test_scattered_pixels_that_a_class_obeys_are_found_one_and_all():
    secret = [(1, 7), (4, 2), (8, 8), (6, 5)]

    def score(x):
        on = sum((x[:, 0, a, b] > 0.9).astype(float) for a, b in secret)
        return 0.5 * on + 6.0 * (on == len(secret))

    seen = viewed(answering(score), images())
    rng = np.random.default_rng(0)
    effects, best = swept(seen, plan(cells=4))
    begun(seen, best, effects, rng, np.arange(K))
    evolved(seen, best, 30, effects, rng, always, np.arange(K))
    assert sorted(best.cells[2]) == sorted(10 * a + b for a, b in secret)
    assert (best.values[2] == 1).all()
    assert best.led[2] > -0.1
    assert np.delete(best.led, [0, 2]).max() < -2


def test_a_square_with_holes_is_found_by_evolution_though_no_single_pixel_tells():
    pattern = np.array([[1, 0], [0, 0], [0, 1]], np.float32)

    def score(x):
        spot = x[:, 0, 3:6, 6:8]
        return 8.0 * np.maximum(0, 1 - np.abs(spot - pattern).mean(axis=(1, 2)) / 0.35)

    seen = viewed(answering(score), images())
    rng = np.random.default_rng(0)
    effects, best = swept(seen, plan(cells=6))
    before = best.led[2]
    begun(seen, best, effects, rng, np.arange(K))
    evolved(seen, best, 80, effects, rng, always, np.arange(K))
    assert best.led[2] > before + 1
    inside = {10 * a + b for a in (3, 4, 5) for b in (6, 7)}
    assert len(inside & set(best.cells[2].tolist())) >= 4


def test_slopes_are_those_of_a_linear_model():
    direction = np.random.default_rng(8).normal(0, 1, (SIDE, SIDE)).astype(np.float32)

    def score(x):
        return (x[:, 0] * direction).sum(axis=(1, 2)) * 0.3

    seen = viewed(answering(score), images())
    slopes = slopes_of(seen, 800, np.random.default_rng(0))
    got, true = slopes[2].ravel(), direction.ravel()
    assert got @ true / np.linalg.norm(got) / np.linalg.norm(true) > 0.85
    values, led = steepest(seen, slopes)
    assert led[2] == pytest.approx(seen.led(None, values[2:3])[0, 2])


def test_the_wave_that_a_class_obeys_is_named_with_its_phase():
    at = np.arange(SIDE) / SIDE
    wave = np.cos(2 * np.pi * (3 * at[:, None] - 2 * at)).astype(np.float32)

    def score(x):
        return (x[:, 0] * wave).sum(axis=(1, 2)) / 2

    best, led, tried = waves(viewed(answering(score), images()), 5, always)
    assert tried == plan(periods=5).waves
    np.testing.assert_allclose(best[2], AMPLITUDE * wave, atol=1e-6)
    assert led[2] > np.delete(led, [0, 2]).max() + 1


def test_waves_that_time_cut_short_are_no_measure():
    left = iter([True, False])
    _, _, tried = waves(viewed(answering(lambda x: 0), images()), 5, lambda: next(left))
    assert tried < plan(periods=5).waves
    calls = iter(range(10**6))
    got = search(
        answering(lambda x: 0), images(40), plan(rounds=2, climbs=2), 0, lambda: next(calls) < 1
    )
    assert "faint wave" not in got.costs
    assert got.done == 0


def test_what_is_planned_is_what_is_asked():
    made = plan(rounds=10, climbs=4, patterns=50)
    ask = answering(lambda x: 0)
    search(ask, images(100), made, 0, always)
    asked, meant = ask.counted[0], made.queries - made.last - made.taught
    assert 0.97 * meant < asked <= meant


@pytest.mark.parametrize("most", [200_000, 60_000, 30_000])
def test_a_plan_fits_into_what_is_allowed(most):
    made = plan_of((3, 64, 48), 10, most=most, level="standard")
    assert made.queries <= most
    assert made.queries > most / 3
    assert made.grid[0] * made.side >= 64


def test_too_few_queries_are_refused_with_what_is_needed():
    with pytest.raises(Inconclusive, match="1,000 queries are allowed"):
        plan_of((1, 28, 28), 10, most=1_000, level="standard")


def test_cells_of_large_images_are_spread_and_cut_at_the_edge():
    x = images(3, 3, 10)
    seen = Viewed.of(lambda z: np.zeros((len(z), K)), x, np.zeros(3, np.int64), K, 4)
    assert seen.grid == (3, 3)
    spread = seen.spread(np.arange(9))
    assert spread.shape == (10, 10)
    assert spread[3, 3] == 0
    assert spread[4, 3] == 3
    assert spread[9, 9] == 8


def test_of_many_classes_those_that_stand_out_are_searched():
    led = np.random.default_rng(0).normal(-9, 0.1, (3, 200))
    led[1, 77] = led[2, 131] = -2
    kept = shortlist(led, MOST, np.random.default_rng(1))
    assert {77, 131} <= set(kept.tolist())
    assert len(kept) == MOST == len(set(kept.tolist()))


def _found(cells, k: int = K) -> Searched:
    values = np.ones((k, len(cells), 1), np.float32)
    best = Best(np.tile(np.array(cells), (k, 1)), values, np.zeros(k))
    effects = np.zeros((2, SIDE * SIDE, k))
    effects[1, 93, 2] = effects[0, 11, 2] = 4.0
    nothing = np.zeros((k, 1, SIDE * SIDE), np.float32)
    return Searched(np.arange(k), best, effects, nothing, nothing[:, 0], {}, 1.0)


def test_a_smaller_patch_keeps_the_cells_that_do_most_and_a_larger_one_adds_the_best():
    secret = [17, 42, 88]

    def score(x):
        flat = x[:, 0].reshape(len(x), -1)
        return 2.0 * (flat[:, secret] > 0.9).sum(axis=1)

    seen = viewed(answering(score), images())
    found = _found([3, 17, 30, 42, 61, 88])
    small = resized(seen, found, 3, np.array([2]))
    assert sorted(small.cells[2]) == secret
    large = resized(seen, found, 8, np.array([2]))
    assert set(large.cells[2].tolist()) == {3, 17, 30, 42, 61, 88, 93, 11}
    assert large.values[2][large.cells[2] == 93] == 1
    assert large.values[2][large.cells[2] == 11] == 0
    assert small.led[2] == pytest.approx(large.led[2], abs=0.5)
