"""Poison that crowds: noisy copies with another label, and collisions around a target."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.subject import take_rows

#: Noise of a copy, by the standard deviation of each column.
NOISE = 0.02
#: How far a colliding row stays on the way from its target to itself.
WAY = 0.1
#: Rows that tell the spread and range of a column.
SAMPLE = 2000


def noisy_copies(
    x: Any, row: int, count: int, rng: np.random.Generator, noise: float = NOISE
) -> Any:
    """So many copies of one row, with numbers changed a little, save those most rows have alike.

    Parameters
    ----------
    x : DataFrame or ndarray, n rows
    row, count : int
    noise : float
        Standard deviation of the change, by that of the column (of all numbers of images).

    Returns
    -------
    DataFrame or ndarray, ``count`` rows
        Within the range of each column, as a sample of it shows; categories, texts and missing
        values are kept.
    """
    copies = take_rows(x, np.full(count, row))

    def shaken(values: NDArray[Any], some: NDArray[Any]) -> NDArray[Any]:
        if not np.isfinite(values).any() or not np.isfinite(some).any():
            return values
        usual = np.nanmedian(some)  # what most rows have alike (a count of 0) stays as it is
        rare = values != usual if (some == usual).mean() > 0.5 else True
        step = noise * np.nanstd(some) * rng.standard_normal(values.shape)
        low, high = (f([f(some), f(values)]) for f in (np.nanmin, np.nanmax))
        return np.asarray(np.clip(values + rare * step, low, high))

    return _changed(x, copies, shaken)


def collisions(x: Any, bases: NDArray[np.int64], target: Any, way: float = WAY) -> Any:
    """Rows of another class moved next to a target, whose neighbours they then are.

    After the feature collisions of Shafahi et al., "Poison frogs", 2018, with the columns
    themselves for features: each base keeps a tenth of its distance to the target.

    Parameters
    ----------
    x : DataFrame or ndarray, n rows
    bases : ndarray of int
        Rows to move.
    target : DataFrame or ndarray, one row
    way : float
        Share of the way that is left, in [0, 1].

    Returns
    -------
    DataFrame or ndarray, ``len(bases)`` rows
        Numbers in between, whole ones rounded; the rest is the target's.
    """
    moved = take_rows(target, np.zeros(len(bases), dtype=np.int64))
    start = take_rows(x, bases)
    at: Any = iter(numeric_columns(x)) if hasattr(x, "iloc") else iter([None])

    def between(values: NDArray[Any], some: NDArray[Any]) -> NDArray[Any]:
        i = next(at)
        own = start if i is None else start.iloc[:, i].to_numpy(np.float64)
        return np.asarray(values + way * (np.asarray(own, dtype=np.float64) - values))

    return _changed(x, moved, between)


def numeric_columns(frame: Any) -> list[int]:
    """Positions of the columns of numbers."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    kinds = [frame.iloc[:, i].dtype for i in range(frame.shape[1])]
    return [i for i, k in enumerate(kinds) if is_numeric_dtype(k) and not is_bool_dtype(k)]


def _changed(x: Any, rows: Any, change: Any) -> Any:
    """Rows whose numbers are changed by a function of them and of a sample of their column."""
    step = len(x) // SAMPLE + 1
    if not hasattr(x, "iloc"):
        some = np.asarray(x[::step])
        return _typed(change(rows.astype(np.float64), some.astype(np.float64)), some)
    import pandas as pd

    columns = {name: rows.iloc[:, i] for i, name in enumerate(x.columns)}
    sample = x.iloc[::step]
    for i in numeric_columns(x):
        some = sample.iloc[:, i].to_numpy(np.float64)
        values = change(rows.iloc[:, i].to_numpy(np.float64), some)
        columns[x.columns[i]] = pd.Series(_typed(values, some)).astype(x.dtypes.iloc[i])
    return pd.DataFrame(columns)


def _typed(values: NDArray[Any], some: NDArray[Any]) -> NDArray[Any]:
    """Values of the type of a sample, whole where its are."""
    known = some[np.isfinite(some)]
    if some.dtype.kind != "f" or bool((known == np.round(known)).all()):
        values = np.round(values)
    return np.asarray(values.astype(some.dtype))
