"""What is asked: rows, classes, norm, allowed values; checked once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crenel.adapters.labels import as_labels, index_of, shown
from crenel.errors import NotApplicable, SubjectError, UsageError
from crenel.evasion.trees.ensemble import Floats
from crenel.evasion.trees.flat import FlatModel


@dataclass(frozen=True)
class Question:
    """Checked arguments of `tree_distance`, all over the user's columns.

    Parameters
    ----------
    x : (n, d) float32 or float64
    y : (n,) int
    norm : 0 for L-inf, else 1 or 2
    low, high : (n, d) float64
        Allowed values, widened to each row's own; equal where a column is immutable.
    scale : (d,) float64, positive
    integer : (d,) bool
    """

    x: NDArray[Any]
    y: NDArray[np.intp]
    norm: int
    low: Floats
    high: Floats
    scale: Floats
    integer: NDArray[np.bool_]


def index_of_named(model: object, y: ArrayLike) -> ArrayLike:
    """Indices of labels among the classes that a model names; as they are where it names none.

    Raises
    ------
    UsageError
        Where the model has no such class.
    """
    classes = getattr(model, "classes_", None)
    if classes is None and type(model).__name__ == "IsolationForest":
        classes = (-1, 1)
    if classes is None:
        return y
    labels = as_labels(y)
    try:
        return index_of(labels, as_labels(classes))
    except SubjectError as error:
        raise UsageError(
            f"y holds {shown(np.unique(labels))}, and the model's classes are "
            f"{shown(as_labels(classes))}; give each row's class as the model names it."
        ) from error


def question_of(
    x: ArrayLike,
    y: ArrayLike,
    norm: float,
    box: tuple[ArrayLike, ArrayLike] | None,
    scale: ArrayLike | None,
    integer: ArrayLike | None,
) -> Question:
    """Check the arguments of `tree_distance`."""
    rows = np.asarray(x)
    if rows.dtype != np.float32:
        rows = rows.astype(np.float64)
    labels = np.asarray(y)
    if rows.ndim != 2 or labels.shape != rows.shape[:1] or labels.dtype.kind not in "iu":
        raise UsageError("x must have shape (n, d) and y (n,) whole numbers, one class per row.")
    if np.isinf(rows).any():
        raise UsageError("x holds infinite values; replace them with finite ones or with NaN.")
    if norm not in (1, 2, np.inf):
        raise UsageError(f"norm must be 1, 2 or inf, not {norm}.")
    width = rows.shape[1]
    whole = np.zeros(width, dtype=bool) if integer is None else np.asarray(integer, dtype=bool)
    units = np.ones(width) if scale is None else np.asarray(scale, dtype=np.float64)
    if units.shape != (width,) or whole.shape != (width,) or not (units >= 0).all():
        raise UsageError("scale must hold one number >= 0, and integer one bool, per column of x.")
    if (rows[:, whole] != np.round(rows[:, whole]))[~np.isnan(rows[:, whole])].any():
        raise UsageError("x holds fractions in columns that `integer` declares whole numbers.")
    low, high = allowed(rows, box, units)
    free = (units > 0) & np.isfinite(units)
    return Question(
        x=rows,
        y=labels.astype(np.intp),
        norm=0 if norm == np.inf else int(norm),
        low=low,
        high=high,
        scale=np.where(free, units, 1.0),
        integer=whole,
    )


def allowed(
    x: NDArray[Any], box: tuple[ArrayLike, ArrayLike] | None, scale: Floats
) -> tuple[Floats, Floats]:
    """Allowed values of each row (n, d), widened to its own; immutable ones are its own."""
    own = x.astype(np.float64)
    low, high = (-np.inf, np.inf) if box is None else box
    try:
        low, high = (np.broadcast_to(np.asarray(b, dtype=np.float64), x.shape) for b in (low, high))
    except ValueError as error:
        raise UsageError("box must be (low, high), each of shape (d,) or (n, d).") from error
    if not (low <= high).all():
        raise UsageError("box has a low bound above its high bound, or NaN.")
    fixed = (low == high) | ~((scale > 0) & np.isfinite(scale))
    return (
        np.where(fixed, own, np.fmin(low, own)),
        np.where(fixed, own, np.fmax(high, own)),
    )


def refuse_free_categories(flat: FlatModel, question: Question) -> None:
    """Raise where a column that may change is split by category: its order means nothing."""
    inner = {int(flat.ensemble.feature[node]) for node in flat.ensemble.categories}
    columns = [int(flat.columns[f]) for f in sorted(inner)]
    free = [
        c
        for c in columns
        if (question.low[:, c] < question.high[:, c])[~np.isnan(question.x[:, c])].any()
    ]
    if free:
        raise NotApplicable(
            f"The model splits column {free[0]} by category, where a distance has no meaning; make "
            "it immutable (equal bounds in `box`) or use the search in the user's own columns."
        )
