"""One line of a comparison: two arrays that belong together, and what became of them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from crenel.transfer.lineage.matching import Pair
from crenel.transfer.lineage.records import ALPHA, Layer, Status
from crenel.transfer.lineage.similarity import (
    LEAST,
    is_table,
    likeness,
    low_rank_share,
    permutation_test,
)
from crenel.transfer.lineage.weights import FLOATS, Array, Floats, narrowed

#: Chance that any layer of related models is wrongly called tuned: log10.
ALPHA_LAYER = -3.0
#: Values of a change, and its shorter side, for its low-rank share to be computed.
LARGEST, SHORTEST_SIDE = 1 << 23, 64


def layer_of(pair: Pair) -> Layer:
    """The line of a pair, or of an array without a partner; `judged` decides on its status."""
    base, tuned = pair.base, pair.tuned
    if tuned is None:
        assert base is not None
        return Layer(base.name, "", base.shape, Status.DROPPED, base.size, telling=base.telling)
    if base is None:
        return Layer("", tuned.name, tuned.shape, Status.NEW, tuned.size, telling=tuned.telling)
    plain = Layer(
        base.name, tuned.name, tuned.shape, Status.RESHAPED, tuned.size, pair.matched,
        telling=tuned.telling,
    )  # fmt: skip
    if base.shape == tuned.shape or pair.turned:
        return _compared(plain, pair, base, tuned)
    if len(base.shape) > 1 and base.shape[1:] == tuned.shape[1:]:  # a longer vocabulary, say
        return replace(_compared(plain, pair, base, tuned), status=Status.RESHAPED)
    return plain


def _compared(plain: Layer, pair: Pair, base: Array, tuned: Array) -> Layer:
    a, b = pair.floats()
    a, b, scaled = _rounded(base, tuned, a, b)
    like = likeness(a, b)
    telling = base.telling and tuned.telling and not like.constant
    telling = telling and (base.exact or not is_table(a))
    layer = replace(
        plain,
        status=Status.IDENTICAL if like.identical else Status.CHANGED,
        cosine=like.cosine,
        # Of integers whose scale is not known, the change at the scale that fits best.
        change=math.sqrt(max(0.0, 1 - like.cosine**2)) if scaled else like.change,
        telling=telling,
    )
    if not telling:
        return layer
    if like.identical:  # in every value, which chance never is
        return replace(layer, log10_p=LEAST)
    tested = None if base.exact else permutation_test(a, b)
    if tested is None:
        return layer
    small = a.size <= LARGEST and min(len(a), a[0].size) >= SHORTEST_SIDE
    return replace(
        layer,
        z=tested[0],
        log10_p=min(0.0, tested[1] + math.log10(pair.candidates)),
        low_rank=low_rank_share(b - a) if small and not scaled else None,
    )


def doubtful(layer: Layer) -> bool:
    """Whether two arrays that bear one name are no more alike than unrelated ones."""
    return layer.log10_p is not None and layer.log10_p > ALPHA


def _rounded(base: Array, tuned: Array, a: Floats, b: Floats) -> tuple[Floats, Floats, bool]:
    """Both arrays in the narrower of two types; True where one is quantised, of unknown scale."""
    if base.dtype == tuned.dtype:
        return a, b, False
    if base.dtype not in FLOATS or tuned.dtype not in FLOATS:
        return a, b, True
    for narrow in (base.dtype, tuned.dtype):
        a, b = (narrowed(np.ascontiguousarray(x), narrow) for x in (a, b))
    return a, b, False


def judged(layers: list[Layer]) -> list[Layer]:
    """Layers with their status: tuned where the chance, times the layers tested, is small.

    Once one layer has shown that the models are related, the others need less.
    """
    best = chance(layers)
    correction = math.log10(max(sum(x.log10_p is not None for x in layers), 1))
    least = ALPHA_LAYER if best <= ALPHA else ALPHA

    def judge(layer: Layer) -> Layer:
        if layer.status is not Status.CHANGED or layer.log10_p is None:
            return layer
        alike = layer.log10_p + correction <= least
        return replace(layer, status=Status.TUNED if alike else Status.OTHER)

    return [judge(x) for x in layers]


def chance(layers: list[Layer]) -> float:
    """log10 of the chance that unrelated models have one layer so alike (Bonferroni)."""
    chances = [x.log10_p for x in layers if x.log10_p is not None]
    return min(0.0, min(chances, default=0.0) + math.log10(max(len(chances), 1)))
