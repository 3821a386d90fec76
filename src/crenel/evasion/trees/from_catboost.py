"""Read CatBoost classifiers of numeric columns as flat arrays, through the model's JSON form."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import NotApplicable
from crenel.evasion.trees.ensemble import Floats, Growing, at_most_float32
from crenel.evasion.trees.flat import FlatModel, index_of, plain, two_columns


def read(model: Any, width: int) -> FlatModel:
    """Flatten a ``CatBoostClassifier`` of symmetric trees on numeric columns.

    Raises
    ------
    NotApplicable
        For other trees, for categorical, text or embedding columns, and for regressors.
    """
    classes = np.asarray(getattr(model, "classes_", ()))
    if len(classes) < 2:
        raise NotApplicable(
            f"{type(model).__name__} of CatBoost does not decide between classes; exact distances "
            "need a classifier."
        )
    form, columns = numeric_form(model)
    scale, bias = form["scale_and_bias"]
    growing = Growing()
    for tree in form["oblivious_trees"]:
        add_tree(growing, tree, columns, len(classes), float(scale))
    bias = np.ravel(bias).astype(np.float64)
    base = np.array([0.0, bias[0]]) if len(classes) == 2 else np.resize(bias, len(classes))

    def predict(x: NDArray[Any]) -> NDArray[np.intp]:
        return index_of(classes, np.ravel(model.predict(x)).astype(classes.dtype))

    def scores(x: NDArray[Any]) -> Floats:
        return two_columns(model.predict(x, prediction_type="RawFormulaVal"))

    # The sigmoid and the softmax merge scores that differ by a few units in the last place.
    ensemble = growing.freeze(base, link_tolerance=1e-15)
    return FlatModel(ensemble, predict, scores, plain, np.arange(width))


def numeric_form(model: Any) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
    """The JSON form of a model of symmetric trees on numbers, and its columns by their index.

    Raises
    ------
    NotApplicable
        For other trees and columns.
    """
    form = json_form(model)
    kinds = set(form["features_info"]) - {"float_features"}
    if kinds:
        raise NotApplicable(
            f"CatBoost was trained with {', '.join(sorted(kinds)).replace('_', ' ')}; exact "
            "distances need numeric columns."
        )
    if "oblivious_trees" not in form:
        raise NotApplicable("CatBoost's trees are not symmetric; exact distances need those.")
    return form, {f["feature_index"]: f for f in form["features_info"]["float_features"]}


def json_form(model: Any) -> dict[str, Any]:
    """The model as CatBoost writes it to a JSON file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json")
        form: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return form


def add_tree(
    growing: Growing,
    tree: dict[str, Any],
    columns: dict[int, dict[str, Any]],
    classes: int,
    scale: float,
) -> None:
    """Append one symmetric tree: split i, taken where ``x > border``, is bit i of the leaf."""
    splits = tree["splits"][::-1]
    inner, leaves = 2 ** len(splits) - 1, 2 ** len(splits)
    level = np.repeat(np.arange(len(splits)), 2 ** np.arange(len(splits)))
    index = np.array([s["float_feature_index"] for s in splits], dtype=np.int64)
    border = np.array([s["border"] for s in splits], dtype=np.float64)
    missing = [columns[i].get("nan_value_treatment", "AsIs") != "AsTrue" for i in index]
    flat = np.array([columns[i]["flat_feature_index"] for i in index], dtype=np.int64)
    leaf = np.array(tree["leaf_values"], dtype=np.float64).reshape(leaves, -1) * scale
    value = np.zeros((inner + leaves, classes))
    value[inner:, 1 if leaf.shape[1] == 1 else slice(None)] = leaf[:, 0] if classes == 2 else leaf
    none = np.full(leaves, -1)
    growing.add(
        feature=np.concatenate([flat[level], none]).astype(np.int32),
        threshold=np.concatenate([at_most_float32(border)[level], np.zeros(leaves)]),
        left=np.concatenate([2 * np.arange(inner) + 1, none]),
        right=np.concatenate([2 * np.arange(inner) + 2, none]),
        missing_left=np.concatenate([np.array(missing, dtype=bool)[level], none > 0]),
        value=value,
    )
