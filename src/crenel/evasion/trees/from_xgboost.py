"""Read XGBoost classifiers as flat arrays, through the model's own binary or JSON form."""

from __future__ import annotations

import json
import math
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import NotApplicable
from crenel.evasion.trees.ensemble import (
    CategorySplit,
    Floats,
    Growing,
    TreeEnsemble,
    below_float32,
)
from crenel.evasion.trees.flat import FlatModel, index_of, plain, two_columns
from crenel.evasion.trees.kept import read_once
from crenel.evasion.trees.xgboost_binary import trees_of

LOGISTIC = ("binary:logistic", "binary:logitraw")
SOFTMAX = ("multi:softprob", "multi:softmax")


def read(model: Any, width: int) -> FlatModel:
    """Flatten a Booster or an ``XGBClassifier``."""
    import xgboost

    wrapped = not isinstance(model, xgboost.Booster)
    booster = model.get_booster() if wrapped else model
    learner = json.loads(booster.save_config())["learner"]
    objective = learner["objective"]["name"]
    if objective not in LOGISTIC + SOFTMAX:
        raise NotApplicable(
            f"XGBoost objective {objective} does not decide between classes; "
            "exact distances need a classifier."
        )
    if wrapped and not math.isnan(model.get_params().get("missing", math.nan)):
        raise NotApplicable(
            "XGBClassifier treats a number as missing (its parameter `missing`); fit it with NaN."
        )
    classes = max(2, int(learner["learner_model_param"]["num_class"]))
    used, raw = used_trees(model, learner, wrapped), bytes(booster.save_raw("ubj"))

    def build() -> TreeEnsemble:
        growing = grown(booster, raw, learner, classes, used)
        base = base_scores(learner, classes, objective)
        # The sigmoid and the softmax in float32 merge scores that differ by less than this.
        return growing.freeze(base, single=True, link_tolerance=5e-7)

    ensemble = read_once(raw + f" {used}".encode(), build)

    def matrix(x: Any) -> Any:
        return xgboost.DMatrix(
            x,
            feature_names=booster.feature_names,
            feature_types=booster.feature_types,
            enable_categorical=True,
        )

    limit = iteration_range(model, wrapped)

    def scores(x: Any) -> Floats:
        if wrapped:  # without a matrix of XGBoost's own where that can be
            return two_columns(model.predict(x, output_margin=True))
        return two_columns(booster.predict(matrix(x), output_margin=True, iteration_range=limit))

    def predict(x: Any) -> Any:
        if wrapped:
            return index_of(np.asarray(model.classes_), model.predict(x))
        answer = booster.predict(matrix(x))
        if objective == "multi:softmax":
            return answer.astype(np.intp)
        if answer.ndim == 2:
            return np.argmax(answer, axis=1)
        return (answer > (0.0 if objective == "binary:logitraw" else 0.5)).astype(np.intp)

    return FlatModel(ensemble, predict, scores, plain, np.arange(width))


def iteration_range(model: Any, wrapped: bool) -> tuple[int, int]:
    """Boosting rounds that predict uses: those up to the best one after early stopping."""
    if wrapped:
        try:
            return (0, int(model.best_iteration) + 1)
        except AttributeError:  # raised where training did not stop early
            return (0, 0)
    return (0, 0)


def used_trees(model: Any, learner: dict[str, Any], wrapped: bool) -> int | None:
    """How many trees predict uses; None for all."""
    rounds = iteration_range(model, wrapped)[1]
    if rounds == 0:
        return None
    parameters = model_parameters(learner["gradient_booster"])
    groups = max(1, int(learner["learner_model_param"]["num_class"]))
    return rounds * groups * int(parameters.get("num_parallel_tree", 1))


def model_parameters(booster: dict[str, Any]) -> dict[str, Any]:
    """Numbers of trees, from a booster's configuration or from its JSON form."""
    trees = booster.get("gbtree", booster)
    found: dict[str, Any] = trees.get("model", trees)["gbtree_model_param"]
    return found


def grown(
    booster: Any, raw: bytes, learner: dict[str, Any], classes: int, used: int | None
) -> Growing:
    """All trees of a booster with the given configuration: by its binary form if it is plain."""
    if learner["gradient_booster"]["name"] == "gbtree":
        count = int(model_parameters(learner["gradient_booster"])["num_trees"])
        trees = trees_of(raw, count, used)
        if trees is not None:
            several = classes > 2 or trees.group.max() > 0
            targets = trees.group if several else trees.group + 1
            growing = Growing()
            add_arrays(growing, trees.sizes, targets, classes, trees.condition, trees.condition,
                       trees.left, trees.right, trees.column, trees.missing_left, {})  # fmt: skip
            return growing
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    return grow(learner["gradient_booster"], classes, used)


def base_scores(learner: dict[str, Any], classes: int, objective: str) -> Floats:
    """Start score of each class; a number before XGBoost 3.1, a list since."""
    text = str(learner["learner_model_param"]["base_score"]).strip("[]")
    base = np.array([float(part) for part in text.split(",")], dtype=np.float32)
    if objective == "binary:logistic":
        base = -np.log(np.float32(1) / base - np.float32(1))
    if objective in LOGISTIC:
        return np.array([0.0, float(base[0])])
    return np.broadcast_to(base.astype(np.float64), (classes,)).copy()


def grow(booster: dict[str, Any], classes: int, used: int | None) -> Growing:
    """All trees of a gbtree or dart booster."""
    if booster["name"] not in ("gbtree", "dart"):
        raise NotApplicable(f"XGBoost booster {booster['name']} is not made of trees.")
    model = booster.get("gbtree", booster)["model"]
    weights = booster.get("weight_drop", [1.0] * len(model["trees"]))
    trees, groups = model["trees"][:used], np.array(model["tree_info"][:used], dtype=np.int64)
    if any(int(tree["tree_param"].get("size_leaf_vector", 1)) > 1 for tree in trees):
        raise NotApplicable(
            "XGBoost trees with vector leaves (multi_output_tree) are not supported."
        )
    growing = Growing()
    if trees:
        targets = groups if max(model["tree_info"]) > 0 or classes > 2 else groups + 1
        add_trees(growing, trees, targets, classes, np.array(weights[:used], dtype=np.float32))
    return growing


def add_trees(
    growing: Growing,
    trees: list[dict[str, Any]],
    targets: NDArray[np.int64],
    classes: int,
    weights: NDArray[np.float32],
) -> None:
    """Append trees, the leaves of each of which add to its class of ``targets``."""
    sizes = np.array([len(tree["left_children"]) for tree in trees])
    begin = np.cumsum(sizes) - sizes

    def joined(key: str, kind: type) -> NDArray[Any]:
        numbers = chain.from_iterable(tree[key] for tree in trees)
        return np.fromiter(numbers, dtype=kind, count=int(sizes.sum()))

    condition = joined("split_conditions", np.float32)
    splits = (
        (int(first + node), split)
        for first, tree in zip(begin, trees)
        for node, split in category_splits(tree).items()
    )
    add_arrays(
        growing, sizes, targets, classes, condition, condition * np.repeat(weights, sizes),
        joined("left_children", np.int64), joined("right_children", np.int64),
        joined("split_indices", np.int64), joined("default_left", np.bool_), dict(splits),
    )  # fmt: skip


def add_arrays(
    growing: Growing,
    sizes: NDArray[np.int64],
    targets: NDArray[np.int64],
    classes: int,
    condition: NDArray[np.floating],
    leaf: NDArray[np.floating],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    column: NDArray[np.int64],
    missing_left: NDArray[np.bool_],
    categories: dict[int, CategorySplit],
) -> None:
    """Append trees one after the other, (trees,) sizes and targets, the others (nodes,)."""
    begin = np.cumsum(sizes) - sizes
    offset = np.repeat(begin, sizes)
    value = np.zeros((len(left), classes))
    value[np.arange(len(left)), np.repeat(targets, sizes)] = leaf
    growing.add(
        feature=np.where(left >= 0, column, -1).astype(np.int32),
        threshold=below_float32(condition.astype(np.float32)),
        left=left + offset,
        right=right + offset,
        missing_left=missing_left,
        value=value,
        categories=categories,
        roots=begin.tolist(),
    )


def category_splits(tree: dict[str, Any]) -> dict[int, CategorySplit]:
    """The nodes that send a set of categories right and all others left."""
    parts = zip(
        tree.get("categories_nodes", []),
        tree.get("categories_segments", []),
        tree.get("categories_sizes", []),
    )
    return {
        node: CategorySplit(frozenset(tree["categories"][start : start + size]), False)
        for node, start, size in parts
    }
