"""Read LightGBM classifiers as flat arrays, through ``Booster.dump_model``."""

from __future__ import annotations

from typing import Any

import numpy as np

from crenel.errors import NotApplicable
from crenel.evasion.trees.ensemble import CategorySplit, Floats, Growing
from crenel.evasion.trees.flat import FlatModel, index_of, plain, quietly, two_columns

ZERO = float(np.float32(1e-35))  # what LightGBM takes for zero, either side
MOST_NODES = 1_000_000
OBJECTIVES = ("binary", "multiclass", "multiclassova", "cross_entropy")


def read(model: Any, width: int) -> FlatModel:
    """Flatten a Booster or an ``LGBMClassifier``."""
    wrapped = hasattr(model, "booster_")
    booster = model.booster_ if wrapped else model
    dump = booster.dump_model()
    objective = str(dump.get("objective", "none")).split(" ")[0]
    if objective not in OBJECTIVES:
        raise NotApplicable(
            f"LightGBM objective {objective} does not decide between classes; "
            "exact distances need a classifier."
        )
    per_round = int(dump["num_tree_per_iteration"])
    growing = Growing()
    for i, tree in enumerate(dump["tree_info"]):
        add_tree(growing, tree["tree_structure"], 1 if per_round == 1 else i % per_round, per_round)
    average = bool(dump.get("average_output", False))
    divisor = len(dump["tree_info"]) / per_round if average else 1.0
    ensemble = growing.freeze(
        np.zeros(max(2, per_round)),
        divisor=divisor,
        # Sigmoid and softmax merge scores that differ by a few units in the last place.
        link_tolerance=1e-15,
    )

    def predict(x: Any) -> Any:
        if wrapped:
            return index_of(np.asarray(model.classes_), model.predict(x))
        answer = np.asarray(booster.predict(x))
        return np.argmax(answer, axis=1) if answer.ndim == 2 else (answer > 0.5).astype(np.intp)

    def scores(x: Any) -> Floats:
        # Raw scores of LightGBM's random forests are sums; its decisions take their mean.
        return two_columns(booster.predict(x, raw_score=True)) / divisor

    return FlatModel(ensemble, quietly(predict), quietly(scores), plain, np.arange(width))


def add_tree(growing: Growing, root: dict[str, Any], target: int, per_round: int) -> None:
    """Append one tree of nested dictionaries, whose leaves add to class ``target``."""
    nodes: list[dict[str, Any]] = []
    children: list[tuple[int, int]] = []
    pending = [(root, -1, 0)]
    while pending:
        node, parent, side = pending.pop()
        if "leaf_coeff" in node:
            raise NotApplicable(
                "LightGBM was trained with linear_tree; its leaves are not constant."
            )
        if parent >= 0:
            pair = children[parent]
            children[parent] = (pair[0], len(nodes)) if side else (len(nodes), pair[1])
        if around_zero(node):
            node = zero_apart(node)
        nodes.append(node)
        children.append((-1, -1))
        if len(nodes) > MOST_NODES:
            raise NotApplicable(
                "LightGBM was trained with zero_as_missing, and its trees treat zero apart so "
                "often that they cannot be written as plain splits."
            )
        if "split_feature" in node:
            here = len(nodes) - 1
            pending.append((node["right_child"], here, 1))
            pending.append((node["left_child"], here, 0))
    value = np.zeros((len(nodes), max(2, per_round)))
    value[:, target] = [node.get("leaf_value", 0.0) for node in nodes]
    growing.add(
        feature=np.array([node.get("split_feature", -1) for node in nodes], dtype=np.int32),
        threshold=np.array([numeric(node) for node in nodes]),
        left=np.array([pair[0] for pair in children]),
        right=np.array([pair[1] for pair in children]),
        missing_left=np.array([missing_left(node) for node in nodes]),
        value=value,
        categories={i: category(n) for i, n in enumerate(nodes) if n.get("decision_type") == "=="},
    )


def numeric(node: dict[str, Any]) -> float:
    """The number under which a numeric split goes left, NaN for anything else."""
    if "below" in node:
        return float(node["below"])
    return under(float(node["threshold"])) if node.get("decision_type") == "<=" else np.nan


def under(threshold: float) -> float:
    """Turn LightGBM's ``x <= threshold`` into ``x < result``: it takes tiny numbers for zero."""
    if abs(threshold) <= ZERO:
        return -ZERO if threshold < 0 else float(np.nextafter(ZERO, np.inf))
    return float(np.nextafter(threshold, np.inf))


def missing_left(node: dict[str, Any]) -> bool:
    """Where NaN goes: the default side, or where 0 goes if training met no missing value."""
    if "split_feature" not in node or node["decision_type"] == "==":
        return False
    if node["missing_type"] == "None":
        return float(node["threshold"]) >= 0.0
    return bool(node["default_left"])


def around_zero(node: dict[str, Any]) -> bool:
    """Whether zero is missing (zero_as_missing) and goes another way than numbers beside it."""
    return (
        node.get("decision_type") == "<="
        and "below" not in node
        and node["missing_type"] == "Zero"
        and bool(node["default_left"]) != (float(node["threshold"]) >= 0)
    )


def zero_apart(node: dict[str, Any]) -> dict[str, Any]:
    """The same split as three: under zero, zero itself, which is missing, and above zero."""
    plainly = node | {"below": under(float(node["threshold"]))}
    missing = node["left_child"] if node["default_left"] else node["right_child"]
    at_zero = node | {
        "below": float(np.nextafter(ZERO, np.inf)),
        "default_left": True,
        "left_child": missing,
        "right_child": plainly,
    }
    return node | {
        "below": -ZERO,
        "default_left": False,
        "left_child": plainly,
        "right_child": at_zero,
    }


def category(node: dict[str, Any]) -> CategorySplit:
    """The split that sends a set of categories left and all others, and NaN, right."""
    return CategorySplit(frozenset(int(code) for code in node["threshold"].split("||")), True)
