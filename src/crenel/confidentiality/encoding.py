"""Rows of any kind as one numeric matrix, for the attacker's own models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Categories beyond the most frequent ones of a column share a code: trees take at most 255.
MOST = 200


@dataclass(frozen=True)
class Encoder:
    """Columns of a frame, or the pixels of an array, as float64.

    Attributes
    ----------
    codes : dict
        By column, the values of a column that is not numeric, in the order of their codes.
    columns : tuple
        Column names; empty for arrays.
    """

    codes: dict[Any, Any]
    columns: tuple[Any, ...]

    @property
    def categorical(self) -> NDArray[np.bool_]:
        """Which columns hold codes, shape (d,)."""
        return np.array([c in self.codes for c in self.columns], dtype=bool)

    def __call__(self, x: Any) -> NDArray[np.float64]:
        """The matrix (n, d); missing values are NaN, values not seen before a code of their own."""
        if not self.columns:
            flat: NDArray[np.float64] = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
            return flat
        out = np.empty((len(x), len(self.columns)))
        for j, name in enumerate(self.columns):
            column = x[name]
            if name in self.codes:
                code = self.codes[name].get_indexer(column.astype(object)).astype(float)
                code[code < 0] = len(self.codes[name])
                code[column.isna().to_numpy()] = np.nan
                out[:, j] = code
            else:
                out[:, j] = _numbers(column)
        return out


def encoder(x: Any) -> Encoder:
    """Learn an `Encoder` from rows: a DataFrame, or an ndarray (n, …)."""
    if not hasattr(x, "iloc"):
        return Encoder({}, ())
    import pandas as pd
    from pandas.api import types

    codes = {
        name: pd.Index(x[name].astype(object).value_counts().index[:MOST])
        for name in x.columns
        if not types.is_numeric_dtype(x[name]) and not types.is_datetime64_any_dtype(x[name])
    }
    return Encoder(codes, tuple(x.columns))


def _numbers(column: Any) -> NDArray[np.float64]:
    from pandas.api import types

    if types.is_datetime64_any_dtype(column):
        column = column.astype("int64")
    numbers: NDArray[np.float64] = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(numbers), numbers, np.nan)
