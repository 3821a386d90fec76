"""Copies whose hidden channels were put in another order: found by assignment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from crenel.transfer.lineage.matching import Pair
from crenel.transfer.lineage.similarity import LEAST

#: Orders that the second layer is tried in, to know what chance gives.
ORDERS = 60
#: Channels of a layer, at most and at least.
MOST, FEWEST = 512, 12
#: Values of a layer, at least.
SMALLEST = 64
#: Neighbouring layers that are tried.
PLACES = 3


@dataclass(frozen=True)
class Permuted:
    """How well two models agree once the channels of one are put in the order of the other's.

    Attributes
    ----------
    log10_p : float
        Decimal logarithm of the chance that an order without meaning fits as well.
    likeness : float
        Mean cosine of assigned channels, the less of two neighbouring layers; near 1 for copies.
    """

    log10_p: float
    likeness: float


def permuted_channels(pairs: Sequence[Pair], *, seed: int = 0) -> Permuted | None:
    """Test whether a model is the base with its channels in another order.

    The channels of a layer are assigned to those of the base by the likeness of their weights
    (Hungarian method, as Ainsworth et al., 2023, align networks). If the models are unrelated,
    and did not learn the like, that order means nothing to the next layer, which then fits the
    base's no better in this order of its inputs than in any other; how well it fits is again the
    value of the best assignment. Models that learned one task apart agree in part, so that only a
    high likeness speaks of a copy.

    Parameters
    ----------
    pairs : sequence of Pair
        Matched layers, in their order.
    seed : int
        Of the orders tried.

    Returns
    -------
    Permuted or None
        At the place that agrees best, the chance by the normal tail over random orders and times
        the number of places tried; None where no two neighbouring layers fit.
    """
    places = _neighbours(pairs)[:PLACES]
    if not places:
        return None
    rng = np.random.default_rng(seed)
    found = [_tested(first, second, rng) for first, second in places]
    best = max(found, key=lambda f: f.likeness)
    return Permuted(min(0.0, best.log10_p + math.log10(len(places))), best.likeness)


def _neighbours(pairs: Sequence[Pair]) -> list[tuple[Pair, Pair]]:
    """Layers whose channels are the inputs of the next one, or the planes of its flattened ones."""
    met = [p for p in pairs if _usable(p)]
    return [(p, q) for p, q in pairwise(met) if _fit(_shape(p), _shape(q))]


def _usable(pair: Pair) -> bool:
    base, tuned = pair.base, pair.tuned
    if base is None or tuned is None or base.exact or not base.comparable or pair.turned:
        return False
    return base.shape == tuned.shape and len(base.shape) > 1 and base.size >= SMALLEST


def _shape(pair: Pair) -> tuple[int, ...]:
    assert pair.base is not None
    return pair.base.shape


def _fit(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    n, outputs, inputs = first[0], second[0], second[1]
    flattened = len(second) == 2 and len(first) > 2 and inputs % n == 0
    return FEWEST <= n <= MOST and FEWEST <= outputs <= MOST and (inputs == n or flattened)


def _tested(first: Pair, second: Pair, rng: np.random.Generator) -> Permuted:
    from scipy.special import log_ndtr

    like, order = _assign(*(_rows(x) for x in first.floats()))
    base, tuned = (x.reshape(len(x), len(order), -1) for x in second.floats())
    theirs = _rows(base)
    real = _assign(theirs, _rows(tuned[:, order]))[0]
    chance = np.array([
        _assign(theirs, _rows(tuned[:, rng.permutation(len(order))]))[0] for _ in range(ORDERS)
    ])  # fmt: skip
    # The spread is an estimate from few orders: take it at the upper end of its interval.
    spread = 1.2 * float(chance.std(ddof=1))
    z = (real - float(chance.mean())) / spread if spread else 0.0
    return Permuted(max(LEAST, float(log_ndtr(-z)) / math.log(10)), min(like, real))


def _rows(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Channels as rows, centred over channels and of norm one: scales do not matter."""
    rows = x.reshape(len(x), -1).astype(np.float64)
    rows -= rows.mean(axis=0)
    norms: NDArray[np.float64] = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, 1e-12))


def _assign(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, NDArray[np.intp]]:
    """Mean likeness of the best assignment, and for each row of ``a`` the row of ``b``."""
    from scipy.optimize import linear_sum_assignment

    score = a @ b.T
    rows, columns = linear_sum_assignment(-score)
    return float(score[rows, columns].mean()), columns
