"""Patterns blended over whole images: rows of one class that are all shifted the same way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.mining.pair_kernels import LEAST
from crenel.poisoning.mining.suspects import MATTER_OF_FACT

#: Values of an image that are looked at, and rows that tell how images vary, at most.
VALUES, LEARNT = 1024, 10_000
#: Rows of a class in which groups are sought at most.
CLASS = 4000
#: What is added to the variance of every direction, as a share of the mean variance of a value.
FLOOR = 0.01
#: Directions followed for each class; rounds of a group's refinement; group sizes it begins with.
FOLLOWED, ROUNDS, BEGUN = 3, 12, (12, 40, 120)
#: Steps of the estimate of a pattern's strength; axes of which an image's share is told, by the
#: variance along the first.
EM, STRONG = 30, 0.01
#: Standard deviations by which a group is apart from the rest of its class, at least.
APART = 4.0


@dataclass(frozen=True)
class Blend:
    """A pattern that is blended into images: x becomes ``keep`` x + ``shift``.

    Attributes
    ----------
    label : int
    rows : ndarray, shape (m,), int64
        Training rows of the class that carry it.
    carried : ndarray, shape (n,), bool
        Training rows that do, whatever their label.
    keep : float
        Share of the image that is kept.
    shift : ndarray, shape (p,), float64
        What is added to it, flat.
    doubt : ndarray, shape (p,), float64
        Standard error of that.
    sight : Sight
        How it is recognised.
    direction : ndarray, shape (q,), float32
        In the sight's whitened values.
    limit : float
        Of the score along the direction from which an image carries it.
    """

    label: int
    rows: NDArray[np.int64]
    carried: NDArray[np.bool_]
    keep: float
    shift: NDArray[np.float64]
    doubt: NDArray[np.float64]
    sight: Sight
    direction: NDArray[np.float32]
    limit: float

    def carries(self, flat: NDArray[np.generic]) -> NDArray[np.bool_]:
        """Which of some images (n, p) carry it."""
        mask: NDArray[np.bool_] = self.sight.white(flat) @ self.direction >= self.limit
        return mask

    def bare(self, flat: NDArray[np.float64]) -> NDArray[np.float64]:
        """Images (n, p) that carry it, as they were without."""
        return (flat - self.shift) / self.keep


@dataclass(frozen=True)
class Nature:
    """How images vary: their principal axes.

    Attributes
    ----------
    middle : ndarray, shape (p,), float32
    axes : ndarray, shape (r, p), float32
        The first ones.
    spread : ndarray, shape (r,), float64
        Variance along each, in falling order.
    """

    middle: NDArray[np.float32]
    axes: NDArray[np.float32]
    spread: NDArray[np.float64]

    @classmethod
    def of(cls, flat: NDArray[np.generic], rng: np.random.Generator) -> Nature:
        """Of images (n, p); of large ones from fewer of them."""
        n, p = flat.shape
        most = LEARNT if p <= VALUES else VALUES
        rows = np.arange(n) if n <= most else np.sort(rng.choice(n, most, replace=False))
        some = flat[rows].astype(np.float32)
        middle = some.mean(axis=0)
        some -= middle
        if p <= len(some):
            spread, axes = np.linalg.eigh(some.T @ some / len(some))
            axes = axes.T
        else:  # the same axes, from the smaller product
            spread, weights = np.linalg.eigh(some @ some.T / len(some))
            axes = weights.T @ some / np.sqrt(np.maximum(len(some) * spread, 1e-9))[:, None]
        return cls(middle, axes[::-1].astype(np.float32), spread[::-1].clip(0).astype(np.float64))


@dataclass(frozen=True)
class Sight:
    """Images so that their natural variation is the same in every direction.

    Attributes
    ----------
    values : ndarray, shape (q,), int64
        Values looked at.
    middle : ndarray, shape (q,), float32
    whitening : ndarray, shape (q, q), float32
    """

    values: NDArray[np.int64]
    middle: NDArray[np.float32]
    whitening: NDArray[np.float32]

    @classmethod
    def of(cls, flat: NDArray[np.generic], nature: Nature, rng: np.random.Generator) -> Sight:
        """Of images (n, p); of large ones some of the values."""
        p = flat.shape[1]
        if p > VALUES:
            values = np.sort(rng.choice(p, VALUES, replace=False))
            nature = Nature.of(flat[:, values], rng)
        else:
            values = np.arange(p)
        spread = nature.spread + max(FLOOR * float(nature.spread.mean()), 1e-12)
        whitening = (nature.axes / np.sqrt(spread)[:, None].astype(np.float32)).T
        return cls(values, nature.middle, whitening.astype(np.float32))

    def white(self, flat: NDArray[np.generic]) -> NDArray[np.float32]:
        """Images (n, p) as whitened values (n, q)."""
        seen = flat[:, self.values].astype(np.float32)
        white: NDArray[np.float32] = ((seen - self.middle) @ self.whitening).astype(np.float32)
        return white


def find_blends(
    flat: NDArray[np.generic],
    y: NDArray[np.int64],
    k: int,
    odd: NDArray[np.bool_],
    rng: np.random.Generator,
) -> list[Blend]:
    """Groups of one class's images that are far apart from the rest of it, and their shift.

    Whitened, images differ by chance in every direction, and a pattern that is blended into some
    of them is one direction in which they lie together (robust whitening; Hayase et al.,
    "SPECTRE", 2021). The principal directions of each class, of images scaled to the same length
    so that none counts more than another, begin a group of the outermost images along them; it
    is refined to those that lie beyond half of its mean along its mean, each image judged by the
    mean of the others.

    Parameters
    ----------
    flat : ndarray, shape (n, p)
    y : ndarray, shape (n,), int64
    k : int
    odd : ndarray, shape (n,), bool
        Rows whose label a linear model contradicts: searched by themselves, and with the others.
    rng : numpy.random.Generator
    """
    nature = Nature.of(flat, rng)
    sight = Sight.of(flat, nature, rng)
    z: NDArray[np.float32] = sight.white(flat)
    found: list[Blend] = []
    for label in range(k):
        own = np.flatnonzero(y == label)
        if len(own) < 2 * LEAST:
            continue
        if len(own) > CLASS:
            own = np.sort(rng.choice(own, CLASS, replace=False))
        centred = z[own] - np.median(z[own], axis=0).astype(np.float32)
        seen = np.zeros(len(own), dtype=bool)
        for among in (odd[own], np.ones(len(own), dtype=bool)):
            for group in _groups(centred, among):
                if seen[group].mean() > 0.5 or len(group) > MATTER_OF_FACT * len(y):
                    continue
                seen[group] = True
                found.append(_blend((flat, z), y, (nature, sight), own[group], label))
    return found


def _groups(z: NDArray[np.float32], among: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Groups of whitened images (m, q) that lie apart in one direction, the farthest first."""
    if among.sum() < LEAST:
        return []
    unit = z[among] / np.maximum(np.linalg.norm(z[among], axis=1, keepdims=True), 1e-9)
    axes, products = _first_axes(unit), z @ z.T
    found: list[tuple[float, NDArray[np.int64]]] = []
    for axis in axes:
        for sign in (1, -1):
            order = np.argsort(np.where(among, -sign * (z @ axis), np.inf), kind="stable")
            best = max(
                (_refined(products, order[:m]) for m in BEGUN if LEAST <= m <= len(z) // 2),
                key=lambda g: g[0],
                default=(0.0, order[:0]),
            )
            if best[0] >= APART and len(best[1]) >= LEAST:
                found.append(best)
    return [group for _, group in sorted(found, key=lambda g: -g[0])]


def _first_axes(unit: NDArray[np.float32]) -> NDArray[np.float32]:
    """The first principal directions (f, q) of rows (m, q)."""
    from scipy.linalg import eigh

    m, q = unit.shape
    product, few = (unit.T @ unit if q <= m else unit @ unit.T), min(FOLLOWED, m, q)
    _, vectors = eigh(product, subset_by_index=(len(product) - few, len(product) - 1))
    axes = vectors.T[::-1] if q <= m else vectors.T[::-1] @ unit
    result: NDArray[np.float32] = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    return result


def _refined(
    products: NDArray[np.float32], group: NDArray[np.int64]
) -> tuple[float, NDArray[np.int64]]:
    """How far apart a group comes to lie, in standard deviations of the others, and its rows.

    The products (m, m) are those of the whitened images with each other.
    """
    inside = np.zeros(len(products), dtype=bool)
    inside[group] = True
    own, apart = np.diag(products), 0.0
    for _ in range(ROUNDS):
        m = int(inside.sum())
        if m < LEAST or m > len(products) // 2:
            return 0.0, group
        with_sum = products @ inside.astype(np.float32)
        square = float(with_sum[inside].sum())
        score = with_sum / np.sqrt(max(square, 1e-9))
        # Of few rows in many directions each lies along a mean that it is part of.
        left = np.maximum(square - 2 * with_sum[inside] + own[inside], 1e-9)
        score[inside] = (with_sum[inside] - own[inside]) / np.sqrt(left)
        rest = score[~inside]
        apart = float((score[inside].mean() - rest.mean()) / max(float(rest.std()), 1e-9))
        now = score >= (score[inside].mean() + rest.mean()) / 2
        if (now == inside).all():
            break
        inside = now
    return apart, np.flatnonzero(inside)


def _blend(
    images: tuple[NDArray[np.generic], NDArray[np.float32]],
    y: NDArray[np.int64],
    known: tuple[Nature, Sight],
    rows: NDArray[np.int64],
    label: int,
) -> Blend:
    """The pattern of a group's rows, of images as they are and whitened."""
    (flat, z), (nature, sight) = images, known
    direction = z[rows].mean(axis=0).astype(np.float32)
    direction /= max(float(np.linalg.norm(direction)), 1e-9)
    score = z @ direction
    limit = float(score[rows].mean() + np.median(score)) / 2
    carried = score >= limit
    own = np.flatnonzero(carried & (y == label))
    own = own if len(own) else rows
    keep, shift, doubt = _pattern(flat[own].astype(np.float64), nature)
    return Blend(label, own, carried, keep, shift, doubt, sight, direction, limit)


def _pattern(
    mine: NDArray[np.float64], nature: Nature
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """How much of some images (m, p) is kept, what is added, and the standard error of that.

    What is kept scales how much they vary, along the axes along which images vary most. What is
    added is their mean less that of what is kept of images; along those axes the mean of a few
    images is uncertain, and shrunk as a white pattern in such noise would be (Wiener).
    """
    m, p = mine.shape
    mean, strong = mine.mean(axis=0), nature.spread > STRONG * nature.spread[0]
    along = (mine - mean) @ nature.axes[strong].T
    varied = along.var(axis=0, ddof=min(1, m - 1)) / nature.spread[strong]
    keep = float(np.clip(np.sqrt(varied.mean()), 0.5, 1.0))
    raw = mean - keep * nature.middle
    noise, along = keep**2 * nature.spread / m, nature.axes @ raw
    beyond = float(raw @ raw) - float(along @ along)  # where images do not vary at all
    strength = float(raw @ raw) / p
    for _ in range(EM):  # the variance of a white pattern, by expectation and maximisation
        share = strength / (strength + noise)
        strength = float(((share * along) ** 2 + share * noise).sum() + beyond) / p
        strength = max(strength, 1e-12)
    left = noise / (strength + noise)
    doubt = np.sqrt((strength * left) @ nature.axes**2)
    return keep, raw - nature.axes.T @ (along * left), doubt
