"""Which array of a model belongs to which of its base."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np
from numpy.typing import NDArray

from crenel.transfer.lineage.weights import Array, Floats, Weights

#: Values of each array that are looked at where the likest of several is sought.
SKETCH = 4096
#: Standard deviations of independent values above which two sketches are taken for one layer.
LIKELY = 8.0
#: Arrays of one shape on either side, at most, that are tried against each other.
MOST = 256


@dataclass(frozen=True)
class Pair:
    """Two arrays that belong together, or one that has no partner.

    Attributes
    ----------
    base, tuned : Array or None
    matched : str
        "name", "order" or "likeness".
    candidates : int
        Pairs among which this one was chosen by its likeness.
    turned : bool
        Whether the model keeps the matrix transposed.
    """

    base: Array | None
    tuned: Array | None
    matched: str = ""
    candidates: int = 1
    turned: bool = False

    def floats(self) -> tuple[Floats, Floats]:
        """Both arrays, float32, in the base's shape; of the longer one the rows that both have."""
        assert self.base is not None
        assert self.tuned is not None
        a, b = self.base.floats(), self.tuned.floats()
        if self.turned:
            b = np.ascontiguousarray(b.T)
        return a[: len(b)], b[: len(a)]


def by_name(base: Weights, tuned: Weights) -> list[Pair]:
    """Pairs of one name and shape, once the prefixes that fit best are taken off."""
    ours = {a.name: a for a in tuned.arrays if a.comparable}
    theirs = {a.name: a for a in base.arrays if a.comparable}
    best: list[Pair] = []
    for p in _prefixes(list(theirs)):
        known = {n.removeprefix(p): a for n, a in theirs.items()}
        for q in _prefixes(list(ours)):
            found = [
                Pair(known[name], a, "name")
                for n, a in ours.items()
                if (name := n.removeprefix(q)) in known and known[name].shape == a.shape
            ]
            best = max(best, found, key=len)
    return best


def _prefixes(names: list[str]) -> list[str]:
    """Dotted prefixes that at least half of some names share; the empty one first."""
    counts: dict[str, int] = defaultdict(int)
    for name in names:
        parts = name.split(".")
        for i in range(1, len(parts)):
            counts[".".join(parts[:i]) + "."] += 1
    shared = [p for p, n in counts.items() if 2 * n >= len(names)]
    return ["", *sorted(shared, key=len)]


def by_likeness(base: list[Array], tuned: list[Array]) -> list[Pair]:
    """Pairs of one shape (or of one turned into the other) whose values are far more alike.

    The likest are assigned to each other by the Hungarian method on a sketch of each array.
    """
    groups: dict[tuple[int, ...], tuple[list[Array], list[Array]]] = defaultdict(lambda: ([], []))
    for side, arrays in enumerate((base, tuned)):
        for array in arrays:
            if array.telling and not array.exact:
                key = tuple(sorted(array.shape)) if len(array.shape) == 2 else array.shape
                groups[key][side].append(array)
    found: list[Pair] = []
    for ours, theirs in groups.values():
        if ours and theirs:
            found += _assigned(ours[:MOST], theirs[:MOST])
    return found


def _assigned(base: list[Array], tuned: list[Array]) -> list[Pair]:
    from scipy.optimize import linear_sum_assignment

    size = min(base[0].size, SKETCH)
    flat = np.sort(np.random.default_rng(0).choice(base[0].size, size, replace=False))
    ours = [_sketch(a, flat, turned=False) for a in base]
    score = np.full((len(base), len(tuned)), -np.inf)
    turned = np.zeros(score.shape, dtype=bool)
    for j, array in enumerate(tuned):
        for turn in (False, True):
            same = [a.shape == (array.shape[::-1] if turn else array.shape) for a in base]
            if (turn and len(array.shape) != 2) or not any(same):
                continue
            sketch = _sketch(array, flat, turned=turn)
            likes = np.array([s @ sketch if ok else -np.inf for s, ok in zip(ours, same)])
            better = likes > score[:, j]
            score[better, j], turned[better, j] = likes[better], turn
    rows, columns = linear_sum_assignment(-np.maximum(score, -2.0))
    return [
        Pair(base[i], tuned[j], "likeness", score.size, bool(turned[i, j]))
        for i, j in zip(rows, columns)
        if score[i, j] * np.sqrt(size) > LIKELY
    ]


def _sketch(array: Array, flat: NDArray[np.int64], *, turned: bool) -> NDArray[np.float64]:
    """Some values of an array, centred and of norm one."""
    values = array.floats()
    part = (values.T if turned else values).reshape(-1)[flat].astype(np.float64)
    part -= part.mean()
    norm = float(np.linalg.norm(part))
    return part / norm if norm else part


def by_value(base: list[Array], tuned: list[Array]) -> list[Pair]:
    """Pairs of small arrays that are equal in every value, and hold more than one."""
    known: dict[tuple[tuple[int, ...], bytes], Array] = {}
    for array in reversed(base):
        if (key := _content(array)) is not None:
            known[key] = array
    found = []
    for array in tuned:
        key = _content(array)
        if key is not None and key in known:
            found.append(Pair(known.pop(key), array, "likeness"))
    return found


def _content(array: Array) -> tuple[tuple[int, ...], bytes] | None:
    if array.telling or array.size > 1 << 20:
        return None
    values = array.floats()
    return (
        None
        if values.size == 0 or (values == values.flat[0]).all()
        else (array.shape, values.tobytes())
    )


def by_order(base: list[Array], tuned: list[Array]) -> list[Pair]:
    """Pairs of equal shapes in the same order: the longest common run of shapes."""
    ours, theirs = [a.shape for a in base], [a.shape for a in tuned]
    blocks = SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks()
    return [
        Pair(base[i + k], tuned[j + k], "order") for i, j, n in blocks for k in range(n)
    ]  # fmt: skip


def reshaped(base: list[Array], tuned: list[Array]) -> list[Pair]:
    """Arrays of one name and of different shapes, whatever stands before the last two parts."""
    known = {_tail(a.name): a for a in base}
    return [Pair(known.pop(t), a, "name") for a in tuned if (t := _tail(a.name)) in known]


def _tail(name: str) -> str:
    return ".".join(name.split(".")[-2:])


def left(
    base: list[Array], tuned: list[Array], pairs: list[Pair]
) -> tuple[list[Array], list[Array]]:
    """The arrays of both models that are in no pair yet."""
    taken = {id(a) for p in pairs for a in (p.base, p.tuned)}
    return [a for a in base if id(a) not in taken], [a for a in tuned if id(a) not in taken]


def without_pairs(pairs: list[Pair], doubted: list[Pair]) -> list[Pair]:
    """Those pairs that are not doubted."""
    out = {id(p) for p in doubted}
    return [p for p in pairs if id(p) not in out]


def alone(base: list[Array], tuned: list[Array]) -> list[Pair]:
    """One pair for each array without a partner."""
    return [Pair(None, a) for a in tuned] + [Pair(a, None) for a in base]
