"""The triggers of two classes made anew at several sizes, and tried on images not searched."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from crenel.transfer.answers.patches import Best, drawn, evolved
from crenel.transfer.answers.plan import AGAIN, IMAGES, MULTIPLES, PARTS, Plan
from crenel.transfer.answers.scene import Scene
from crenel.transfer.answers.search import Searched, viewed
from crenel.transfer.answers.seen import Viewed
from crenel.transfer.hidden.kinds import Family, Sized, Trigger, put_on


def sized_patches(
    scene: Scene, found: Searched, goals: NDArray[np.int64], plan: Plan, seed: int,
    go_on: Callable[[], bool],
) -> dict[int, Sized]:  # fmt: skip
    """The patches of some classes at several sizes, each begun from what was found."""
    rng = np.random.default_rng(seed)
    seen = viewed(scene.asked, scene.pool[-IMAGES:], plan.side)
    m = found.patch.cells.shape[1]
    counts = sorted({max(1, round(p * m)) for p in PARTS if round(p * m) <= np.prod(plan.grid) / 4})
    made: dict[int, list[tuple[NDArray[np.float32], NDArray[np.float32]]]] = {g: [] for g in goals}
    for count in counts:
        best = resized(seen, found, count, goals)
        evolved(seen, best, round(AGAIN * plan.rounds), found.effects, rng, go_on, goals)
        mask, values = drawn(seen, best.cells, best.values)
        for g in goals:
            made[int(g)].append((seen.spread(mask[g])[None], seen.spread(values[g])))
    return {
        g: Sized(
            "patch", tuple(float(mask.sum()) for mask, _ in pairs),
            [mask for mask, _ in pairs], [values for _, values in pairs],
        )
        for g, pairs in made.items()
    }  # fmt: skip


def resized(seen: Viewed, found: Searched, count: int, goals: NDArray[np.int64]) -> Best:
    """Patches of another number of cells: without those that do least, or with the best others."""
    patch, effects = found.patch, found.effects
    k, m, c = patch.values.shape
    cells, values = np.zeros((k, count), np.int64), np.zeros((k, count, c), np.float32)
    led = np.full(k, np.inf)  # no class but these is looked for
    for g in goals:
        own, shown = patch.cells[g], patch.values[g]
        if count < m:
            mask, full = drawn(seen, own[None].repeat(m, 0), shown[None].repeat(m, 0))
            mask[np.arange(m), own] = False
            kept = np.argsort(seen.led(mask, full)[:, g], kind="stable")[:count]
            cells[g], values[g] = own[kept], shown[kept]
        else:
            strong = effects[:, :, g].max(axis=0).copy()
            strong[own] = -np.inf
            more = np.argsort(-strong, kind="stable")[: count - m]
            fill = effects[:, more, g].argmax(axis=0).astype(np.float32)[:, None].repeat(c, axis=1)
            cells[g], values[g] = np.concatenate([own, more]), np.concatenate([shown, fill])
    best = Best(cells, values, led)
    told = seen.led(*drawn(seen, cells[goals], values[goals]))
    best.led[goals] = told[np.arange(len(goals)), goals]
    return best


def sized_pattern(family: Family, values: NDArray[np.float32]) -> Sized:
    """What is added (c, h, w), at several multiples."""
    mask, norm = np.ones((1, *values.shape[1:]), np.float32), float(np.linalg.norm(values))
    made = [values * np.float32(m) for m in MULTIPLES]
    return Sized(family, tuple(m * norm for m in MULTIPLES), [mask] * len(made), made)


def tried(scene: Scene, made: Sized, goal: int, most: int, seed: int) -> Trigger:
    """Put a trigger on so many held-out images, and random values in its place."""
    rows, rng = scene.others(goal)[:most], np.random.default_rng(seed)
    noise = [_noise(values, made.family, rng) for values in made.values]
    return put_on(made, noise, goal, scene.tried[rows], rows, scene.ask)


def _noise(
    values: NDArray[np.float32], family: Family, rng: np.random.Generator
) -> NDArray[np.float32]:
    if family == "patch":
        return rng.random(values.shape, dtype=np.float32)
    drawn_ones = rng.standard_normal(values.shape, dtype=np.float32)
    return np.asarray(drawn_ones * (np.linalg.norm(values) / np.linalg.norm(drawn_ones)))
