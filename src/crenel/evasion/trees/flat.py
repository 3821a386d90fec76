"""A user's tree model beside its flat form: how to score it, ask it, and order its columns."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import NotApplicable, SubjectError
from crenel.evasion.trees.ensemble import Floats, TreeEnsemble

CHECKED_ROWS = 1000


@dataclass(frozen=True)
class FlatModel:
    """A tree ensemble and the model that it came from.

    Parameters
    ----------
    ensemble : TreeEnsemble
        The trees, over the model's own inner columns.
    predict : callable
        Rows (n, d), in the user's dtype, to class indices (n,), by the user's own model.
    scores : callable
        Rows (n, d) to the model's own scores (n, k) or (n,), comparable with
        `TreeEnsemble.scores` up to float rounding.
    encode : callable
        Rows (n, d) as the inner columns (n, d) float64 that the trees see.
    columns : (d,) int array
        ``columns[i]`` is the user's column that inner column i holds.
    """

    ensemble: TreeEnsemble
    predict: Callable[[NDArray[Any]], NDArray[np.intp]]
    scores: Callable[[NDArray[Any]], Floats]
    encode: Callable[[NDArray[Any]], Floats]
    columns: NDArray[np.intp]


def plain(x: NDArray[Any]) -> Floats:
    """Rows as the trees see them where the model does not recode its columns."""
    return np.asarray(x, dtype=np.float64)


def index_of(classes: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.intp]:
    """Position of each label (n,) in ``classes`` (k,), which need not be sorted."""
    order = np.argsort(classes)
    return np.asarray(order[np.searchsorted(classes, labels, sorter=order)], dtype=np.intp)


def quietly(call: Callable[[NDArray[Any]], Any]) -> Callable[[NDArray[Any]], Any]:
    """The call without the warning that rows came as an array without column names."""

    def ask(x: NDArray[Any]) -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*valid feature names.*")
            return call(x)

    return ask


def two_columns(raw: NDArray[Any]) -> Floats:
    """Raw scores (n,) or (n, 1) of a binary model as two columns (0, raw); others unchanged."""
    raw = np.asarray(raw, dtype=np.float64)
    if raw.ndim == 2 and raw.shape[1] > 1:
        return raw
    return np.stack([np.zeros(raw.size), raw.ravel()], axis=1)


def check(model: FlatModel, x: NDArray[Any]) -> bool:
    """Whether the flat form agrees with the library to the last bit on at most 1000 rows.

    Raises
    ------
    SubjectError
        If it does not agree up to rounding: then nothing can be concluded from it.
    """
    rows = x[:CHECKED_ROWS]
    own = np.asarray(model.scores(rows), dtype=np.float64)
    flat = model.ensemble.scores(model.encode(rows))
    if own.shape != flat.shape:
        raise SubjectError(
            f"The model scores {own.shape[1]} classes, its trees hold {flat.shape[1]}; "
            "this kind of tree ensemble is not supported."
        )
    size = np.abs(model.ensemble.value).max(initial=0) * len(model.ensemble.roots)
    size = (size + np.abs(model.ensemble.base).max()) / model.ensemble.divisor
    tolerance = size * (1e-6 if model.ensemble.single else 1e-13)
    worst = np.abs(own - flat).max(initial=0)
    if not worst <= tolerance:
        raise SubjectError(
            f"The trees as read score rows differently from the model itself (by {worst:.3g}), so "
            "no distance computed from them would be true; please report the library's version."
        )
    return bool(np.array_equal(own, flat))


def flatten(model: object, width: int) -> FlatModel:
    """Read a fitted ensemble of XGBoost, LightGBM, CatBoost or scikit-learn, rows of ``width``.

    Raises
    ------
    NotApplicable
        If the model is not a classifying tree ensemble that can be read exactly.
    """
    if isinstance(model, TreeEnsemble):
        return own_trees(model, width)
    library = type(model).__module__.split(".")[0]
    names = {kind.__module__.split(".")[0] for kind in type(model).__mro__}
    if "xgboost" in names:
        from crenel.evasion.trees.from_xgboost import read as read_xgboost

        return read_xgboost(model, width)
    if "lightgbm" in names:
        from crenel.evasion.trees.from_lightgbm import read as read_lightgbm

        return read_lightgbm(model, width)
    if "sklearn" in names:
        from crenel.evasion.trees.from_sklearn import read as read_sklearn

        return read_sklearn(model, width)
    if "catboost" in names:
        from crenel.evasion.trees.from_catboost import read as read_catboost

        return read_catboost(model, width)
    raise NotApplicable(
        f"{type(model).__name__} of {library} is not a tree ensemble of XGBoost, LightGBM, "
        "CatBoost or scikit-learn; exact distances need one of these."
    )


def own_trees(ensemble: TreeEnsemble, width: int) -> FlatModel:
    """An ensemble given as arrays, asked through its own scores."""

    def predict(x: NDArray[Any]) -> NDArray[np.intp]:
        return np.asarray(np.argmax(ensemble.scores(plain(x)), axis=1))

    return FlatModel(
        ensemble, predict, lambda x: ensemble.scores(plain(x)), plain, np.arange(width)
    )
