"""Rows as the user has them, in the form that a model takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from crenel.errors import SubjectError

#: Numbers in one batch handed to a network.
BATCH_NUMBERS = 4_000_000


def is_frame(x: Any) -> bool:
    """Whether rows are a pandas DataFrame."""
    return hasattr(x, "iloc") and hasattr(x, "columns")


def narrow(x: Any, columns: Sequence[str] | None) -> Any:
    """A frame with just these columns in this order; an array with names becomes a frame.

    Raises
    ------
    SubjectError
        Where a column is missing, or an array has another number of columns.
    """
    if columns is None:
        return x
    columns = list(columns)
    if not is_frame(x):
        return _named(np.asarray(x), columns)
    if list(x.columns) == columns:
        return x
    missing = [c for c in columns if c not in x.columns]
    if missing:
        raise SubjectError(
            f"the model takes the column {missing[0]!r}, which the data does not have "
            f"({len(missing)} missing of {len(columns)}); the data's columns are "
            f"{', '.join(map(str, x.columns[:12]))}"
        )
    return x[columns]


def _named(x: NDArray[Any], columns: list[str]) -> Any:
    import pandas as pd

    if x.ndim != 2 or x.shape[1] != len(columns):
        raise SubjectError(
            f"the model takes {len(columns)} columns, and the data has rows of shape {x.shape[1:]}"
        )
    return pd.DataFrame(x, columns=columns)


def to_numbers(x: Any, dtype: DTypeLike = np.float64) -> NDArray[Any]:
    """Rows as an array of numbers; missing values become NaN.

    Raises
    ------
    SubjectError
        Where a column is not numeric.
    """
    if not is_frame(x):
        return _numeric(np.asarray(x), dtype)
    import pandas as pd

    bad = [c for c in x.columns if not pd.api.types.is_numeric_dtype(x[c].dtype)]
    for column in bad:
        try:
            x = x.assign(**{column: pd.to_numeric(x[column]).astype(np.float64)})
        except (TypeError, ValueError) as error:
            raise SubjectError(
                f"the model takes numbers, and the column {column!r} holds "
                f"{x[column].dtype} values; put the encoding and the model in one Pipeline, "
                "or give a function that does both"
            ) from error
    return np.asarray(x.to_numpy(dtype=dtype, na_value=np.nan))


def _numeric(x: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    try:
        return x.astype(dtype, copy=False)
    except (TypeError, ValueError) as error:
        raise SubjectError(
            f"the model takes numbers, and the data holds {x.dtype} values"
        ) from error


def as_array(x: Any) -> NDArray[Any]:
    """Rows as an array: of numbers where all are, else of objects."""
    if not is_frame(x):
        return np.asarray(x)
    import pandas as pd

    if all(pd.api.types.is_numeric_dtype(t) for t in x.dtypes):
        return to_numbers(x)
    return np.asarray(x.to_numpy(dtype=object))


def batches(n: int, numbers_per_row: int) -> Iterator[slice]:
    """Slices over n rows, each of at most `BATCH_NUMBERS` numbers and 4,096 rows."""
    size = max(1, min(4096, BATCH_NUMBERS // max(1, numbers_per_row)))
    for start in range(0, n, size):
        yield slice(start, min(n, start + size))
