"""One function that makes a `Model` of whatever the user has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from crenel.errors import SubjectError
from crenel.model import Model, Task


def wrap(
    native: Any,
    *,
    classes: Sequence[Any] | None = None,
    task: Task | None = None,
    fit: Callable[[Any, Any, int], Any] | None = None,
    columns: Sequence[str] | None = None,
    sample: Any = None,
) -> Model:
    """Make a `Model` of a model of any supported framework.

    Parameters
    ----------
    native : object
        A fitted scikit-learn estimator or Pipeline, an XGBoost or LightGBM Booster or estimator,
        a CatBoost estimator, a ``torch.nn.Module``, an ONNX Runtime session, the bytes or the
        path of an ONNX file, any other object with ``predict``, or a function from rows to labels,
        to probabilities (n, k) or to the probability (n,) of the second of two classes. A `Model`
        is returned as it is.
    classes : sequence, optional
        The user's own labels, in the order of the columns of the scores. Read from the model where
        it knows them.
    task : {"classification", "regression"}, optional
        Inferred where it is absent.
    fit : callable, optional
        ``fit(x, y, seed)`` returns a new model of the same kind trained on the rows ``x`` with the
        user's own labels ``y``. scikit-learn estimators are cloned where it is absent.
    columns : sequence of str, optional
        The columns that the model takes, in order, where it does not know them itself.
    sample : DataFrame or ndarray, optional
        A few rows, on which the form of the model's answers is seen. Without it the form is seen
        at the first call, and a model that turns out to give no scores raises `NotApplicable` when
        asked for them.

    Returns
    -------
    Model

    Raises
    ------
    SubjectError
        Where the object is not a model of a supported kind, or its answers have no usable form.
    """
    if isinstance(native, Model):
        return native
    adapter = _adapter_of(native)
    model: Model = adapter(
        native, classes=classes, task=task, fit=fit, columns=columns, sample=sample
    )
    return model


def framework_of(native: Any) -> str:
    """The framework that an object belongs to, found without importing any; "" if to none."""
    if isinstance(native, (bytes, bytearray, str, Path)):
        return "onnx"
    for kind in type(native).__mro__:
        root, name = kind.__module__.partition(".")[0], kind.__name__
        if root == "torch" and name == "Module":
            return "torch"
        if root in ("xgboost", "lightgbm", "onnxruntime"):
            return "onnx" if root == "onnxruntime" else root
    if hasattr(native, "predict"):
        return "sklearn"
    return "function" if callable(native) else ""


def _adapter_of(native: Any) -> Callable[..., Model]:
    """The adapter for an object, imported only now."""
    framework = framework_of(native)
    booster = type(native).__name__ in ("Booster", "_InnerPredictor")
    if framework == "xgboost" and booster:
        from crenel.adapters.xgboost import wrap_booster as wrap_xgboost

        return wrap_xgboost
    if framework == "lightgbm" and booster:
        from crenel.adapters.lightgbm import wrap_booster as wrap_lightgbm

        return wrap_lightgbm
    if framework in ("sklearn", "xgboost", "lightgbm"):
        from crenel.adapters.sklearn import wrap_estimator

        return wrap_estimator
    if framework == "torch":
        from crenel.adapters.torch import wrap_module

        return wrap_module
    if framework == "onnx":
        from crenel.adapters.onnx import wrap_onnx

        return wrap_onnx
    if framework == "function":
        from crenel.adapters.function import wrap_function

        return wrap_function
    raise SubjectError(
        f"a {type(native).__module__}.{type(native).__name__} is not a model that crenel knows; "
        "give an object with predict, or a function from rows to labels or probabilities"
    )
