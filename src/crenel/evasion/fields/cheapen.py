"""Cheaper witnesses: numbers move back towards the original while the decision stays turned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.fields.legality import derived_columns, differs, groups_of, legal, order, repair
from crenel.evasion.fields.oracle import Predict
from crenel.evasion.fields.space import price
from crenel.schema import NUMERIC, Feature, Kind, Schema

if TYPE_CHECKING:
    import pandas as pd

#: Halvings of each numeric move, and fields that are moved one by one after all at once.
ROUNDS, SLOTS = 7, 4


def change_cost(x0: pd.DataFrame, x1: pd.DataFrame, schema: Schema) -> NDArray[np.float64]:
    """Cost of each row's change under a schema, in its units of cost.

    A one-hot group costs what its dearest member does; a derived column costs nothing.
    """
    total = np.zeros(len(x0))
    formulas, grouped = derived_columns(schema), groups_of(schema)
    for members in grouped:
        moved = np.any([differs(x0[m], x1[m]) for m in members], axis=0)
        total += max(schema[m].cost for m in members) * moved
    tied = {*formulas, *(m for g in grouped for m in g)}
    for f in (f for f in schema.features if f.name not in tied):
        at = np.flatnonzero(differs(x0[f.name], x1[f.name]))
        if at.size:
            step = order(x1[f.name].iloc[at], f) - order(x0[f.name].iloc[at], f)
            total[at] += price(np.abs(step), f)
    return total


def changed_fields(x0: pd.DataFrame, x1: pd.DataFrame, schema: Schema) -> NDArray[np.bool_]:
    """Which fields differ, shape (n, d), columns in the order of the schema."""
    return np.column_stack([differs(x0[n], x1[n]) for n in schema.names])


def cheapen(
    predict: Predict,
    x0: pd.DataFrame,
    x1: pd.DataFrame,
    y: NDArray[np.int64],
    schema: Schema,
) -> tuple[pd.DataFrame, int]:
    """Move the numeric fields of witnesses back by bisection: all at once, then one by one.

    Parameters
    ----------
    x0, x1 : pandas.DataFrame, shape (n, d)
        Rows before and after; every row of ``x1`` turns its decision.
    y : ndarray, shape (n,)
        The decisions before.

    Returns
    -------
    x1 : pandas.DataFrame
        Cheaper legal witnesses.
    queries : int
    """
    numeric = movable(schema)
    if not len(x0) or not numeric:
        return x1, 0
    before, after = (np.column_stack([order(x[f.name], f) for f in numeric]) for x in (x0, x1))
    changed = np.isfinite(before) & np.isfinite(after) & (before != after)
    place = np.cumsum(changed, axis=1) * changed
    phases = [changed & (place.max(axis=1) > 1)[:, None]]
    phases += [place == slot for slot in range(1, SLOTS + 1)]
    queries = 0
    for at in phases:
        rows = np.flatnonzero(at.any(axis=1))
        if rows.size:
            part = x1.iloc[rows].reset_index(drop=True)
            own = x0.iloc[rows].reset_index(drop=True)
            moved, kept = _bisect(predict, own, part, before[rows], at[rows], y[rows], schema)
            queries += ROUNDS * len(rows)
            x1 = _replaced(x1, moved, rows, kept)
    return x1, queries


def movable(schema: Schema) -> list[Feature]:
    """Features with a distance that move by themselves."""
    tied = set(derived_columns(schema)) | {m for g in groups_of(schema) for m in g}
    return [f for f in schema.features if f.kind in NUMERIC and f.mutable and f.name not in tied]


def _bisect(
    predict: Predict,
    x0: pd.DataFrame,
    x1: pd.DataFrame,
    before: NDArray[np.float64],
    at: NDArray[np.bool_],
    y: NDArray[np.int64],
    schema: Schema,
) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """Rows with the marked fields as near to the original as turns them, and which are better."""
    numeric = movable(schema)
    high = np.column_stack([order(x1[f.name], f) for f in numeric])
    low, kept = before.copy(), np.zeros(len(x0), dtype=bool)
    best = x1
    for _ in range(ROUNDS):
        middle = np.where(at, _half_way(low, high, numeric), high)
        trial = repair(x0, written(x1, middle, at, numeric), schema)
        turned = np.asarray(predict(trial)) != y
        if turned.any():
            turned &= legal(x0, trial, schema)
        best = _replaced(best, trial, np.arange(len(x0)), turned)
        high = np.where(turned[:, None], middle, high)
        low = np.where(turned[:, None], low, middle)
        kept |= turned
    return best, kept


def _half_way(
    low: NDArray[np.float64], high: NDArray[np.float64], numeric: list[Feature]
) -> NDArray[np.float64]:
    """Middles on the feature's step, rounded towards the original so that it ends."""
    middle = (low + high) / 2
    for j, f in enumerate(numeric):
        step = f.step or (1.0 if f.kind is not Kind.CONTINUOUS else None)
        if step is not None:
            count = middle[:, j] / step
            whole = np.where(low[:, j] < high[:, j], np.floor(count), np.ceil(count))
            middle[:, j] = np.round(whole * step, 12)
    return middle


def written(
    x: pd.DataFrame, numbers: NDArray[np.float64], at: NDArray[np.bool_], numeric: list[Feature]
) -> pd.DataFrame:
    """Rows with the marked fields set to numbers, in the dtypes of the table."""
    import pandas as pd

    out = x.copy()
    for j, f in enumerate(numeric):
        rows = np.flatnonzero(at[:, j])
        if not rows.size:
            continue
        values: Any = numbers[rows, j]
        if f.kind is Kind.ORDINAL and f.values:
            last = len(f.values) - 1
            values = [f.values[i] for i in np.clip(values, 0, last).astype(int)]
        column = out[f.name].copy()
        if column.dtype.kind in "iu":  # whatever the schema says, the column holds whole numbers
            values = np.round(np.asarray(values, dtype=np.float64))
        column.iloc[rows] = pd.Series(values).astype(column.dtype).to_numpy()
        out[f.name] = column
    return out


def _replaced(
    x: pd.DataFrame, rows: pd.DataFrame, at: NDArray[np.int64], chosen: NDArray[np.bool_]
) -> pd.DataFrame:
    """A frame whose rows ``at`` are the given ones where ``chosen``, dtypes kept."""
    import pandas as pd

    codes = np.arange(len(x), dtype=np.int64)
    codes[at[chosen]] = len(x) + np.flatnonzero(chosen)
    return pd.concat([x, rows], ignore_index=True).take(codes).reset_index(drop=True)
