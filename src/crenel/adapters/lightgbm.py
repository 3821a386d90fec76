"""LightGBM boosters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.adapters.labels import as_labels, two_columns
from crenel.adapters.rows import as_array, is_frame, narrow
from crenel.errors import SubjectError
from crenel.model import Model, Task


def wrap_booster(
    native: Any,
    *,
    classes: Sequence[Any] | None = None,
    task: Task | None = None,
    fit: Callable[[Any, Any, int], Any] | None = None,
    columns: Sequence[str] | None = None,
    sample: Any = None,
) -> Model:
    """Make a `Model` of a ``lightgbm.Booster``; see `crenel.adapters.wrap`."""
    objective = objective_of(native)
    k = max(2, int(native.num_model_per_iteration()))

    def raw(x: Any) -> NDArray[Any]:
        return np.asarray(native.predict(frame_for(narrow(x, columns), native)))

    if task == "regression" or objective not in ("binary", "multiclass", "multiclassova"):
        return _model(native, "regression", np.zeros(0), fit, columns, raw)
    names = np.arange(k) if classes is None else as_labels(classes)
    if len(names) != k:
        raise SubjectError(
            f"the LightGBM model has {k} classes, and {len(names)} are named; "
            "name one for each, in order: classes = […]"
        )

    def score(x: Any) -> NDArray[np.float64]:
        if not len(x):
            return np.zeros((0, k))
        p = raw(x)
        if p.ndim == 1:
            return two_columns(p)
        return np.asarray(p / p.sum(axis=1, keepdims=True), dtype=np.float64)

    return _model(native, "classification", names, fit, columns, score)


def _model(
    native: Any,
    task: Task,
    classes: NDArray[Any],
    fit: Callable[[Any, Any, int], Any] | None,
    columns: Sequence[str] | None,
    answer: Callable[[Any], NDArray[Any]],
) -> Model:
    from crenel.adapters.function import user_fit

    def decide(x: Any) -> NDArray[Any]:
        if task == "regression":
            return answer(x).astype(np.float64).reshape(len(x))
        return np.asarray(answer(x).argmax(axis=1), dtype=np.int64)

    return Model(
        framework="lightgbm",
        task=task,
        classes=classes,
        decide=decide,
        score=answer if task == "classification" else None,
        fit=user_fit(fit, classes, task, columns) if fit else None,
        native=native,
        final=native,
        description="LightGBM Booster",
    )


def objective_of(booster: Any) -> str:
    """The name of a booster's objective: ``binary``, ``multiclass``, ``regression`` …"""
    for line in booster.model_to_string(num_iteration=1).splitlines():
        if line.startswith("objective="):
            return str(line.removeprefix("objective=").split()[0])
    return ""


def frame_for(x: Any, booster: Any) -> Any:
    """Rows as a booster takes them: its columns in its order, text as its categories."""
    names = booster.feature_name()
    if not is_frame(x):
        return x
    own = {str(c).replace(" ", "_"): c for c in x.columns}
    if all(name in own for name in names):
        x = narrow(x, [own[name] for name in names])
    elif names == [f"Column_{i}" for i in range(len(names))] and x.shape[1] == len(names):
        return as_array(x)
    else:
        x = narrow(x, names)
    return _with_categories(x, booster.pandas_categorical or [])


def _with_categories(x: Any, categories: list[list[Any]]) -> Any:
    """Text columns get the categories that the booster learned, column by column."""
    import pandas as pd

    columns = [c for c in x.columns if x[c].dtype.kind not in "biuf"]
    if len(columns) != len(categories):
        return x
    types = {c: pd.CategoricalDtype(v) for c, v in zip(columns, categories)}
    return x.astype(types) if types else x
