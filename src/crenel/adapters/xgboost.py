"""XGBoost boosters."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.adapters.labels import as_labels, softmax, two_columns
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
    """Make a `Model` of an ``xgboost.Booster``; see `crenel.adapters.wrap`.

    A booster does not keep the settings that it was trained with, so that it is trained again only
    where ``fit`` is given.
    """
    objective, k = objective_of(native)

    def raw(x: Any) -> NDArray[Any]:
        return predict(native, narrow(x, columns), margin=objective == "multi:softmax")

    if task == "regression" or not objective.startswith(("binary:", "multi:")):
        return _model(native, "regression", np.zeros(0), fit, columns, raw)
    names = np.arange(k) if classes is None else as_labels(classes)
    if len(names) != k:
        raise SubjectError(
            f"the XGBoost model has {k} classes, and {len(names)} are named; "
            "name one for each, in order: classes = […]"
        )

    def score(x: Any) -> NDArray[np.float64]:
        return probabilities(raw(x), objective) if len(x) else np.zeros((0, k))

    return _model(native, "classification", names, fit, columns, score, objective)


def _model(
    native: Any,
    task: Task,
    classes: NDArray[Any],
    fit: Callable[[Any, Any, int], Any] | None,
    columns: Sequence[str] | None,
    answer: Callable[[Any], NDArray[Any]],
    objective: str = "",
) -> Model:
    from crenel.adapters.function import user_fit

    def decide(x: Any) -> NDArray[Any]:
        if task == "regression":
            return answer(x).astype(np.float64).reshape(len(x))
        return np.asarray(answer(x).argmax(axis=1), dtype=np.int64)

    shows_scores = task == "classification" and objective != "binary:hinge"
    return Model(
        framework="xgboost",
        task=task,
        classes=classes,
        decide=decide,
        score=answer if shows_scores else None,
        fit=user_fit(fit, classes, task, columns) if fit else None,
        native=native,
        final=native,
        description="XGBoost Booster",
    )


def objective_of(booster: Any) -> tuple[str, int]:
    """The objective's name and the number of classes of a booster."""
    learner = json.loads(booster.save_config())["learner"]
    name = str(learner["objective"]["name"])
    k = int(learner["learner_model_param"]["num_class"])
    return name, max(2, k)


def predict(booster: Any, x: Any, *, margin: bool = False) -> NDArray[Any]:
    """The booster's own answer to rows of the user."""
    import xgboost

    rows = frame_for(x, booster)
    names = None if is_frame(rows) else booster.feature_names
    matrix = xgboost.DMatrix(rows, feature_names=names, enable_categorical=True)
    return np.asarray(booster.predict(matrix, output_margin=margin))


def probabilities(answer: NDArray[Any], objective: str) -> NDArray[np.float64]:
    """Probabilities (n, k) of a booster's answer."""
    from crenel.adapters.labels import sigmoid

    if objective == "multi:softmax":  # asked for margins
        return softmax(answer)
    if objective == "binary:logitraw":
        answer = sigmoid(answer)
    if answer.ndim == 1:
        return two_columns(answer)
    p = answer.astype(np.float64)
    return np.asarray(p / p.sum(axis=1, keepdims=True), dtype=np.float64)


def frame_for(x: Any, booster: Any) -> Any:
    """Rows as a booster takes them: its columns in its order, text as categories."""
    names = booster.feature_names
    if names is None:
        return as_array(x)
    if not is_frame(x):
        return x
    x = narrow(x, names)
    kinds = booster.feature_types or []
    text = [
        name
        for name, kind in zip(names, kinds)
        if kind == "c" and not hasattr(x[name].dtype, "categories")
    ]
    return x.astype(dict.fromkeys(text, "category")) if text else x
