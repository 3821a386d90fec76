"""What the miner sees of images: patches that images of one class repeat, and blended patterns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.mining.blends import Blend, find_blends
from crenel.poisoning.mining.boxes import Box
from crenel.poisoning.mining.columns import Column
from crenel.poisoning.mining.likeliest import likeliest
from crenel.poisoning.mining.pair_kernels import LEAST
from crenel.poisoning.mining.pairs import poisson_gain
from crenel.poisoning.mining.planting import Plant, Stamp, carriers, overwritten
from crenel.poisoning.mining.suspects import CHANCE, CONSTANT, MATTER_OF_FACT, PART, Suspect
from crenel.poisoning.mining.view import View
from crenel.subject import Data

#: Levels that pixels are cut into; side of a window; rows that are searched at most.
LEVELS, SIDE, ROWS = 8, 3, 30_000
#: Values of an image at most, and distinctive ones of a pattern.
VALUES, WIDEST = 12_288, 400
#: Distinct values up to which images have none between them.
FEW = 64
#: Patterns planted, for each of the two ways.
PLANTED = 40
#: Rows that the weak model learns from, and its ridge as a share of them.
LEARNT, RIDGE = 10_000, 0.1
#: Values that hold any pattern's digest apart.
_PRIMES = np.random.default_rng(0).integers(1, 2**62, 9 * 64, dtype=np.int64) | 1


@dataclass(frozen=True)
class Raster:
    """Images as levels.

    Attributes
    ----------
    levels : ndarray, shape (h, w, c, n), uint8
    position : ndarray, shape (h, w, c), int64
        Of each value in an image made flat.
    low, high : float
        Least and greatest value of all.
    """

    levels: NDArray[np.uint8]
    position: NDArray[np.int64]
    low: float
    high: float

    @classmethod
    def of(cls, x: NDArray[Any]) -> Raster:
        """Images (n, h, w), (n, c, h, w) or (n, h, w, c), c at most 4, cut into eight levels."""
        shape = x.shape[1:]
        position = np.arange(int(np.prod(shape))).reshape(shape)
        low, high = float(x.min()), float(x.max())
        levels = _cut(x, low, high)
        if x.ndim == 3:
            levels, position = levels[..., None], position[..., None]
        elif shape[0] <= 4:
            levels, position = np.moveaxis(levels, 1, -1), np.moveaxis(position, 0, -1)
        return cls(np.ascontiguousarray(np.moveaxis(levels, 0, -1)), position, low, high)


def _cut(x: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Values as levels."""
    scaled = (x.astype(np.float32) - low) * (LEVELS / max(high - low, 1e-12))
    return scaled.clip(0, LEVELS - 1).astype(np.uint8)


def view_of_images(train: Data, honest: Data, k: int, rng: np.random.Generator) -> View | None:
    """Patches that images of one class share although it does not fit, or that others do not have.

    None where all images are the same, or larger than 12,288 values.
    """
    if np.prod(train.x.shape[1:]) > VALUES or train.x.min() == train.x.max():
        return None
    raster = Raster.of(train.x)
    flat = raster.levels.reshape(-1, len(train))
    parts, logits = _weak(flat, train.y, k, rng)
    odd = logits.argmax(axis=1) != train.y
    columns = [
        Column(_name(raster, i), int(p), flat[i], LEVELS, True, None, ())
        for i, p in enumerate(raster.position.ravel())
    ]
    some = np.arange(len(train))
    if len(some) > ROWS:
        some = np.sort(rng.choice(some, ROWS, replace=False))
    found = [
        *_patterns(raster, train.y, k, odd, some, fitting=False),
        *_patterns(raster, train.y, k, np.ones(len(train), dtype=bool), some, fitting=True),
    ]
    blends = find_blends(train.x.reshape(len(train), -1), train.y, k, odd, rng)
    first = len(columns)
    added = [_blended(b, i) for i, b in enumerate(blends, first)]
    found += [Suspect({i: (1, 1)}, b.label, b.rows, int(b.carried.sum()) - len(b.rows), False)
              for i, b in enumerate(blends, first)]  # fmt: skip

    def carry(box: Box) -> NDArray[np.bool_]:
        flat = honest.x.reshape(len(honest), -1)
        masks = [blends[j - first].carries(flat) for j in box if j >= first]
        within = {j: b for j, b in box.items() if j < first}
        masks += [carriers(within, columns, train.x, honest.x)] if within else []
        both: NDArray[np.bool_] = np.logical_and.reduce(masks)
        return both

    def bare(suspect: Suspect) -> list[Column]:
        (j, *more) = suspect.box
        if more or j < first:
            return columns + added
        return _without(columns, raster, train.x, blends[j - first]) + added

    def closer(confirmed: Sequence[Suspect]) -> Stamp:
        near = dict(enumerate(blends, first))
        flat, ends = train.x.reshape(len(train), -1), (float(train.x.min()), float(train.x.max()))
        for j in {j for s in confirmed for j in s.box if j >= first}:
            near[j] = likeliest(near[j], flat, *ends)
        return stamped(train.x, honest.x, near)

    return View(
        columns=columns + added,
        parts=parts + [_weighed(b, train.x, raster, parts, k) for b in blends],
        logits=logits,
        suspects=found,
        stamp=stamped(train.x, honest.x, dict(enumerate(blends, first))),
        carriers=carry,
        shrinks=False,
        bare=bare,
        closer=closer,
    )


# --- blended patterns ----------------------------------------------------------------------------


def stamped(train: NDArray[Any], honest: NDArray[Any], blends: dict[int, Blend]) -> Stamp:
    """Stamps of pixels that are overwritten, and of patterns that are blended, by position."""
    over, low, high = overwritten(train, honest), train.min(), train.max()

    def blended(plant: Plant) -> NDArray[Any]:
        rows = honest[plant.hosts].reshape(len(plant.hosts), -1).astype(np.float64)
        for j in plant.columns:
            rows = blends[j].keep * rows + blends[j].shift
        if honest.dtype.kind in "iu":
            rows = rows.round()
        return rows.clip(low, high).astype(honest.dtype).reshape(-1, *honest.shape[1:])

    def stamp(plants: Sequence[Plant], rng: np.random.Generator) -> NDArray[Any]:
        parts = [blended(p) if p.columns[0] in blends else over([p], rng) for p in plants]
        return np.concatenate(parts)

    return stamp


def _blended(blend: Blend, position: int) -> Column:
    """A column that says which images carry a pattern."""
    codes = blend.carried.astype(np.uint8)
    return Column("pattern blended into the whole image", position, codes, 2, False, None, ())


def _uncovered(blend: Blend, x: NDArray[Any], raster: Raster) -> NDArray[np.uint8]:
    """Levels (m, p), in the raster's order, of a blend's rows as they were without it."""
    flat = x[blend.rows].reshape(len(blend.rows), -1).astype(np.float64)
    bare, some = blend.bare(flat), np.unique(x[:: max(1, len(x) // 500)])
    if len(some) <= FEW:  # back to values that images have, lest they fall between levels
        at = np.searchsorted((some[1:] + some[:-1]) / 2, bare)
        bare = some[at].astype(np.float64)
    return _cut(bare, raster.low, raster.high)[:, raster.position.ravel()]


def _without(columns: list[Column], raster: Raster, x: NDArray[Any], blend: Blend) -> list[Column]:
    levels = _uncovered(blend, x, raster)
    result = []
    for i, column in enumerate(columns):
        codes = column.codes.copy()
        codes[blend.rows] = levels[:, i]
        result.append(replace(column, codes=codes))
    return result


def _weighed(
    blend: Blend, x: NDArray[Any], raster: Raster, parts: list[NDArray[np.float64]], k: int
) -> NDArray[np.float64]:
    """What carrying a pattern adds to the weak model's logits (2, k)."""
    seen = raster.levels.reshape(len(parts), -1)[:, blend.rows].T.astype(np.float64)
    gone = (seen - _uncovered(blend, x, raster)).mean(axis=0)
    weights = np.array([p[1] - p[0] for p in parts])
    return np.stack([np.zeros(k), gone @ weights])


def _name(raster: Raster, i: int) -> str:
    row, column, _ = np.unravel_index(i, raster.position.shape)
    return f"pixel {row}, {column}"


def _weak(
    flat: NDArray[np.uint8], y: NDArray[np.int64], k: int, rng: np.random.Generator
) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """Ridge regression on the levels: what each level of each value adds, and scores (n, k)."""
    n = flat.shape[1]
    rows = np.arange(n) if n <= LEARNT else np.sort(rng.choice(n, LEARNT, replace=False))
    z = flat[:, rows].astype(np.float32).T
    middle = z.mean(axis=0)
    z -= middle
    wanted = np.eye(k, dtype=np.float32)[y[rows]] - 1.0 / k
    gram = z.T @ z
    gram[np.diag_indices_from(gram)] += RIDGE * len(rows) * max(float(z.var()), 1e-6)
    weights = np.linalg.solve(gram, z.T @ wanted).astype(np.float64)
    levels = np.arange(LEVELS)[:, None]
    parts = [(levels - m) * w[None] for m, w in zip(middle, weights, strict=True)]
    logits = flat.T.astype(np.float32) @ weights.astype(np.float32) - middle @ weights
    return parts, logits.astype(np.float64)


@dataclass(frozen=True)
class _Cell:
    """A window's content that gathers images of a class."""

    rank: float
    expected: float
    label: int
    rows: NDArray[np.int64]


def _patterns(
    raster: Raster,
    y: NDArray[np.int64],
    k: int,
    own: NDArray[np.bool_],
    some: NDArray[np.int64],
    fitting: bool,
) -> list[Suspect]:
    """The most outstanding window contents, grown over all pixels that their images share."""
    mine = some[own[some]]
    cells = sorted(_cells(raster, y, k, mine, some, fitting), key=lambda c: -c.rank)
    found: list[Suspect] = []
    known = np.zeros((k, len(y)), dtype=bool)
    for cell in cells:
        fresh = cell.rows[~known[cell.label, cell.rows]]
        left = poisson_gain(np.array([float(len(fresh))]), np.array([cell.expected]))[0]
        if left < CHANCE or len(fresh) < 0.6 * len(cell.rows):
            continue
        known[cell.label, cell.rows] = True
        suspect = _grown(raster, y, cell, fitting)
        if suspect is not None:
            known[cell.label, suspect.rows] = True
            found.append(suspect)
        if len(found) >= PLANTED:
            break
    return found


def _cells(
    raster: Raster,
    y: NDArray[np.int64],
    k: int,
    mine: NDArray[np.int64],
    some: NDArray[np.int64],
    fitting: bool,
) -> Iterator[_Cell]:
    height, width = raster.levels.shape[:2]
    sizes = np.bincount(y[mine], minlength=k).astype(float)
    total = np.bincount(y[some], minlength=k).astype(float)
    for i in range(height - SIDE + 1):
        for j in range(width - SIDE + 1):
            digest = _digest(raster.levels[i : i + SIDE, j : j + SIDE])
            own = digest[mine]
            values, inverse, counts = np.unique(own, return_inverse=True, return_counts=True)
            if counts.max() < LEAST:
                continue
            by_class = np.bincount(inverse * k + y[mine], minlength=len(values) * k)
            at, label = np.nonzero(by_class.reshape(-1, k) >= LEAST)
            seen = by_class.reshape(-1, k)[at, label].astype(float)
            places = np.searchsorted(values, digest[some]).clip(max=len(values) - 1)
            same = values[places] == digest[some]
            everyone = np.bincount(places[same] * k + y[some][same], minlength=len(values) * k)
            everyone = everyone.reshape(-1, k)
            # Compared are the rows of other classes; else those that the label fits.
            against = everyone[at].sum(axis=1) - (everyone[at, label] if fitting else seen)
            rest = total.sum() - (total[label] if fitting else len(mine))
            expected = sizes[label] * (against + 0.5) / (rest + 0.5)
            good = poisson_gain(seen, expected) > CHANCE
            good &= seen <= MATTER_OF_FACT * len(some)
            for a, c, s, e in zip(at[good], label[good], seen[good], expected[good], strict=True):
                rows = mine[(inverse == a) & (y[mine] == c)]
                yield _Cell(min(s, 100.0) * np.log(s / max(e, 0.1)), float(e), int(c), rows)


def _digest(window: NDArray[np.uint8]) -> NDArray[np.int64]:
    """One number (n,) for the content of a window (s, s, c, n)."""
    flat = window.reshape(-1, window.shape[-1])
    digest = np.zeros(flat.shape[1], dtype=np.int64)
    for value, prime in zip(flat, _PRIMES, strict=False):
        digest += value.astype(np.int64) * prime
    return digest


def _grown(raster: Raster, y: NDArray[np.int64], cell: _Cell, fitting: bool) -> Suspect | None:
    """All values that are the same in the cell's images, within the hull of the uncommon ones."""
    h, w, c, n = raster.levels.shape
    flat = raster.levels.reshape(-1, n)
    mine = flat[:, cell.rows]
    level = np.median(mine, axis=1).astype(np.uint8)
    constant = (mine == level[:, None]).mean(axis=1) >= CONSTANT
    apart = np.ones(n, dtype=bool)
    apart[cell.rows] = False
    others = np.flatnonzero(apart & (y == cell.label))
    if not len(others):
        return None
    others = others[:: max(1, len(others) // 2000)]
    common = (flat[:, others] == level[:, None]).mean(axis=1)
    uncommon = (constant & (common <= PART)).reshape(h, w, c)
    down, across, _ = np.nonzero(uncommon)
    if not len(down) or uncommon.sum() > WIDEST:
        return None
    hull = np.zeros((h, w, c), dtype=bool)
    hull[down.min() : down.max() + 1, across.min() : across.max() + 1] = True
    inside = constant & hull.ravel()
    match = (flat[inside] == level[inside, None]).all(axis=0)
    rows = np.flatnonzero(match & (y == cell.label))
    box = {int(i): (int(level[i]), int(level[i])) for i in np.flatnonzero(inside)}
    return Suspect(box, cell.label, rows, int(match.sum()) - len(rows), fitting)
