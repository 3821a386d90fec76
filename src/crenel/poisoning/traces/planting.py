"""Poison that crowds: noisy copies with another label, and collisions around a target."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Numbers:
    """Columns of numbers of a frame, p of them, as a sample of its rows shows them.

    Attributes
    ----------
    at : list of int
        Their positions.
    known, whole : ndarray, shape (p,), bool
        Whether any value of the sample is known, and all known ones are whole.
    usual, spread, low, high : ndarray, shape (p,), float64
        Median, standard deviation, and range; NaN where nothing is known.
    common : ndarray, shape (p,), bool
        Whether most rows have the median.
    """

    at: list[int]
    known: NDArray[np.bool_]
    whole: NDArray[np.bool_]
    usual: NDArray[np.float64]
    spread: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    common: NDArray[np.bool_]

    @classmethod
    def of(cls, x: Any) -> Numbers:
        """Those of a frame."""
        at = numeric_columns(x)
        some = _values(x.iloc[:: len(x) // SAMPLE + 1], at)
        known = np.asarray(np.isfinite(some).any(axis=0))
        usual, spread, low, high = np.full((4, len(at)), np.nan)
        seen = some[:, known]
        usual[known], spread[known] = np.nanmedian(seen, axis=0), np.nanstd(seen, axis=0)
        low[known], high[known] = np.nanmin(seen, axis=0), np.nanmax(seen, axis=0)
        broken = np.isfinite(some) & (some != np.round(some))
        whole = np.asarray(~broken.any(axis=0))
        common = np.asarray((some == usual).mean(axis=0) > 0.5)
        return cls(at, known, whole, usual, spread, low, high, common)


def noisy_copies(
    x: Any,
    row: int,
    count: int,
    rng: np.random.Generator,
    noise: float = NOISE,
    numbers: Numbers | None = None,
) -> Any:
    """So many copies of one row, with numbers changed a little, save those most rows have alike.

    Parameters
    ----------
    x : DataFrame or ndarray, n rows
    row, count : int
    noise : float
        Standard deviation of the change, by that of the column (of all numbers of images).
    numbers : Numbers or None
        Those of a frame, where they are known.

    Returns
    -------
    DataFrame or ndarray, ``count`` rows
        Within the range of each column, as a sample of it shows; categories, texts and missing
        values are kept.
    """
    copies = take_rows(x, np.full(count, row))
    if not hasattr(x, "iloc"):
        return _shaken_array(x, copies, noise, rng)
    of = numbers or Numbers.of(x)
    values = _values(copies, of.at)
    moving = of.known & np.isfinite(values).any(axis=0)
    steps = np.zeros(values.shape)
    steps[:, moving] = noise * of.spread[moving] * rng.standard_normal((moving.sum(), count)).T
    steps[(values == of.usual) & of.common] = 0.0  # what most rows have alike (a count of 0) stays
    low, high = np.fmin(of.low, values), np.fmax(of.high, values)
    return _changed(x, copies, np.where(moving, np.clip(values + steps, low, high), values), of)


def _shaken_array(x: Any, copies: Any, noise: float, rng: np.random.Generator) -> Any:
    """The same of an array, all of whose numbers are taken together."""
    some, values = np.asarray(x[:: len(x) // SAMPLE + 1]), copies.astype(np.float64)
    if not np.isfinite(values).any() or not np.isfinite(some).any():
        return _typed(values, some)
    usual = np.nanmedian(some)
    rare = values != usual if (some == usual).mean() > 0.5 else True
    step = noise * np.nanstd(some.astype(np.float64)) * rng.standard_normal(values.shape)
    low, high = (f([f(some), f(values)]) for f in (np.nanmin, np.nanmax))
    return _typed(np.clip(values + rare * step, low, high), some)


def collisions(
    x: Any,
    bases: NDArray[np.int64],
    target: Any,
    way: float = WAY,
    numbers: Numbers | None = None,
) -> Any:
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
    numbers : Numbers or None
        Those of a frame, where they are known.

    Returns
    -------
    DataFrame or ndarray, ``len(bases)`` rows
        Numbers in between, whole ones rounded; the rest is the target's.
    """
    moved = take_rows(target, np.zeros(len(bases), dtype=np.int64))
    start = take_rows(x, bases)
    if not hasattr(x, "iloc"):
        values, own = moved.astype(np.float64), start.astype(np.float64)
        return _typed(values + way * (own - values), np.asarray(x[:: len(x) // SAMPLE + 1]))
    of = numbers or Numbers.of(x)
    values, own = _values(moved, of.at), _values(start, of.at)
    return _changed(x, moved, values + way * (own - values), of)


def numeric_columns(frame: Any) -> list[int]:
    """Positions of the columns of numbers."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    return [
        i
        for i, kind in enumerate(frame.dtypes)
        if is_numeric_dtype(kind) and not is_bool_dtype(kind)
    ]


def _values(frame: Any, at: list[int]) -> NDArray[np.float64]:
    """Some columns as numbers (n, p)."""
    found = np.empty((len(frame), len(at)))
    for i, j in enumerate(at):
        found[:, i] = frame.iloc[:, j].to_numpy(np.float64)
    return found


def _changed(x: Any, rows: Any, values: NDArray[np.float64], of: Numbers) -> Any:
    """Rows of a frame with other numbers, of the types of its columns."""
    import pandas as pd

    values = np.where(of.whole, np.round(values), values)
    kinds = x.dtypes
    for i, j in enumerate(of.at):
        rows.isetitem(j, pd.Series(values[:, i]).astype(kinds.iloc[j]))
    return rows


def _typed(values: NDArray[Any], some: NDArray[Any]) -> NDArray[Any]:
    """Values of the type of a sample, whole where its are."""
    known = some[np.isfinite(some)]
    if some.dtype.kind != "f" or bool((known == np.round(known)).all()):
        values = np.round(values)
    return np.asarray(values.astype(some.dtype))
