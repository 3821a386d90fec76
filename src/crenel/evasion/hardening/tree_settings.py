"""Settings of a user's tree ensemble that leave wider margins, by family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Settings = dict[str, Any]

#: Rank correlation with the class below which a column has no direction to keep to.
LEAST_CORRELATION = 0.1
#: The parameter that constrains directions, by family.
_MONOTONE = {
    "HistGradientBoostingClassifier": "monotonic_cst",
    "RandomForestClassifier": "monotonic_cst",
    "ExtraTreesClassifier": "monotonic_cst",
    "DecisionTreeClassifier": "monotonic_cst",
    "XGBClassifier": "monotone_constraints",
    "LGBMClassifier": "monotone_constraints",
}


def wider_margins(estimator: Any) -> list[tuple[str, Settings]]:
    """Settings with wider margins than an estimator's own, each with a name.

    Fewer and shallower trees have fewer thresholds to cross; few bins put the thresholds where
    the data is parted anyway; small rates and large leaves spread a decision over many trees.

    Parameters
    ----------
    estimator : object
        A fitted classifier of scikit-learn, XGBoost or LightGBM.

    Returns
    -------
    list of (str, dict)
        For ``set_params``; empty for families that are not known.
    """
    make = _FAMILIES.get(type(estimator).__name__)
    return [] if make is None else make(estimator.get_params(deep=False))


def _forest(own: Settings) -> list[tuple[str, Settings]]:
    deepest = own.get("max_depth") or 99
    shallow = [(f"depth {d}", {"max_depth": d}) for d in (8, 5, 3) if d < deepest]
    leaf = own.get("min_samples_leaf") or 1
    wide = {"min_samples_leaf": 20}
    return [
        *shallow,
        *([("leaves of 20 rows", wide)] if isinstance(leaf, int) and leaf < 20 else []),
    ]


def _gradient(own: Settings) -> list[tuple[str, Settings]]:
    deepest = own.get("max_depth") or 3
    found = [("leaves of 20 rows", {"min_samples_leaf": 20, "subsample": 0.5})]
    return [*found, *[(f"depth {d}", {"max_depth": d}) for d in (2, 1) if d < deepest]]


def _histogram(own: Settings) -> list[tuple[str, Settings]]:
    return [
        ("depth 3", {"max_depth": 3}),
        ("stumps", {"max_depth": 1, "max_iter": max(100, own["max_iter"])}),
        ("16 bins", {"max_bins": 16}),
        ("8 bins, depth 3", {"max_bins": 8, "max_depth": 3}),
        ("leaves of 60 rows, strong penalty", {"min_samples_leaf": 60, "l2_regularization": 10.0}),
    ]


def _xgboost(own: Settings) -> list[tuple[str, Settings]]:
    few = {"tree_method": "hist", "max_bin": 16}
    return [
        ("depth 3", {"max_depth": 3}),
        ("stumps", {"max_depth": 1}),
        ("16 bins", few),
        ("8 bins, depth 3", {**few, "max_bin": 8, "max_depth": 3}),
        ("strong penalty", {"min_child_weight": 20, "reg_lambda": 10.0}),
    ]


def _lightgbm(own: Settings) -> list[tuple[str, Settings]]:
    return [
        ("7 leaves", {"num_leaves": 7}),
        ("stumps", {"num_leaves": 2}),
        ("16 bins", {"max_bin": 16}),
        ("8 bins, 7 leaves", {"max_bin": 8, "num_leaves": 7}),
        ("leaves of 60 rows, strong penalty", {"min_child_samples": 60, "reg_lambda": 10.0}),
    ]


_FAMILIES: dict[str, Callable[[Settings], list[tuple[str, Settings]]]] = {
    "DecisionTreeClassifier": _forest,
    "ExtraTreeClassifier": _forest,
    "RandomForestClassifier": _forest,
    "ExtraTreesClassifier": _forest,
    "GradientBoostingClassifier": _gradient,
    "HistGradientBoostingClassifier": _histogram,
    "XGBClassifier": _xgboost,
    "LGBMClassifier": _lightgbm,
}


def monotone(estimator: Any, x: NDArray[Any], y: NDArray[np.int64]) -> Settings:
    """Constraints that keep the direction in which each number goes with the class.

    Along a column that may only push one way an attacker finds no island of the other class, and
    has one threshold to look for instead of many.

    Parameters
    ----------
    x : ndarray, shape (n, d)
        What the trees are trained on.
    y : ndarray, shape (n,)
        Class indices; two classes.

    Returns
    -------
    dict
        For ``set_params``; empty where the family knows no constraints, there are more than two
        classes, or no column has the same direction in both halves of the rows.
    """
    name = _MONOTONE.get(type(estimator).__name__)
    if name is None or len(np.unique(y)) != 2:
        return {}
    signs = directions(x, y)
    if not signs.any():
        return {}
    return {name: tuple(int(s) for s in signs) if name == "monotone_constraints" else signs}


def directions(x: NDArray[Any], y: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sign of the rank correlation of each column with the class, 0 where it is not clear."""
    halves = [np.arange(0, len(x), 2), np.arange(1, len(x), 2)]
    found = np.array([[_correlation(x[rows, j], y[rows]) for j in range(x.shape[1])]
                      for rows in halves])  # fmt: skip
    clear = (np.abs(found) >= LEAST_CORRELATION).all(axis=0) & (found[0] * found[1] > 0)
    return np.where(clear, np.sign(found[0]), 0).astype(np.int64)


def _correlation(values: NDArray[Any], y: NDArray[np.int64]) -> float:
    from scipy.stats import rankdata

    known = np.isfinite(values)
    if known.sum() < 20:
        return 0.0
    ranks, own = rankdata(values[known]), y[known].astype(np.float64)
    if ranks.std() == 0 or own.std() == 0:
        return 0.0
    return float(np.corrcoef(ranks, own)[0, 1])
