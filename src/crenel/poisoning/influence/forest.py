"""Forests without each group of rows: structure kept, leaves counted again, empty sides closed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import NotApplicable
from crenel.evasion.trees.compiled import compiled
from crenel.evasion.trees.ensemble import TreeEnsemble
from crenel.poisoning.influence.effects import Answers, Floats
from crenel.poisoning.influence.newton import groups

Ints = NDArray[np.int32]


def forest_without(
    ensemble: TreeEnsemble, bags: Floats, x: Floats, y: NDArray[np.int64],
    codes: NDArray[np.int64], test: Floats,
) -> Answers:  # fmt: skip
    """Answers to test rows by the forest without each group of training rows.

    Each tree keeps its splits and the rows of its bag that stay; leaves are counted without the
    group ("leaf refit": Sharchilev et al., "Finding influential training samples for gradient
    boosted decision trees", 2018). Where one side of a split keeps no row, the split is gone too:
    rows go on to the other side, as they would in a tree that was never shown the group.

    Parameters
    ----------
    ensemble : TreeEnsemble
        Trees whose shares are averaged, without splits by category.
    bags : ndarray, shape (trees, n), float64
        Weight of each training row in each tree, 0 where it was not drawn.
    x, test : ndarray, shapes (n, d) and (m, d), float64
        Rows as the trees see them.
    y : ndarray, shape (n,), int64
    codes : ndarray, shape (n,), int64
        Groups in [0, s).
    """
    if ensemble.categories:
        raise NotApplicable("a forest that splits by category is not read")
    k = ensemble.value.shape[1]
    leaf, reached = ensemble.leaves(x), ensemble.leaves(test)
    parent = parents(ensemble)
    counts = np.zeros((len(ensemble.feature), k))
    add_rows(counts, leaf, parent, y, bags, np.arange(len(y)), 1.0)
    touched = np.zeros(len(counts), dtype=np.bool_)
    trees = (ensemble.feature, ensemble.threshold, ensemble.left, ensemble.right,
             ensemble.missing_left, ensemble.roots)  # fmt: skip
    whole = np.zeros((len(test), k))
    vote(whole, counts, reached)

    def answers() -> Iterator[Floats]:
        for rows in groups(codes):
            add_rows(counts, leaf, parent, y, bags, rows, -1.0)
            mark(touched, leaf, rows, True)
            change = np.zeros_like(whole)
            revote(change, counts, reached, touched, leaf_shares, test, *trees)
            mark(touched, leaf, rows, False)
            add_rows(counts, leaf, parent, y, bags, rows, 1.0)
            yield whole + change

    leaf_shares = shares(counts)
    return Answers(whole, answers(), "leaf refit")


def bags_of(forest: Any, n: int, weight: Floats) -> Floats:
    """How often each training row counts in each tree (trees, n), float64.

    Raises
    ------
    NotApplicable
        Where the forest does not tell, or was fitted on other rows.
    """
    samples = getattr(forest, "estimators_samples_", None)
    if samples is None:  # a single tree
        return np.asarray(weight[None])
    if max(int(s.max(initial=0)) for s in samples) >= n:
        raise NotApplicable("the forest was fitted on other rows")
    return np.stack([np.bincount(s, minlength=n) * weight for s in samples])


def parents(ensemble: TreeEnsemble) -> Ints:
    """The parent of each node (nodes,), -1 for roots."""
    parent = np.full(len(ensemble.feature), -1, dtype=np.int32)
    inner = np.flatnonzero(ensemble.feature >= 0)
    parent[ensemble.left[inner]] = inner
    parent[ensemble.right[inner]] = inner
    return parent


def shares(counts: Floats) -> Floats:
    """Class shares of each node."""
    total = counts.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(counts, total, out=np.zeros_like(counts), where=total > 0))


@compiled
def add_rows(
    counts: Floats, leaf: Ints, parent: Ints, y: NDArray[np.int64], bags: Floats,
    rows: NDArray[np.int64], sign: float,
) -> None:  # fmt: skip
    """Add rows to the counts of every node on their ways, or take them out."""
    for i in rows:
        for tree in range(leaf.shape[1]):
            weight = bags[tree, i]
            node = leaf[i, tree]
            while weight > 0 and node >= 0:
                counts[node, y[i]] += sign * weight
                node = parent[node]


@compiled
def mark(touched: NDArray[np.bool_], leaf: Ints, rows: NDArray[np.int64], flag: bool) -> None:
    """Set the flag of every leaf that one of the rows lies in."""
    for i in rows:
        for tree in range(leaf.shape[1]):
            touched[leaf[i, tree]] = flag


@compiled
def weight_of(counts: Floats, node: int) -> float:
    """What a node weighs; rounding is taken for nothing."""
    total = 0.0
    for c in range(counts.shape[1]):
        total += counts[node, c]
    return total if total > 1e-9 else 0.0


@compiled
def vote(out: Floats, counts: Floats, reached: Ints) -> None:
    """Write the mean of the shares of the leaves that each test row reaches."""
    for i in range(len(reached)):
        for tree in range(reached.shape[1]):
            node = reached[i, tree]
            total = weight_of(counts, node)
            for c in range(out.shape[1]):
                if total > 0:
                    out[i, c] += counts[node, c] / total / reached.shape[1]


@compiled
def revote(
    change: Floats, counts: Floats, reached: Ints, touched: NDArray[np.bool_], before: Floats,
    test: Floats, feature: Ints, threshold: Floats, left: Ints, right: Ints,
    missing_left: NDArray[np.bool_], roots: Ints,
) -> None:  # fmt: skip
    """Write what the shares of touched leaves change in the mean of each test row."""
    trees = reached.shape[1]
    for i in range(len(reached)):
        for tree in range(trees):
            start = reached[i, tree]
            if not touched[start]:
                continue
            node = start
            if weight_of(counts, start) == 0.0:
                node = roots[tree]
                while feature[node] >= 0:
                    number = test[i, feature[node]]
                    lower = missing_left[node] if np.isnan(number) else number < threshold[node]
                    near = left[node] if lower else right[node]
                    far = right[node] if lower else left[node]
                    node = near if weight_of(counts, near) > 0.0 else far
            total = weight_of(counts, node)
            for c in range(change.shape[1]):
                now = counts[node, c] / total if total > 0 else before[start, c]
                change[i, c] += (now - before[start, c]) / trees
