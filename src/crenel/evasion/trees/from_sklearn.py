"""Read scikit-learn's trees, forests and boosting (1.5 or later) as flat arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import NotApplicable
from crenel.evasion.trees.ensemble import (
    CategorySplit,
    Floats,
    Growing,
    at_most,
    at_most_float32,
)
from crenel.evasion.trees.flat import FlatModel, index_of, plain, quietly, two_columns


def read(model: Any, width: int) -> FlatModel:
    """Flatten a fitted scikit-learn classifier of trees."""
    from sklearn.ensemble import (
        AdaBoostClassifier,
        BaggingClassifier,
        ExtraTreesClassifier,
        GradientBoostingClassifier,
        HistGradientBoostingClassifier,
        IsolationForest,
        RandomForestClassifier,
    )
    from sklearn.tree import DecisionTreeClassifier

    name = type(model).__name__
    if getattr(model, "n_outputs_", 1) != 1:
        raise NotApplicable(f"{name} has several outputs; exact distances need one.")
    if isinstance(model, DecisionTreeClassifier):
        return averaging(model, [model], width)
    if isinstance(model, RandomForestClassifier | ExtraTreesClassifier):
        return averaging(model, list(model.estimators_), width)
    if isinstance(model, BaggingClassifier | AdaBoostClassifier):
        if not all(isinstance(m, DecisionTreeClassifier) for m in model.estimators_):
            raise NotApplicable(f"The members of this {name} are not trees.")
        from crenel.evasion.trees.from_sklearn_meta import adaptive, bagging

        reader = bagging if isinstance(model, BaggingClassifier) else adaptive
        return reader(model, width)
    if isinstance(model, IsolationForest):
        from crenel.evasion.trees.from_sklearn_meta import isolation

        return isolation(model, width)
    if isinstance(model, GradientBoostingClassifier):
        return boosting(model, width)
    if isinstance(model, HistGradientBoostingClassifier):
        return histogram_boosting(model, width)
    raise NotApplicable(f"{name} is not a classifying tree ensemble of scikit-learn.")


def asker(model: Any) -> Any:
    """The user's own predict, as class indices."""
    classes = np.asarray(model.classes_)
    if len(classes) < 2:
        raise NotApplicable(f"{type(model).__name__} knows a single class; nothing can change it.")
    return quietly(lambda x: index_of(classes, model.predict(x)))


def float32_splits() -> Growing:
    """What grows by trees that cast a row to float32 and send it left on ``x <= t``."""
    return Growing(below=at_most_float32)


def add_tree(
    growing: Growing, tree: Any, value: Floats, columns: NDArray[np.integer] | None = None
) -> None:
    """Append one of scikit-learn's ``tree_`` objects with the leaf values (nodes, k).

    ``growing`` is one of `float32_splits`.
    ``columns`` are the columns that the tree was shown, where not all.
    """
    feature = tree.feature  # negative at leaves
    if columns is not None:
        feature = np.where(feature >= 0, np.asarray(columns)[np.maximum(feature, 0)], -1)
    missing = getattr(tree, "missing_go_to_left", None)
    growing.add(
        feature=feature,
        threshold=tree.threshold,
        left=tree.children_left,
        right=tree.children_right,
        missing_left=np.zeros(tree.node_count) if missing is None else missing,
        value=value,
    )


def averaging(model: Any, members: list[Any], width: int) -> FlatModel:
    """Trees whose class probabilities are averaged."""
    growing, trees = float32_splits(), [member.tree_ for member in members]
    shares = leaf_shares(np.concatenate([tree.value[:, 0, :] for tree in trees]))
    ends = np.cumsum([tree.node_count for tree in trees])
    for tree, value in zip(trees, np.split(shares, ends[:-1])):
        add_tree(growing, tree, value)
    base = np.zeros(len(model.classes_))
    ensemble = growing.freeze(base, divisor=float(len(members)))
    scores = quietly(lambda x: model.predict_proba(x))
    return FlatModel(ensemble, asker(model), scores, plain, np.arange(width))


def leaf_shares(value: Floats) -> Floats:
    """Class shares of the leaves, to the last bit as scikit-learn returns them.

    Since 1.3 a tree stores shares and returns them as they are: to divide them again would change
    the last bit, and with it who wins a tie. Before, it stored counts.
    """
    total = value.sum(axis=1, keepdims=True)
    return value if np.allclose(total, 1.0) else value / total


def boosting(model: Any, width: int) -> FlatModel:
    """``GradientBoostingClassifier``, from a constant start only."""
    init = getattr(model, "init_", None)
    if not (init is None or init == "zero" or type(init).__name__ == "DummyClassifier"):
        raise NotApplicable(
            f"GradientBoostingClassifier starts from {type(init).__name__}, which is not made of "
            "its trees; exact distances need the default init or 'zero'."
        )
    growing = float32_splits()
    trees = model.estimators_
    classes = len(model.classes_)
    for stage in trees:
        for column, member in enumerate(stage):
            value = np.zeros((member.tree_.node_count, classes))
            target = 1 if len(stage) == 1 else column
            value[:, target] = model.learning_rate * member.tree_.value[:, 0, 0]
            add_tree(growing, member.tree_, value)
    scores = quietly(lambda x: two_columns(model.decision_function(x)))
    origin = np.zeros((1, width))
    start = scores(origin)[0] - growing.freeze(np.zeros(classes)).scores(origin)[0]
    # expit and argmax can merge scores that differ by a few units in the last place.
    ensemble = growing.freeze(start, link_tolerance=1e-15)
    return FlatModel(ensemble, asker(model), scores, plain, np.arange(width))


def histogram_boosting(model: Any, width: int) -> FlatModel:
    """``HistGradientBoostingClassifier`` over its inner columns (categories come first)."""
    growing = Growing(below=at_most)
    classes = len(model.classes_)
    for stage in model._predictors:
        for column, predictor in enumerate(stage):
            add_histogram_tree(growing, predictor, 1 if len(stage) == 1 else column, classes)
    base = two_columns(model._baseline_prediction)[0]
    scores = quietly(lambda x: two_columns(model.decision_function(x)))
    columns = np.arange(width)
    encode: Callable[[NDArray[Any]], Floats] = plain
    if getattr(model, "_preprocessor", None) is not None:
        category = np.asarray(model.is_categorical_, dtype=bool)
        columns = np.concatenate([np.flatnonzero(category), np.flatnonzero(~category)])
        encode = quietly(lambda x: np.asarray(model._preprocess_X(x, reset=False), dtype=float))
    return FlatModel(growing.freeze(base), asker(model), scores, encode, columns)


def add_histogram_tree(growing: Growing, predictor: Any, target: int, classes: int) -> None:
    """Append one predictor of histogram boosting, whose leaves add to class ``target``.

    ``growing`` turns thresholds by `at_most`.
    """
    nodes: NDArray[Any] = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    value = np.zeros((len(nodes), classes))
    value[:, target] = nodes["value"]
    growing.add(
        feature=np.where(leaf, -1, nodes["feature_idx"]).astype(np.int32),
        threshold=nodes["num_threshold"],
        left=nodes["left"].astype(np.int64),
        right=nodes["right"].astype(np.int64),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        value=value,
        categories={
            int(i): CategorySplit(
                members(predictor.raw_left_cat_bitsets[nodes["bitset_idx"][i]]), True
            )
            for i in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf)
        },
    )


def members(bitset: NDArray[np.uint32]) -> frozenset[int]:
    """Codes whose bit is set in 8 words of 32 bits."""
    return frozenset(
        32 * word + bit
        for word in range(len(bitset))
        for bit in range(32)
        if bitset[word] >> bit & 1
    )
