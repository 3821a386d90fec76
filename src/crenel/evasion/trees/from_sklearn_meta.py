"""Read scikit-learn's ensembles of whole trees: bagging, AdaBoost and isolation forests."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import NotApplicable
from crenel.evasion.trees.ensemble import Floats
from crenel.evasion.trees.flat import FlatModel, plain, quietly, two_columns
from crenel.evasion.trees.from_sklearn import add_tree, asker, float32_splits, leaf_shares


def bagging(model: Any, width: int) -> FlatModel:
    """``BaggingClassifier`` of trees, each on its own columns; their shares are averaged."""
    growing = float32_splits()
    for member, columns in zip(model.estimators_, model.estimators_features_):
        share = leaf_shares(member.tree_.value[:, 0, :])
        value = np.zeros((len(share), len(model.classes_)))
        value[:, member.classes_.astype(int)] = share
        add_tree(growing, member.tree_, value, columns)
    base = np.zeros(len(model.classes_))
    ensemble = growing.freeze(base, divisor=float(len(model.estimators_)))
    scores = quietly(lambda x: model.predict_proba(x))
    return FlatModel(ensemble, asker(model), scores, plain, np.arange(width))


def adaptive(model: Any, width: int) -> FlatModel:
    """``AdaBoostClassifier`` of trees, whose weighted votes are added (SAMME).

    A tree's vote is its weight for its class and, for each other, minus the weight over their
    number.
    """
    classes = len(model.classes_)
    if getattr(model, "algorithm", "SAMME") == "SAMME.R":
        raise NotApplicable("AdaBoostClassifier was fitted with SAMME.R; fit it with SAMME.")
    if any(len(member.classes_) != classes for member in model.estimators_):
        raise NotApplicable("A member of AdaBoostClassifier does not know every class.")
    growing = float32_splits()
    weights = model.estimator_weights_[: len(model.estimators_)]
    for member, weight in zip(model.estimators_, weights):
        chosen = member.tree_.value[:, 0, :].argmax(axis=1)
        value = np.full((len(chosen), classes), -weight / (classes - 1))
        value[np.arange(len(chosen)), chosen] = weight
        add_tree(growing, member.tree_, value)

    def scores(x: NDArray[Any]) -> Floats:
        raw = np.asarray(model.decision_function(x), dtype=np.float64)
        return np.stack([-raw / 2, raw / 2], axis=1) if raw.ndim == 1 else raw

    ensemble = growing.freeze(np.zeros(classes), divisor=float(weights.sum()))
    return FlatModel(ensemble, asker(model), quietly(scores), plain, np.arange(width))


def isolation(model: Any, width: int) -> FlatModel:
    """``IsolationForest``: class 0 (-1) is an outlier, class 1 (1) is not.

    A row is an outlier where its depths, summed over the trees and with what unbuilt depth its
    leaves stand for, fall short of what ``offset_`` says (Liu, Ting and Zhou, 2008).
    """
    from sklearn.ensemble._iforest import _average_path_length

    growing = float32_splits()
    for member, columns in zip(model.estimators_, model.estimators_features_):
        tree = member.tree_
        depth = node_depths(tree) + _average_path_length(tree.n_node_samples)
        value = np.stack([np.zeros(len(depth)), depth], axis=1)
        add_tree(growing, tree, value, columns)
    whole = len(model.estimators_) * float(_average_path_length([model._max_samples])[0])

    def total(score: Any) -> Floats:
        return np.asarray(-whole * np.log2(-np.asarray(score, dtype=np.float64)))

    short = total(model.offset_)
    ensemble = growing.freeze(np.array([0.0, -float(short)]))

    def predict(x: NDArray[Any]) -> NDArray[np.intp]:
        return (np.asarray(model.predict(x)) > 0).astype(np.intp)

    scores = quietly(lambda x: two_columns(total(model.score_samples(x)) - short))
    return FlatModel(ensemble, quietly(predict), scores, plain, np.arange(width))


def node_depths(tree: Any) -> Floats:
    """Splits above each node of a ``tree_`` object, (nodes,) float64; children follow parents."""
    depth = np.zeros(tree.node_count)
    for node in range(tree.node_count):
        if tree.children_left[node] >= 0:
            depth[tree.children_left[node]] = depth[node] + 1
            depth[tree.children_right[node]] = depth[node] + 1
    return depth
