"""Cheaper witnesses: numbers move back towards the original while the decision stays turned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.legality import differs, legal, order
from crenel.evasion.oracle import Predict
from crenel.evasion.space import price
from crenel.schema import NUMERIC, Feature, Kind, Schema

if TYPE_CHECKING:
    import pandas as pd

#: Halvings of each numeric move.
ROUNDS = 7


def change_cost(x0: pd.DataFrame, x1: pd.DataFrame, schema: Schema) -> NDArray[np.float64]:
    """Cost of each row's change under a schema, in its units of cost."""
    total = np.zeros(len(x0))
    for f in schema.features:
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
    """Move the numeric fields of witnesses back by bisection, one field of each row at a time.

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
    numeric = [f for f in schema.features if f.kind in NUMERIC]
    if not len(x0) or not numeric:
        return x1, 0
    changed = np.column_stack([differs(x0[f.name], x1[f.name]) for f in numeric])
    place = np.cumsum(changed, axis=1) * changed
    queries = 0
    for slot in range(1, int(place.max(initial=0)) + 1):
        at = place == slot  # one field of each row
        rows = np.flatnonzero(at.any(axis=1))
        low = x0.copy()
        for _ in range(ROUNDS):
            middle = _between(low, x1, at, numeric)
            turned = np.zeros(len(x0), dtype=bool)
            turned[rows] = np.asarray(predict(middle.iloc[rows])) != y[rows]
            queries += len(rows)
            turned &= legal(x0, middle, schema)
            x1 = _choose(middle, x1, turned)
            low = _choose(low, middle, turned)
    return x1, queries


def _choose(a: pd.DataFrame, b: pd.DataFrame, first: NDArray[np.bool_]) -> pd.DataFrame:
    """Rows of ``a`` where ``first``, else of ``b``, dtypes kept."""
    out = b.copy()
    for name in out.columns:
        column = out[name].copy()
        column[first] = a[name][first]
        out[name] = column
    return out


def _between(
    low: pd.DataFrame, high: pd.DataFrame, at: NDArray[np.bool_], numeric: list[Feature]
) -> pd.DataFrame:
    """``high`` with the marked fields half way to ``low``."""
    out = high.copy()
    for j, f in enumerate(numeric):
        rows = np.flatnonzero(at[:, j])
        if rows.size:
            out[f.name] = _half_way(low[f.name], high[f.name], rows, f)
    return out


def _half_way(
    low: pd.Series[Any], high: pd.Series[Any], rows: NDArray[np.int64], feature: Feature
) -> pd.Series[Any]:
    a, b = order(low.iloc[rows], feature), order(high.iloc[rows], feature)
    middle = (a + b) / 2
    if feature.kind is not Kind.CONTINUOUS:  # towards the original, so that it ends
        middle = np.where(a < b, np.floor(middle), np.ceil(middle))
    known = np.isfinite(middle)
    column = high.copy()
    values: Any = middle[known]
    if feature.kind is Kind.ORDINAL and feature.values:
        values = np.array(feature.values, dtype=object)[middle[known].astype(int)]
    column.iloc[rows[known]] = _as(values, column)
    return column


def _as(values: Any, column: pd.Series[Any]) -> Any:
    import pandas as pd

    return pd.Series(values).astype(column.dtype).to_numpy()
