"""The model of a target, with the classes of its data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.adapters.labels import as_labels, index_of, plain, shown
from crenel.adapters.loading import is_url, load_model, native_model, wrapped
from crenel.adapters.modules import resolve_callable
from crenel.errors import SubjectError
from crenel.model import Model, Task
from crenel.target import Target

#: Distinct values above which a column of fractions is a quantity rather than a class.
MANY = 20


def target_model(
    target: Target,
    *,
    root: Path,
    trust: frozenset[str],
    scan: bool,
    sample: Any,
    labels: NDArray[Any] | None,
    notes: list[str],
) -> Model:
    """Load the model, and settle its classes with the labels of the data.

    Raises
    ------
    SubjectError
        Where a label is not among the model's classes.
    """
    make = _maker(target, root, trust, scan, sample, labels, notes)
    if target.classes is not None:
        model = make(list(target.classes))
        _check_known(model, labels)
        return model
    try:
        model = make(None)
    except SubjectError:
        if labels is None:
            raise
        return make(distinct(labels))
    if labels is None or model.task == "regression" or _known(labels, model):
        return model
    return _renamed(make, model, labels, notes)


def _maker(
    target: Target,
    root: Path,
    trust: frozenset[str],
    scan: bool,
    sample: Any,
    labels: NDArray[Any] | None,
    notes: list[str],
) -> Callable[[list[Any] | None], Model]:
    """A function from classes to the model; the file is scanned and loaded once."""
    task = target.task or task_of_labels(labels, target.model)
    if is_url(target.model):
        return lambda classes: load_model(
            target.model, endpoint=target.endpoint, classes=classes, task=task, sample=sample
        )
    native = native_model(target.model, root, target.build, trust, scan, notes)
    fit = resolve_callable(target.fit, root, "fit") if target.fit is not None else None
    return lambda classes: wrapped(native, classes=classes, task=task, fit=fit, sample=sample)


def task_of_labels(labels: NDArray[Any] | None, model: Any = None) -> Task | None:
    """The task "regression" for labels that are quantities; None: the model is left to tell."""
    if labels is None or labels.dtype.kind != "f":
        return None
    whole = bool((labels == np.round(labels)).all())
    knows = hasattr(model, "classes_") or hasattr(model, "predict_proba")
    if whole or knows or len(np.unique(labels)) <= MANY:
        return None
    return "regression"


def distinct(labels: NDArray[Any]) -> list[Any]:
    """The distinct labels, sorted, as plain Python values."""
    import pandas as pd

    values = [plain(v) for v in pd.unique(pd.Series(labels))]
    return sorted(values, key=lambda v: (isinstance(v, str), v))


def _known(labels: NDArray[Any], model: Model) -> bool:
    try:
        index_of(np.asarray(distinct(labels), dtype=labels.dtype), model.classes)
    except SubjectError:
        return False
    return True


def _renamed(
    make: Callable[[list[Any] | None], Model],
    model: Model,
    labels: NDArray[Any],
    notes: list[str],
) -> Model:
    """The model with the data's labels in place of its own numbers, where that fits."""
    names = distinct(labels)
    if model.framework not in ("function", "http") and model.k != len(names):
        raise _unknown(labels, model)
    try:
        again = make(names)
    except SubjectError as error:
        raise _unknown(labels, model) from error
    if model.framework not in ("function", "http") or again.score is not None:
        notes.append(
            f"the model's classes {shown(model.classes)} are taken for the labels "
            f"{shown(as_labels(names))}, sorted; if that is wrong, name them: classes = […]"
        )
    return again


def _check_known(model: Model, labels: NDArray[Any] | None) -> None:
    if labels is not None and model.task == "classification" and not _known(labels, model):
        raise _unknown(labels, model)


def _unknown(labels: NDArray[Any], model: Model) -> SubjectError:
    own = {str(plain(c)) for c in model.classes}
    foreign = [name for name in distinct(labels) if str(name) not in own]
    return SubjectError(
        f"the labels {shown(as_labels(foreign))} of the data are not among the model's classes "
        f"{shown(model.classes)}; correct them in the data, or, where they are other names for "
        "these, name them in the order of the model's scores: classes = […]"
    )


def model_columns(model: Model) -> list[str] | None:
    """The columns that a model takes, in order; None where it does not tell."""
    for owner in (model.native, model.final):
        names = getattr(owner, "feature_names_in_", None) if owner is not None else None
        if names is not None and not _counted(list(names)):
            return [str(n) for n in names]
        if type(owner).__name__ == "Booster":
            own = getattr(owner, "feature_names", None)
            return None if own is None else [str(n) for n in own]
        break
    return None


def _counted(names: list[Any]) -> bool:
    """Whether names are those that LightGBM makes up for arrays."""
    return names == [f"Column_{i}" for i in range(len(names))]
