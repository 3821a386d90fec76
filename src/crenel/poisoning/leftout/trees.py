"""Trees without each row: its own share is taken out of every leaf that it reaches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crenel.errors import NotApplicable
from crenel.evasion.trees.compiled import compiled
from crenel.evasion.trees.ensemble import TreeEnsemble
from crenel.poisoning.influence.boosting import Booster, numbered, starting_margins
from crenel.poisoning.influence.boosting_kernels import aim, follow, step
from crenel.poisoning.influence.effects import softmax
from crenel.poisoning.influence.forest import parents

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Numbers = NDArray[np.int64]
#: Trees at least that a row was not drawn for, for out-of-bag votes to say something.
LEAST = 3
#: Weight of a tree that was shown the row, chosen on flips in scikit-learn's digits and in 2,500
#: images of Fashion-MNIST: with 0 votes are few and coarse, with 1 splits that follow wrong labels
#: hide those of one class called another.
DRAWN = 0.25


def forest_left_out(
    ensemble: TreeEnsemble, bags: Floats, x: Floats, y: Numbers
) -> tuple[Floats, Floats, Floats | None]:
    """Votes (n, k) of a forest with each row, without it, and out of bag.

    In the trees that a row was not drawn for it had no part: these alone are the out-of-bag votes
    (Breiman, "Random forests", 2001), None where a row has fewer than `LEAST` such trees. In the
    others its own count is taken out of its leaf; where the leaf held nothing else, the smallest
    node above it that holds other rows votes. They count a quarter, for it had a part in their
    splits.

    Parameters
    ----------
    ensemble : TreeEnsemble
        Without splits by category.
    bags : ndarray, shape (trees, n), float64
        Weight of each row in each tree, 0 where it was not drawn.
    x : ndarray, shape (n, d), float64
    y : ndarray, shape (n,), int64
    """
    if ensemble.categories:
        raise NotApplicable("a forest that splits by category is not read")
    leaf, parent = ensemble.leaves(x), parents(ensemble)
    counts = np.zeros((len(ensemble.feature), ensemble.value.shape[1]))
    count(counts, leaf, parent, y, bags)
    whole, drawn, out = np.zeros((3, len(y), counts.shape[1]))
    vote(whole, drawn, out, counts, leaf, parent, y, bags)
    trees = out.sum(axis=1, keepdims=True)
    without = DRAWN * drawn + out
    return (
        whole / whole.sum(axis=1, keepdims=True),
        without / without.sum(axis=1, keepdims=True),
        out / trees if trees.min() > LEAST - 0.5 else None,
    )


@compiled
def count(counts: Floats, leaf: Ints, parent: Ints, y: Numbers, bags: Floats) -> None:
    """Fill the weight of each class in every node; parents come before their children."""
    for i in range(len(y)):
        for tree in range(leaf.shape[1]):
            counts[leaf[i, tree], y[i]] += bags[tree, i]
    for node in range(len(parent) - 1, -1, -1):
        if parent[node] >= 0:
            for c in range(counts.shape[1]):
                counts[parent[node], c] += counts[node, c]


@compiled
def vote(
    whole: Floats, drawn: Floats, out: Floats, counts: Floats, leaf: Ints, parent: Ints,
    y: Numbers, bags: Floats,
) -> None:  # fmt: skip
    """Add up the trees' shares of classes for each row: with its own weight, and without it.

    Without it in ``drawn`` where the tree was shown the row, in ``out`` where it was not.
    """
    for i in range(len(y)):
        for tree in range(leaf.shape[1]):
            own, node, total = bags[tree, i], leaf[i, tree], 0.0
            for c in range(counts.shape[1]):
                total += counts[node, c]
            for c in range(counts.shape[1]):
                whole[i, c] += counts[node, c] / total
            while total - own < 1e-9 and parent[node] >= 0:
                node, total = parent[node], 0.0
                for c in range(counts.shape[1]):
                    total += counts[node, c]
            for c in range(counts.shape[1]):
                left = counts[node, c] - (own if c == y[i] else 0.0)
                if own > 0:
                    drawn[i, c] += left / (total - own)
                else:
                    out[i, c] += left / total


def boosting_left_out(
    ensemble: TreeEnsemble, booster: Booster, x: Floats, y: Numbers, weight: Floats
) -> tuple[Floats, Floats]:
    """Probabilities (n, k) by boosted trees with each row, and without it.

    The trees' leaves are computed again from all rows, tree by tree, and for each row once more
    without its own gradient and Hessian. What its absence would change in the gradients of other
    rows is left aside.

    Parameters
    ----------
    ensemble : TreeEnsemble
    booster : Booster
    x : ndarray, shape (n, d), float64
    y : ndarray, shape (n,), int64
    weight : ndarray, shape (n,), float64
    """
    k = len(ensemble.base)
    width = 1 if k == 2 else k
    if len(ensemble.roots) % width:
        raise NotApplicable("the trees do not come in rounds of one for each class")
    leaf, leaves = numbered(ensemble, ensemble.leaves(x))
    start = starting_margins(ensemble, y, weight)
    rule = (booster.rate * booster.factor, booster.scale, booster.penalty)
    steep, curved, value, course = follow(leaf, leaves, y, weight, start, *rule, width)
    whole, without = np.tile(start, (2, len(y), 1))
    spare(whole, without, leaf, course, y, weight, steep, curved, value, *rule)
    return softmax(whole), softmax(without)


@compiled
def spare(
    whole: Floats, without: Floats, leaf: NDArray[np.uint16], course: NDArray[np.float32],
    y: Numbers, weight: Floats, steep: Floats, curved: Floats, value: Floats, rate: float,
    scale: float, penalty: float,
) -> None:  # fmt: skip
    """Add up leaves (n, j) for each row, with its own gradient and Hessian and without."""
    rounds, j, n = course.shape
    for r in range(rounds):
        for c in range(j):
            tree = r * j + c
            for i in range(n):
                p, at = np.float64(course[r, c, i]), leaf[tree, i]
                g = steep[tree, at] - weight[i] * (p - aim(y[i], c, j))
                h = curved[tree, at] - weight[i] * p * (1.0 - p)
                whole[i, c] += value[tree, at]
                without[i, c] += step(g, h, rate, scale, penalty)
