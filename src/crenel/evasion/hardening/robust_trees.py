"""Robust trees and forests that are ordinary scikit-learn objects once they are trained."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crenel.errors import UsageError
from crenel.evasion.hardening.robust_kernel import grow


def robust_tree(
    x: ArrayLike,
    y: ArrayLike,
    epsilon: ArrayLike,
    *,
    max_depth: int | None = None,
    min_samples_leaf: int = 5,
    seed: int = 0,
) -> Any:
    """A decision tree whose splits hold against small changes of every number.

    Parameters
    ----------
    x : array_like, shape (n, d)
        Finite numbers, as the model will see them; compared as float32 like scikit-learn does.
    y : array_like, shape (n,)
        Labels, of two classes.
    epsilon : float or array_like, shape (d,)
        How far the attacker moves each column at most, in units of ``x``; 0 for a fixed column.
    max_depth : int or None
    min_samples_leaf : int
        Rows of a leaf at least, under the attacker's worst placement.
    seed : int
        Order in which columns of equal merit are tried.

    Returns
    -------
    sklearn.tree.DecisionTreeClassifier
        Fitted; it needs nothing of crenel's to predict.

    Raises
    ------
    crenel.errors.UsageError
        Where a value is missing, there are not two classes, or an argument is out of range.

    Notes
    -----
    The split with the least Gini impurity under the worst placement of the rows within reach of
    both sides (GROOT; Vos and Verwer, 2021). Rows within reach go down where they do most harm,
    and their reach is cut by every split on their way.
    """
    boxes, classes, own = _checked(x, y, epsilon, max_depth, min_samples_leaf)
    weight = np.ones(len(own))
    depth = 10_000 if max_depth is None else max_depth
    return _planted(boxes, own, weight, classes, depth, min_samples_leaf, boxes[0].shape[1], seed)


def robust_forest(
    x: ArrayLike,
    y: ArrayLike,
    epsilon: ArrayLike,
    *,
    n_estimators: int = 100,
    max_depth: int | None = None,
    min_samples_leaf: int = 1,
    max_features: float | None = None,
    seed: int = 0,
) -> Any:
    """A forest of robust trees on bootstrap samples; see `robust_tree` for what is shared.

    Parameters
    ----------
    n_estimators : int
        Trees, at least 1.
    max_features : float or None
        Share of the columns tried at each split, in (0, 1]; the square root of their number where
        it is None.

    Returns
    -------
    sklearn.ensemble.RandomForestClassifier
        Fitted. Training a clone of it gives an ordinary forest.
    """
    from sklearn.ensemble import RandomForestClassifier

    boxes, classes, own = _checked(x, y, epsilon, max_depth, min_samples_leaf)
    if n_estimators < 1 or not (max_features is None or 0 < max_features <= 1):
        raise UsageError("n_estimators must be at least 1, and max_features in (0, 1]")
    n, d = boxes[0].shape
    tried = round(d * max_features) if max_features else round(np.sqrt(d))
    rng = np.random.default_rng(seed)
    depth = 10_000 if max_depth is None else max_depth
    trees = []
    for _ in range(n_estimators):
        weight = np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64)
        inner = int(rng.integers(1, 2**31 - 2))
        numbered = np.arange(2)  # as a forest keeps its trees
        trees.append(
            _planted(boxes, own, weight, numbered, depth, min_samples_leaf, max(1, tried), inner)
        )
    forest = RandomForestClassifier(
        n_estimators=n_estimators, max_depth=max_depth, min_samples_leaf=min_samples_leaf
    )
    forest.estimators_, forest.classes_ = trees, classes
    forest.n_classes_, forest.n_outputs_, forest.n_features_in_ = 2, 1, d
    return forest


def _checked(
    x: ArrayLike, y: ArrayLike, epsilon: ArrayLike, depth: int | None, leaf: int
) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], NDArray[Any], NDArray[np.int64]]:
    rows = np.asarray(x, dtype=np.float32).astype(np.float64)
    reach = np.asarray(epsilon, dtype=np.float64)
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise UsageError("robust trees take a table of finite numbers; fill missing values first")
    if len(rows) != len(np.asarray(y)):
        raise UsageError(f"{len(rows)} rows but {len(np.asarray(y))} labels; give one for each row")
    if not np.isfinite(reach).all() or (reach < 0).any() or reach.shape not in ((), rows.shape[1:]):
        raise UsageError("epsilon must be one number, or one for each column, and not negative")
    if leaf < 1 or (depth is not None and depth < 1):
        raise UsageError("max_depth and min_samples_leaf must be at least 1")
    classes, own = np.unique(np.asarray(y), return_inverse=True)
    if len(classes) != 2:
        raise UsageError(f"robust trees tell two classes apart, and there are {len(classes)}")
    return (rows - reach, rows + reach), classes, own.astype(np.int64)


def _planted(
    boxes: tuple[NDArray[np.float64], NDArray[np.float64]], y: NDArray[np.int64],
    weight: NDArray[np.float64], classes: NDArray[Any], depth: int, leaf: int, tried: int,
    seed: int,
) -> Any:  # fmt: skip
    """Grow a tree and put it into a scikit-learn tree."""
    from sklearn.tree import DecisionTreeClassifier
    from sklearn.tree._tree import Tree

    low, high = boxes[0].copy(), boxes[1].copy()
    grown = grow(low, high, y, weight, depth, float(leaf), tried, seed % (2**31 - 2) + 1)
    d = low.shape[1]
    tree = DecisionTreeClassifier(max_depth=1).fit(np.eye(2, d), classes)
    state = tree.tree_.__getstate__()
    inner = Tree(d, np.array([2], dtype=np.intp), 1)
    inner.__setstate__(_state(state, grown))
    tree.set_params(max_depth=None if depth >= 10_000 else depth, min_samples_leaf=leaf)
    tree.tree_, tree.max_features_ = inner, tried
    return tree


def _state(template: dict[str, Any], grown: tuple[Any, ...]) -> dict[str, Any]:
    """What a scikit-learn tree of the installed version is made of."""
    feature, threshold, left, right, value = grown
    total = value.sum(axis=1)
    nodes = np.zeros(len(feature), dtype=template["nodes"].dtype)
    nodes["left_child"], nodes["right_child"] = left, right
    nodes["feature"], nodes["threshold"] = feature, threshold
    nodes["impurity"] = 1 - ((value / total[:, None]) ** 2).sum(axis=1)
    nodes["n_node_samples"], nodes["weighted_n_node_samples"] = total.round(), total
    return {
        **template,
        "max_depth": _depth(left, right),
        "node_count": len(nodes),
        "nodes": nodes,
        "values": np.ascontiguousarray((value / total[:, None])[:, None, :]),
    }


def _depth(left: NDArray[Any], right: NDArray[Any]) -> int:
    depth = np.zeros(len(left), dtype=np.int64)
    for node in range(len(left)):  # children come after their parents
        for child in (left[node], right[node]):
            if child >= 0:
                depth[child] = depth[node] + 1
    return int(depth.max())
