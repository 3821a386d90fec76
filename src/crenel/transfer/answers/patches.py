"""Patches of a few cells: all single cells and squares are tried, then the best are changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crenel.transfer.answers.asking import Floats
from crenel.transfer.answers.plan import MUTANTS, STRIDE, Plan
from crenel.transfer.answers.seen import Viewed


@dataclass
class Best:
    """The patch that leads most to each class: cells (k, m), values (k, m, c), how far (k,)."""

    cells: NDArray[np.int64]
    values: NDArray[np.float32]
    led: Floats

    def take(
        self, cells: NDArray[np.int64], values: NDArray[np.float32], led: Floats
    ) -> NDArray[np.bool_]:
        """Keep what leads farther than what was known, of candidates and their (t, k)."""
        first = led.argmax(axis=0)
        far = led[first, np.arange(led.shape[1])]
        better = far > self.led
        self.cells[better], self.values[better] = cells[first[better]], values[first[better]]
        self.led[better] = far[better]
        return np.asarray(better)


def swept(seen: Viewed, plan: Plan) -> tuple[Floats, Best]:
    """Try every cell alone and squares at a grid of places, for all classes at once.

    Returns
    -------
    effects : ndarray of float64, shape (2, cells, k)
        Of single cells of the least and of the largest value.
    best : Best
    """
    k, c, m = seen.counted.shape[1], seen.x.shape[1], plan.cells
    best = Best(np.zeros((k, m), np.int64), np.zeros((k, m, c), np.float32), np.full(k, -np.inf))
    cells, values = _squares(seen, plan)
    best.take(cells, values, seen.led(*drawn(seen, cells, values)))
    return _single(seen), best


def begun(
    seen: Viewed, best: Best, effects: Floats, rng: np.random.Generator,
    classes: NDArray[np.int64],
) -> None:  # fmt: skip
    """Try what the effects of single cells suggest for some classes."""
    cells, values = _own(seen, best.cells.shape[1], effects, rng, classes)
    best.take(cells, values, seen.led(*drawn(seen, cells, values)))


def evolved(
    seen: Viewed, best: Best, rounds: int, effects: Floats, rng: np.random.Generator,
    go_on: Callable[[], bool], classes: NDArray[np.int64],
) -> int:  # fmt: skip
    """Change each class's patch at random and keep what leads farther, for whichever class.

    Returns
    -------
    int
        Rounds done.
    """
    for done in range(rounds):
        if not go_on():
            return done
        far = max(0.15, 0.6 * (1 - done / max(1, rounds)))
        made = [_changed(seen, best, k, effects, far, rng) for k in classes for _ in range(MUTANTS)]
        cells, values = np.stack([a for a, _ in made]), np.stack([b for _, b in made])
        best.take(cells, values, seen.led(*drawn(seen, cells, values)))
    return rounds


def drawn(
    seen: Viewed, cells: NDArray[np.int64], values: NDArray[np.float32]
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Masks (t, cells) and values (t, c, cells) of patches (t, m) and (t, m, c)."""
    t, size = len(cells), int(np.prod(seen.grid))
    mask = np.zeros((t, size), bool)
    shown = np.zeros((t, size, values.shape[2]), np.float32)
    row = np.arange(t)[:, None]
    mask[row, cells], shown[row, cells] = True, values
    return mask, shown.transpose(0, 2, 1)


def _single(seen: Viewed) -> Floats:
    """What single cells of the least and largest value do, less what is so by itself."""
    size, c = int(np.prod(seen.grid)), seen.x.shape[1]
    cells = np.arange(size)[:, None]
    told = [seen.led(*drawn(seen, cells, np.full((size, 1, c), v, np.float32))) for v in (0.0, 1.0)]
    return np.stack(told) - np.median(np.concatenate(told), axis=0)


def _squares(seen: Viewed, plan: Plan) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Squares at a grid of places: black, white, and both checker boards."""
    (h, w), c = seen.grid, seen.x.shape[1]
    inside = _window(plan.cells, w)
    tall, wide = inside // w, inside % w
    board = ((tall + wide) % 2).astype(np.float32)
    fills = np.stack([np.zeros_like(board), np.ones_like(board), board, 1 - board])
    places = [
        a * w + b
        for a in _places(h - tall.max())
        for b in _places(w - wide.max())
    ]  # fmt: skip
    cells = np.repeat(np.stack([p + inside for p in places]), len(fills), axis=0)
    values = np.tile(fills, (len(places), 1))[:, :, None].repeat(c, axis=2)
    return cells, values


def _places(end: int) -> list[int]:
    """Every other place before an end, and the last one."""
    return sorted({*range(0, int(end), STRIDE), int(end) - 1})


def _window(cells: int, across: int) -> NDArray[np.int64]:
    """Offsets of so many cells that are as square as can be."""
    side = int(np.ceil(np.sqrt(cells)))
    down, right = np.divmod(np.arange(side * side), side)
    return np.asarray((down * across + right)[:cells])


def _own(
    seen: Viewed, m: int, effects: Floats, rng: np.random.Generator, classes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Of each class: the cells that do most, the square of most, and draws from the best ones."""
    (h, w), c = seen.grid, seen.x.shape[1]
    inside, made = _window(m, w), []
    places = np.array(
        [a * w + b for a in range(h - inside.max() // w) for b in range(w - (inside % w).max())]
    )
    for k in classes:
        strong, fill = effects[:, :, k].max(axis=0), effects[:, :, k].argmax(axis=0)
        order = np.argsort(-strong, kind="stable")
        square = places[strong[places[:, None] + inside].sum(axis=1).argmax()] + inside
        picks = [order[:m], square, *(rng.choice(order[: 4 * m], m, replace=False) for _ in "ab")]
        made += [(p, fill[p]) for p in picks]
    values = np.stack([f for _, f in made]).astype(np.float32)[:, :, None].repeat(c, axis=2)
    return np.stack([p for p, _ in made]), values


def _changed(
    seen: Viewed, best: Best, k: int, effects: Floats, far: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """A class's patch with some cells elsewhere, of other values, or all of it moved."""
    cells, values = best.cells[k].copy(), best.values[k].copy()
    m, (h, w) = len(cells), seen.grid
    some = rng.permutation(m)[: max(1, rng.binomial(m, far * rng.random()))]
    way = rng.random()
    if way < 0.15:  # all of it
        down, right = rng.integers(-2, 3, 2)
        tall, wide = cells // w + down, cells % w + right
        if tall.min() >= 0 and tall.max() < h and wide.min() >= 0 and wide.max() < w:
            cells = tall * w + wide
        return cells, values
    if way < 0.6:  # some cells, to where single ones do much, beside others, or anywhere
        for i in some:
            to = _elsewhere(cells, k, effects, h, w, rng)
            if to not in cells:
                cells[i] = to
                values[i] = effects[:, to, k].argmax()
    if way >= 0.5 or values.shape[1] > 1:
        values[some] = rng.integers(0, 2, values[some].shape)
    return cells, values


def _elsewhere(
    cells: NDArray[np.int64], k: int, effects: Floats, h: int, w: int, rng: np.random.Generator
) -> int:
    draw = rng.random()
    if draw < 0.4:
        one = int(rng.choice(cells))
        down = min(max(one // w + int(rng.integers(-1, 2)), 0), h - 1)
        right = min(max(one % w + int(rng.integers(-1, 2)), 0), w - 1)
        return down * w + right
    if draw < 0.8:
        strong = effects[:, :, k].max(axis=0)
        few = rng.choice(len(strong), max(2, len(strong) // 16), replace=False)
        return int(few[strong[few].argmax()])
    return int(rng.integers(h * w))
