"""What must be true of data and model before anything is measured, told in one sentence each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.adapters.labels import plain
from crenel.adapters.modules import first_line
from crenel.adapters.rows import is_frame
from crenel.data.sources import Loaded, columns_shown
from crenel.errors import CrenelError, SubjectError
from crenel.model import Model
from crenel.subject import Data

#: Fewest rows that anything can be measured on.
MIN_ROWS = 20
#: Rows that the model is tried on.
PROBE_ROWS = 200


def check_rows(loaded: Loaded, name: str, label: str | None, *, continuous: bool) -> None:
    """Raise `SubjectError` where rows are too few, or labels are missing or all the same."""
    import pandas as pd

    labels = loaded.labels
    if len(loaded.x) < MIN_ROWS:
        raise SubjectError(
            f"{name} has {len(loaded.x)} rows, and an audit needs at least {MIN_ROWS}; give more"
        )
    assert labels is not None
    column = f"the column {label!r}" if label else "the label"
    gaps = np.asarray(pd.isna(labels))
    if gaps.any():
        raise SubjectError(
            f"{name}: {column} is missing in {int(gaps.sum())} of {len(gaps)} rows "
            f"(first: row {int(np.argmax(gaps))}); remove these rows or fill it in"
        )
    first = labels[0]
    if not continuous and all(v == first for v in labels):
        raise SubjectError(
            f"{name}: {column} has one value only, {plain(first)!r}; give rows of every class"
        )


def same_columns(train: Loaded, test: Loaded) -> Loaded:
    """The test rows with the columns in the order of the training rows.

    Raises
    ------
    SubjectError
        Where they have other columns, or arrays of another shape.
    """
    if is_frame(train.x) != is_frame(test.x):
        raise SubjectError(
            "train and test differ: one is a table, the other an array; make them alike"
        )
    if not is_frame(train.x):
        if train.x.shape[1:] != test.x.shape[1:]:
            raise SubjectError(
                f"train and test differ: rows of shape {train.x.shape[1:]} and {test.x.shape[1:]}"
            )
        return test
    ours, theirs = list(train.x.columns), list(test.x.columns)
    lacking = [c for c in ours if c not in theirs]
    extra = [c for c in theirs if c not in ours]
    if lacking or extra:
        parts = []
        if lacking:
            parts.append(f"only train has {columns_shown(lacking)}")
        if extra:
            parts.append(f"only test has {columns_shown(extra)}")
        raise SubjectError(f"train and test differ in their columns: {'; '.join(parts)}")
    return test._replace(x=test.x[ours])


def check_answers(model: Model, data: Data, notes: list[str]) -> None:
    """Try the model on some rows.

    Raises
    ------
    SubjectError
        Where it fails, or its probabilities are none.
    """
    rows = data.take(np.arange(min(len(data), PROBE_ROWS)))
    predicted = _tried(model, rows.x)
    if len(predicted) != len(rows):
        raise SubjectError(
            f"the model returned {len(predicted)} answers for {len(rows)} rows; "
            "it must return one for each"
        )
    if model.task == "regression":
        if not np.isfinite(predicted).all():
            raise SubjectError("the model returned values that are not finite numbers")
        return
    if model.score is not None:
        _compare(model, rows.x, predicted, notes)
    _compare_with_constant(model, rows.y, predicted, notes)


def _tried(model: Model, x: Any) -> NDArray[Any]:
    """The model's answers; whatever it raises is told as one sentence."""
    try:
        return model.predict(x)
    except CrenelError:
        raise
    except Exception as error:
        raise SubjectError(
            f"the model fails on the data: {type(error).__name__}: {first_line(error)}; give the "
            "rows as the model takes them, or a Pipeline with the steps that make them so"
        ) from error


def _compare(model: Model, x: Any, predicted: NDArray[Any], notes: list[str]) -> None:
    try:
        highest = model.probabilities(x).argmax(axis=1)
    except CrenelError:
        raise
    except Exception as error:
        raise SubjectError(
            f"the model's scores fail on the data: {type(error).__name__}: {first_line(error)}"
        ) from error
    apart = int((highest != predicted).sum())
    if apart > 0.05 * len(predicted):
        notes.append(
            f"the model's decision is not its highest score in {apart} of {len(predicted)} rows; "
            "is the order of the classes right?"
        )


def _compare_with_constant(
    model: Model, y: NDArray[Any], predicted: NDArray[Any], notes: list[str]
) -> None:
    counts = np.bincount(y, minlength=model.k)
    right, constant = float((predicted == y).mean()), float(counts.max() / counts.sum())
    if right < constant - 2 * np.sqrt(constant * (1 - constant) / len(y)) - 1e-9:
        usual = plain(model.classes[int(counts.argmax())])
        notes.append(
            f"the model is right on {right:.0%} of {len(y)} rows, and always answering "
            f"{str(usual)!r} on {constant:.0%}; are the labels and the classes in the same order?"
        )
