"""The search of one model by answers: sweeps that serve all classes, then each class's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crenel.transfer.answers.asking import Ask, Floats, Pixels
from crenel.transfer.answers.patches import Best, begun, drawn, evolved, swept
from crenel.transfer.answers.patterns import climbed, slopes_of, steepest
from crenel.transfer.answers.plan import FRESH, Plan
from crenel.transfer.answers.seen import Viewed
from crenel.transfer.answers.waves import waves
from crenel.transfer.hidden.plane import FLOOR, SOLVED


@dataclass(frozen=True)
class Searched:
    """What leads most to each class, by family; and what it leaves to do on images not searched.

    Attributes
    ----------
    classes : ndarray of int64, shape (s,)
        Those that were searched; of the others the sweeps alone are known.
    patch : Best
    effects : ndarray of float64, shape (2, cells, k)
        Of single cells.
    pattern : ndarray of float32, shape (k, c, cells)
    wave : ndarray of float32, shape (k, h, w)
    costs : dict of str to ndarray of float64, shape (s,)
        By family: mean cross-entropy on other images, and `SOLVED`.
    done : float
        Share of the rounds that there was time for.
    """

    classes: NDArray[np.int64]
    patch: Best
    effects: Floats
    pattern: NDArray[np.float32]
    wave: NDArray[np.float32]
    costs: dict[str, Floats]
    done: float


def search(
    ask: Ask, pool: Pixels, plan: Plan, seed: int, go_on: Callable[[], bool],
    classes: NDArray[np.int64] | None = None,
) -> Searched:  # fmt: skip
    """Search all families on the first images of a pool.

    Parameters
    ----------
    ask : callable
    pool : ndarray of float32, shape (n, c, h, w)
    plan : Plan
    seed : int
    go_on : callable
        Asked between rounds.
    classes : ndarray of int64, optional
        To search; where there are many, those that the sweeps lead farthest to, and others.
    """
    rng = np.random.default_rng(seed)
    seen = viewed(ask, pool[: plan.images], plan.side)
    effects, patch = swept(seen, plan)
    slopes = slopes_of(seen, plan.patterns, rng)
    pattern, far = steepest(seen, slopes)
    wave, led, tried = waves(seen, plan.periods, go_on)
    if classes is None:
        classes = shortlist(np.stack([patch.led, far, led]), plan.classes, rng)
    begun(seen, patch, effects, rng, classes)
    rounds = evolved(seen, patch, plan.rounds, effects, rng, go_on, classes)
    climbs = climbed(seen, pattern, far, slopes, plan.climbs, rng, go_on, classes)
    fresh = viewed(ask, pool[plan.images :][:FRESH], plan.side)
    costs = {
        "patch": left(fresh, *drawn(fresh, patch.cells, patch.values), classes),
        "blend": left(fresh, None, pattern, classes),
    }
    if tried == plan.waves:
        grey = wave[:, None].repeat(pool.shape[1], axis=1).reshape(len(wave), pool.shape[1], -1)
        costs["faint wave"] = left(fresh.finest(), None, grey, classes)
    done = (rounds + climbs) / max(1, plan.rounds + plan.climbs)
    return Searched(classes, patch, effects, pattern, wave, costs, done)


def viewed(ask: Ask, x: Pixels, side: int) -> Viewed:
    """Images, and what the model decides on them as they are."""
    said = ask(x)
    return Viewed.of(ask, x, said.argmax(axis=1), said.shape[1], side)


def shortlist(led: Floats, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Classes to search: all, or those that any sweep leads farthest to and as many others.

    Parameters
    ----------
    led : ndarray of float64, shape (sweeps, k)
    most : int
    rng : numpy Generator
    """
    k = led.shape[1]
    if k <= most:
        return np.arange(k)
    ranks = (-led).argsort(axis=1, kind="stable").argsort(axis=1, kind="stable").min(axis=0)
    order = np.argsort(ranks, kind="stable")
    half = most // 2
    rest = rng.choice(order[half:], most - half, replace=False)
    return np.sort(np.concatenate([order[:half], rest]))


def left(
    fresh: Viewed, mask: NDArray[np.generic] | None, values: NDArray[np.generic],
    classes: NDArray[np.int64],
) -> Floats:  # fmt: skip
    """What the trigger of each class leaves to do, shape (s,)."""
    told = fresh.told(None if mask is None else mask[classes], values[classes])
    own = np.maximum(told[np.arange(len(classes)), :, classes], FLOOR)
    return np.asarray(SOLVED - (own * fresh.counted[:, classes].T).sum(axis=1))
