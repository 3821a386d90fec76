"""Class labels: the user's own values on one side, indices and score columns on the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import SubjectError


def as_labels(values: Any) -> NDArray[Any]:
    """Labels of any container as a 1-d array that keeps each label's own type.

    Parameters
    ----------
    values : array-like, n labels
        A list, an array of shape (n,) or (n, 1), or a Series of pandas or polars.

    Returns
    -------
    ndarray, shape (n,)
        Of dtype object where labels of different types are mixed.
    """
    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    if not isinstance(values, np.ndarray):
        values = list(values)
        mixed = len({isinstance(v, str) for v in values}) > 1
        values = np.asarray(values, dtype=object if mixed else None)
    return np.asarray(values).reshape(len(values))


def index_of(labels: Any, classes: NDArray[Any]) -> NDArray[np.int64]:
    """Indices of labels among the classes.

    Labels that differ from the classes in type only (``1``, ``1.0``, ``True``, ``"1"``) match.

    Parameters
    ----------
    labels : array-like, shape (n,)
    classes : ndarray, shape (k,)

    Returns
    -------
    ndarray, shape (n,), int64

    Raises
    ------
    SubjectError
        Where a label is not among the classes.
    """
    import pandas as pd

    labels = as_labels(labels)
    found = np.asarray(pd.Index(_plain(classes)).get_indexer(pd.Index(_plain(labels))))
    if (found < 0).any():
        codes, values = pd.factorize(labels, use_na_sentinel=False)
        known = {_text(c): i for i, c in enumerate(classes)}
        found = np.asarray([known.get(_text(v), -1) for v in values], dtype=np.int64)[codes]
    if (found < 0).any():
        wrong = labels[np.flatnonzero(found < 0)[0]]
        raise SubjectError(
            f"the label {plain(wrong)!r} is not among the model's classes {shown(classes)}; "
            "name the classes in crenel.toml: classes = […]"
        )
    return found.astype(np.int64)


def same_labels(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Whether two sets of labels are the same but for order and type (``1`` and ``"1"``)."""
    return {_text(v) for v in a} == {_text(v) for v in b}


def shown(classes: Sequence[Any] | NDArray[Any]) -> str:
    """Classes as a short text for a message: ``['no', 'yes']``."""
    first = [plain(c) for c in classes[:8]]
    return str(first) if len(classes) <= 8 else f"{str(first)[:-1]}, …]"


def plain(value: Any) -> Any:
    """A NumPy scalar as the Python value it stands for; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def _plain(labels: NDArray[Any]) -> NDArray[Any]:
    """Booleans as integers, so that they match the numbers 0 and 1."""
    return labels.astype(np.int64) if labels.dtype == bool else labels


def _text(value: Any) -> str:
    """A key under which equal labels of different types are the same."""
    value = plain(value)
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value).strip()
    return {"true": "1", "false": "0"}.get(text.lower(), text)


def spread(p: NDArray[Any], columns: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Scores of some classes as scores of all: classes without a column get probability 0.

    Parameters
    ----------
    p : ndarray, shape (n, j)
        Scores of j classes.
    columns : ndarray, shape (j,), int64
        Which class each column is of.
    k : int
        Number of all classes.
    """
    out = np.zeros((len(p), k))
    out[:, columns] = p
    return out


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Probabilities (n, k) of logits (n, k), in float64."""
    z = np.asarray(logits, dtype=np.float64)
    z = z - z.max(axis=1, keepdims=True)
    e = np.exp(z)
    return np.asarray(e / e.sum(axis=1, keepdims=True), dtype=np.float64)


def two_columns(p: NDArray[Any]) -> NDArray[np.float64]:
    """Probabilities (n, 2) of the two classes, from those of the second one (n,)."""
    second = np.asarray(p, dtype=np.float64).reshape(-1)
    return np.column_stack([1 - second, second])


def sigmoid(z: NDArray[Any]) -> NDArray[np.float64]:
    """The logistic function in float64."""
    from scipy.special import expit

    return np.asarray(expit(np.asarray(z, dtype=np.float64)), dtype=np.float64)
