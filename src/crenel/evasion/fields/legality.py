"""Which changed rows are legal: the ones that an attacker could really submit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.data.constraints import Derived, Rule, derived, group, reads, truth
from crenel.schema import LISTED, NUMERIC, Feature, Kind, Schema

if TYPE_CHECKING:
    import pandas as pd

#: Kinds that a change of fields can treat; texts and images have attacks of their own.
CHANGEABLE = NUMERIC | LISTED


def legal(x0: pd.DataFrame, x1: pd.DataFrame, schema: Schema) -> NDArray[np.bool_]:
    """Whether each row of ``x1`` is a legal change of the same row of ``x0``.

    A changed field must be mutable, hold a listed value or a number within the bounds (a whole
    one where the feature is an integer), be missing only where missing values occur, and move
    only in its direction (values out of order, or missing, have none). Fields left as they are
    are never at fault. Row-wise constraints must hold, except one that did not hold before and
    none of whose fields changed. A derived column follows its formula, whatever its bounds, and
    may be missing only where missing values occur.

    Parameters
    ----------
    x0, x1 : pandas.DataFrame, shape (n, d)
        Rows before and after, same columns.
    schema : Schema

    Returns
    -------
    ndarray, shape (n,), bool

    Raises
    ------
    crenel.errors.UsageError
        Where a constraint of the schema cannot be evaluated.
    """
    ok = np.ones(len(x0), dtype=bool)
    moved = {}
    formulas = derived_columns(schema)
    for feature in schema.features:
        name = feature.name
        changed = differs(x0[name], x1[name])
        moved[name] = changed
        at = np.flatnonzero(changed)
        if at.size and name in formulas:
            ok[at] &= _follows(x1[name].iloc[at], feature)
        elif at.size:
            ok[at] &= _legal_change(x0[name].iloc[at], x1[name].iloc[at], feature)
    for rule in schema.constraints:
        ok &= keeps(rule, x0, x1, moved)
    return ok


def differs(a: pd.Series[Any], b: pd.Series[Any]) -> NDArray[np.bool_]:
    """Where two columns hold different values; missing equals missing."""
    fa, fb = _numbers(a), _numbers(b)
    if fa is not None and fb is not None:  # the common case, fast
        return np.asarray((fa != fb) & ~(np.isnan(fa) & np.isnan(fb)), dtype=bool)
    va, vb = a.astype(object).to_numpy(), b.astype(object).to_numpy()
    na, nb = a.isna().to_numpy(), b.isna().to_numpy()
    unequal = np.array([p != q for p, q in zip(va, vb)], dtype=object)
    different: NDArray[np.bool_] = (na != nb) | (~na & ~nb & np.where(na | nb, False, unequal))
    return different.astype(bool)


def _numbers(values: pd.Series[Any]) -> NDArray[np.float64] | None:
    """A column of plain numbers as float64 (exact up to 2**53), None where it is not one."""
    kind = values.dtype
    if isinstance(kind, np.dtype) and kind.kind in "iuf":
        return np.asarray(values, dtype=np.float64)
    return None


def order(values: pd.Series[Any], feature: Feature) -> NDArray[np.float64]:
    """Numbers by which values are ordered: themselves, or places in the list; NaN without one."""
    import pandas as pd

    fast = _numbers(values)
    if fast is not None and not (feature.kind in LISTED and feature.values):
        return fast if feature.kind in NUMERIC else np.full(len(values), np.nan)
    if feature.kind in LISTED and feature.values:
        place = {v: float(i) for i, v in enumerate(feature.values)}
        found = values.astype(object).map(place)
        return np.asarray(pd.to_numeric(found), dtype=np.float64)
    if feature.kind in NUMERIC:
        return np.asarray(pd.to_numeric(values, errors="coerce"), dtype=np.float64)
    return np.full(len(values), np.nan)


def legal_values(values: pd.Series[Any], feature: Feature) -> NDArray[np.bool_]:
    """Whether each value alone is legal for a feature, wherever the row came from."""
    fast = _numbers(values)
    missing = values.isna().to_numpy() if fast is None else np.isnan(fast)
    if feature.kind in LISTED and feature.values:
        fine = values.astype(object).isin(list(feature.values)).to_numpy()
    elif feature.kind in NUMERIC:
        number = order(values, feature)
        low = -np.inf if feature.min is None else feature.min
        high = np.inf if feature.max is None else feature.max
        fine = (number >= low) & (number <= high)
        if feature.kind is Kind.INTEGER:
            fine &= number == np.round(number)
        if feature.step is not None:
            fine &= on_step(number, feature.step)
    else:
        fine = np.full(len(values), feature.kind in LISTED)
    result: NDArray[np.bool_] = np.where(missing, feature.missing, fine).astype(bool)
    return result


def on_step(number: NDArray[np.float64], step: float) -> NDArray[np.bool_]:
    """Whether numbers are multiples of a step, up to the rounding of floats."""
    count = number / step
    return np.asarray(np.abs(count - np.round(count)) <= 1e-6 * np.maximum(1, np.abs(count) * 1e-6))


def right_way(
    before: NDArray[np.float64], after: NDArray[np.float64], feature: Feature
) -> NDArray[np.bool_]:
    """Whether changes keep to a feature's direction; a change from or to no order does not."""
    if feature.direction == "any":
        return np.ones(np.broadcast(before, after).shape, dtype=bool)
    return after > before if feature.direction == "up" else after < before


def _legal_change(
    before: pd.Series[Any], after: pd.Series[Any], feature: Feature
) -> NDArray[np.bool_]:
    if not feature.mutable or feature.kind not in CHANGEABLE:
        return np.zeros(len(before), dtype=bool)
    way = right_way(order(before, feature), order(after, feature), feature)
    return legal_values(after, feature) & way


def _follows(after: pd.Series[Any], feature: Feature) -> NDArray[np.bool_]:
    """Whether what a formula gave can stand in the column: the rule itself is checked apart."""
    fine = ~after.isna().to_numpy() | feature.missing
    if feature.kind is Kind.INTEGER:
        number = order(after, feature)
        fine &= np.isnan(number) | (number == np.round(number))
    return np.asarray(fine, dtype=bool)


def keeps(
    rule: Rule, x0: pd.DataFrame, x1: pd.DataFrame, moved: dict[str, NDArray[np.bool_]]
) -> NDArray[np.bool_]:
    """Whether a rule holds after the change, or was broken before and its fields are as before."""
    after = truth(rule, x1)
    if after.all():
        return after
    touched = np.zeros(len(x1), dtype=bool)
    for name in reads(rule, tuple(map(str, x1.columns))):
        touched |= moved.get(name, False)
    return after | (~touched & ~truth(rule, x0))


def derived_columns(schema: Schema) -> dict[str, Derived]:
    """The columns of a schema that follow from others, in the order of its constraints."""
    found = [derived(rule) for rule in schema.constraints]
    return {d.name: d for d in found if d is not None and d.name in schema.names}


def groups_of(schema: Schema) -> tuple[tuple[str, ...], ...]:
    """The one-hot groups of a schema."""
    found = [group(rule) for rule in schema.constraints]
    return tuple(g for g in found if g and all(n in schema.names for n in g))


def repair(x0: pd.DataFrame, x1: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Changed rows with derived columns written anew where one of their inputs moved.

    Parameters
    ----------
    x0, x1 : pandas.DataFrame, shape (n, d)
        Rows before and after, same columns.
    schema : Schema

    Returns
    -------
    pandas.DataFrame, shape (n, d)
        ``x1`` itself where nothing is derived. A value that the column cannot hold, such as a
        half in a column of whole numbers, is cut to fit and then breaks the rule.
    """
    formulas = derived_columns(schema)
    if not formulas or not len(x1):
        return x1
    out = x1.copy()
    for name, formula in formulas.items():
        touched = np.zeros(len(out), dtype=bool)
        for column in formula.inputs(tuple(map(str, out.columns))):
            touched |= differs(x0[column], out[column])
        at = np.flatnonzero(touched)
        if at.size:
            out[name] = _filled(out[name], at, formula.values(out.iloc[at]))
    return out


def _filled(column: pd.Series[Any], at: NDArray[np.int64], values: pd.Series[Any]) -> Any:
    """A column with some values replaced, in its dtype where that holds them."""
    import pandas as pd

    fresh = column.copy()
    if column.dtype.kind in "iu":
        numbers = np.asarray(pd.to_numeric(values, errors="coerce"), dtype=np.float64)
        low, high = float(np.iinfo(column.dtype).min), float(np.iinfo(column.dtype).max)
        numbers = np.clip(np.nan_to_num(numbers, nan=low), low / 2, high / 2)
        fresh.iloc[at] = np.round(numbers).astype(column.dtype)
    else:
        fresh.iloc[at] = values.astype(column.dtype).to_numpy()
    return fresh


def fields_changed(changed: NDArray[np.bool_], schema: Schema) -> NDArray[np.int64]:
    """How many fields an attacker changes: a one-hot group is one, a derived column none.

    Parameters
    ----------
    changed : ndarray of bool, shape (n, d)
        Columns in the order of the schema.

    Returns
    -------
    ndarray of int64, shape (n,)
    """
    names, skip = schema.names, set(derived_columns(schema))
    total = np.zeros(len(changed), dtype=np.int64)
    for members in groups_of(schema):
        total += changed[:, [names.index(m) for m in members]].any(axis=1)
        skip |= set(members)
    alone = changed[:, [j for j, n in enumerate(names) if n not in skip]]
    return np.asarray(total + alone.sum(axis=1), dtype=np.int64)
