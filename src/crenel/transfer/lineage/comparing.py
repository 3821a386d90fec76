"""A model held against a base: `compare`, and against several: `trace`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from crenel.errors import NotApplicable
from crenel.transfer.lineage import matching
from crenel.transfer.lineage.folders import compare_papers, describe
from crenel.transfer.lineage.layers import chance, doubtful, judged, layer_of
from crenel.transfer.lineage.matching import Pair
from crenel.transfer.lineage.permuted import Permuted, permuted_channels
from crenel.transfer.lineage.reading import read_weights
from crenel.transfer.lineage.records import ALPHA, Layer, Lineage, Status, Verdict
from crenel.transfer.lineage.weights import Weights

#: Share of weights from the base from which on a model is a copy of it, not of parts of it.
MOST_OF = 0.5
#: Share of weights with a partner of their shape from which on the architecture is the same.
SAME = 0.9
#: Likeness of assigned channels from which on a model is a copy in another order.
PERMUTED = 0.7
#: Share of a change in few directions from which on it looks like a merged adapter.
LOW_RANK = 0.99


def compare(base: Any, tuned: Any, *, trust: Iterable[str] = ()) -> Lineage:
    """Hold a model against a base, layer by layer.

    Layers are matched by name (prefixes such as ``module.`` taken off), then by likeness among
    arrays of one shape, then by shape and order. Each matched layer of at least 256 weights is
    tested by `permutation_test`; vectors (biases, gains of norms) are shown and prove nothing.

    Parameters
    ----------
    base, tuned : path, torch module, scikit-learn estimator or Weights
    trust : iterable of str
        Digests of files that are read although their scan is not clean.

    Returns
    -------
    Lineage
        ``copy`` where all is equal, up to rounding to half precision; ``tuned copy`` where at
        least half of the weights of one are from the other; ``partial copy`` where fewer are.

    Raises
    ------
    NotApplicable
        Where nothing can be compared.
    SubjectError
        Where a file cannot be read, or its scan is not clean.

    Notes
    -----
    Not seen: a model distilled from the base, or one whose weights were hidden on purpose, but
    for channels in another order (see `permuted_channels`). Two models that started from the same
    random weights are related for this test.
    """
    papers = compare_papers(describe(base), describe(tuned))
    a, b = read_weights(base, trust=trust), read_weights(tuned, trust=trust)
    for weights in (a, b):
        if not any(array.telling for array in weights.arrays):
            raise NotApplicable(f"{weights.name} has no layer that is large enough to tell")
    line = cache(layer_of)  # a layer is read once
    pairs = _pairs(a, b, line)
    layers = judged([line(pair) for pair in pairs])
    return replace(_lineage(a, b, pairs, layers), papers=papers)


def trace(model: Any, bases: Sequence[Any], *, trust: Iterable[str] = ()) -> list[Lineage]:
    """Hold a model against several bases; the likeliest origin comes first.

    Parameters
    ----------
    model : path, torch module, scikit-learn estimator or Weights
    bases : sequence of the same
    trust : iterable of str

    Returns
    -------
    list of Lineage
        Best first: by verdict, then by the share of weights from the base, then by the size of
        the changes.
    """
    tuned = model if isinstance(model, (str, Path)) else read_weights(model, trust=trust)
    return sorted((compare(base, tuned, trust=trust) for base in bases), key=_order)


def _order(found: Lineage) -> tuple[float, ...]:
    related = [x for x in found.layers if x.related and x.change is not None]
    size = sum(x.parameters for x in related) or 1
    change = sum(x.parameters * min(x.change or 0.0, 10.0) for x in related) / size
    return found.verdict.rank, -round(found.share, 2), change, -found.cosine, found.log10_p


def _pairs(base: Weights, tuned: Weights, line: Callable[[Pair], Layer]) -> list[Pair]:
    """Every array of both models, with its partner where it has one, in the model's order."""
    ours = [a for a in base.arrays if a.comparable]
    theirs = [a for a in tuned.arrays if a.comparable]
    named = matching.by_name(base, tuned)
    # A name that meets other weights may only mean that blocks were numbered anew.
    doubted = [p for p in named if doubtful(line(p))]
    pairs = matching.without_pairs(named, doubted)
    pairs += matching.by_likeness(*matching.left(ours, theirs, pairs))
    free = {id(a) for arrays in matching.left(ours, theirs, pairs) for a in arrays}
    pairs += [p for p in doubted if id(p.base) in free and id(p.tuned) in free]
    for finder in (matching.by_value, matching.by_order, matching.reshaped, matching.alone):
        pairs += finder(*matching.left(ours, theirs, pairs))
    place = {id(a): i for i, a in enumerate(theirs)}
    return sorted(pairs, key=lambda p: place.get(id(p.tuned), len(place)))


def _lineage(base: Weights, tuned: Weights, pairs: list[Pair], layers: list[Layer]) -> Lineage:
    telling = [x for x in layers if x.telling]
    met = [x for x in telling if x.cosine is not None]
    own, theirs = _size(x for x in telling if x.tuned), _size(x for x in telling if x.base)
    matched, related = _size(met), _size(x for x in telling if x.related)
    frozen = _size(x for x in telling if x.status is Status.IDENTICAL)
    cosine = sum(x.parameters * (x.cosine or 0.0) for x in met)
    found = Lineage(
        base.name, tuned.name, Verdict.UNRELATED, tuple(layers), chance(layers),
        share=_ratio(related, own), share_of_base=_ratio(related, theirs),
        frozen=_ratio(frozen, own), cosine=_ratio(cosine, matched),
        notes=tuple(dict.fromkeys([*base.notes, *tuned.notes, *_notes(telling), *_kinds(base)])),
    )  # fmt: skip
    if related:
        return replace(found, verdict=_kind_of_copy(found))
    if min(_ratio(matched, own), _ratio(matched, theirs)) >= SAME:
        found = replace(found, verdict=Verdict.ARCHITECTURE)
    return _in_another_order(found, permuted_channels(pairs))


def _kind_of_copy(found: Lineage) -> Verdict:
    telling = [x for x in found.layers if x.telling]
    # Where the format differs vectors may be joined or folded; under their name they must be equal.
    changed = any(x.status is Status.CHANGED and x.matched == "name" for x in found.layers)
    if not changed and all(x.status is Status.IDENTICAL for x in telling):
        return Verdict.COPY
    most = max(found.share, found.share_of_base) >= MOST_OF
    return Verdict.TUNED if most else Verdict.PARTIAL


def _in_another_order(found: Lineage, order: Permuted | None) -> Lineage:
    if order is None or order.log10_p > ALPHA:
        return found
    if order.likeness >= PERMUTED:
        return replace(found, verdict=Verdict.PERMUTED, log10_p=order.log10_p)
    note = (
        f"channels assigned to each other are alike ({order.likeness:.2f}), as they are where two "
        "models learned one task from like data; copies are far more alike"
    )
    return replace(found, notes=(*found.notes, note))


def _notes(telling: list[Layer]) -> Iterable[str]:
    related = [x for x in telling if x.related]
    whole = _size(x for x in telling if x.tuned)
    unchanged = all(x.status is Status.IDENTICAL for x in related)
    if related and unchanged and _size(related) < MOST_OF * whole:
        yield "only unchanged layers are shared: they may be tables that nobody trained"
    changed = [x for x in related if x.low_rank is not None]
    low = sum((x.low_rank or 0.0) >= LOW_RANK for x in changed)
    if changed and 2 * low > len(changed):
        yield (
            f"{low} of {len(changed)} tuned layers changed in 16 directions or fewer, as they do "
            "where a low-rank adapter (LoRA) was merged"
        )


def _kinds(base: Weights) -> Iterable[str]:
    if any(a.exact for a in base.arrays):
        yield "of linear models and trees only equality counts: fits on like data are alike"


def _size(layers: Iterable[Layer]) -> int:
    return sum(x.parameters for x in layers)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
