"""A tree ensemble as flat arrays, with every split written as ``x < threshold``.

Libraries compare differently: XGBoost casts a row to float32 and goes left on ``x < t``;
scikit-learn's forests cast to float32 and go left on ``x <= t``; LightGBM and
scikit-learn's histogram boosting compare in float64 with ``x <= t``.  Each of these is, for
float64 input, the same as ``x < b`` for one float64 number b, found here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.trees.routing import route

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


class CategorySplit(NamedTuple):
    """A split by membership in a set of category codes; missing values use the node's flag."""

    values: frozenset[int]
    members_left: bool


@dataclass(frozen=True)
class TreeEnsemble:
    """Additive trees: a row's score is ``(base + sum of its leaves) / divisor``.

    Parameters
    ----------
    feature : (m,) int32
        Column that a node splits on; -1 for a leaf.
    threshold : (m,) float64
        A row goes left exactly when ``x < threshold`` in float64 (see `below_float32`,
        `at_most`).
    left, right : (m,) int32
        Children.
    missing_left : (m,) bool
        Whether NaN goes left.
    value : (m, k) float64
        What a leaf adds to each class's score; zero at inner nodes.
    roots : (trees,) int32
        First node of each tree, in the order in which the library sums.
    base : (k,) float64
        Score before any tree.
    divisor : float
        Number of trees for averaging ensembles, else 1.
    single : bool
        Whether the library sums in float32.
    link_tolerance : float
        Largest difference of two scores that the library's link function may merge into a tie.
    categories : mapping of int to CategorySplit
        The nodes that split by category.
    """

    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    missing_left: NDArray[np.bool_]
    value: Floats
    roots: Ints
    base: Floats
    divisor: float = 1.0
    single: bool = False
    link_tolerance: float = 0.0
    categories: Mapping[int, CategorySplit] = field(default_factory=dict)

    def goes_left(self, node: int, values: Floats) -> NDArray[np.bool_]:
        """Route values of the node's own column, (n,) float64, as (n,) bool."""
        missing = np.isnan(values)
        split = self.categories.get(node)
        if split is None:
            left = values < self.threshold[node]
        else:
            codes = np.where(missing, -1, values).astype(np.int64)
            member = np.isin(codes, list(split.values))
            left = member if split.members_left else ~member
        return np.asarray(np.where(missing, self.missing_left[node], left), dtype=bool)

    def leaves(self, x: Floats) -> Ints:
        """Leaf of each row in each tree, (n, trees) int32, for rows (n, d) float64."""
        out = np.empty((len(x), len(self.roots)), dtype=np.int32)
        if not self.categories:
            dense = np.ascontiguousarray(x, dtype=np.float64)
            route(
                dense, self.feature, self.threshold, self.left, self.right, self.missing_left,
                self.roots, out,
            )  # fmt: skip
            return out
        for tree, root in enumerate(self.roots):
            pending = [(int(root), np.arange(len(x)))]
            while pending:
                node, rows = pending.pop()
                if self.feature[node] < 0:
                    out[rows, tree] = node
                    continue
                left = self.goes_left(node, x[rows, self.feature[node]])
                for child, part in ((self.left[node], rows[left]), (self.right[node], rows[~left])):
                    if len(part):
                        pending.append((int(child), part))
        return out

    def scores(self, x: Floats) -> Floats:
        """Scores (n, k) float64, summed in the library's order and precision."""
        kind = np.float32 if self.single else np.float64
        total = np.tile(self.base.astype(kind), (len(x), 1))
        value = self.value.astype(kind)
        for leaf in self.leaves(x).T:
            total += value[leaf]
        return (total / kind(self.divisor)).astype(np.float64)


def below_float32(threshold: NDArray[np.float32]) -> Floats:
    """Smallest float64 that rounds to at least each float32 threshold.

    ``float32(x) < threshold`` is then ``x < below_float32(threshold)`` for every float64 x.
    """
    t = np.asarray(threshold, dtype=np.float32)
    before = np.nextafter(t, np.float32(-np.inf))
    with np.errstate(over="ignore", invalid="ignore"):
        middle = (t.astype(np.float64) + before.astype(np.float64)) / 2
        rounds_up = middle.astype(np.float32) >= t
    bound = np.where(rounds_up, middle, np.nextafter(middle, np.inf))
    return np.where(np.isfinite(t) & np.isfinite(before), bound, t.astype(np.float64))


def at_most_float32(threshold: Floats) -> Floats:
    """Turn ``float32(x) <= threshold`` (float64 threshold) into ``x < result`` in float64."""
    t = np.asarray(threshold, dtype=np.float64)
    down = t.astype(np.float32)
    down = np.where(down > t, np.nextafter(down, np.float32(-np.inf)), down)
    return below_float32(np.nextafter(down, np.float32(np.inf)))


def at_most(threshold: Floats) -> Floats:
    """Turn ``x <= threshold`` into ``x < result``, both in float64."""
    return np.nextafter(np.asarray(threshold, dtype=np.float64), np.inf)


@dataclass
class Growing:
    """Node arrays that are filled tree by tree and then frozen into a `TreeEnsemble`.

    Trees are only gathered: all that is computed of their nodes is computed once, of all of them.

    Attributes
    ----------
    below : callable or None
        From thresholds as they are given to numbers that a row is below where it goes left.
    """

    below: Callable[[Floats], Floats] | None = None
    parts: dict[str, list[NDArray[np.generic]]] = field(default_factory=dict)
    categories: dict[int, CategorySplit] = field(default_factory=dict)
    roots: list[int] = field(default_factory=list)
    size: int = 0

    def add(
        self,
        feature: NDArray[np.integer],
        threshold: Floats,
        left: NDArray[np.integer],
        right: NDArray[np.integer],
        missing_left: NDArray[np.generic],
        value: Floats,
        categories: Mapping[int, CategorySplit] | None = None,
        roots: Sequence[int] = (0,),
    ) -> None:
        """Append trees whose children are numbered within the arrays (leaf: feature below 0)."""
        arrays: dict[str, NDArray[np.generic]] = {
            "feature": feature, "threshold": threshold, "left": left, "right": right,
            "missing_left": missing_left, "value": value,
        }  # fmt: skip
        for name, array in arrays.items():
            self.parts.setdefault(name, []).append(array)
        for node, split in (categories or {}).items():
            self.categories[node + self.size] = split
        self.roots.extend(self.size + int(root) for root in roots)
        self.size += len(feature)

    def freeze(
        self,
        base: Floats,
        divisor: float = 1.0,
        single: bool = False,
        link_tolerance: float = 0.0,
    ) -> TreeEnsemble:
        """All trees added so far as one ensemble with the given ``base`` scores (k,)."""
        whole = {name: np.concatenate(parts) for name, parts in self.parts.items()}
        sizes = [len(part) for part in self.parts["feature"]]
        inner = whole["feature"] >= 0
        offset = np.repeat(np.cumsum(sizes) - sizes, sizes)
        threshold = np.asarray(whole["threshold"], dtype=np.float64)
        if self.below is not None:
            threshold = self.below(threshold)
        return TreeEnsemble(
            feature=np.where(inner, whole["feature"], -1).astype(np.int32),
            threshold=np.where(inner, threshold, np.nan),
            left=np.where(inner, whole["left"] + offset, -1).astype(np.int32),
            right=np.where(inner, whole["right"] + offset, -1).astype(np.int32),
            missing_left=whole["missing_left"].astype(bool),
            value=np.where(inner[:, None], 0.0, whole["value"]),
            roots=np.array(self.roots, dtype=np.int32),
            base=np.asarray(base, dtype=np.float64),
            divisor=divisor,
            single=single,
            link_tolerance=link_tolerance,
            categories=self.categories,
        )
