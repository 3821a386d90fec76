"""Which changed rows are legal: the ones that an attacker could really submit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import UsageError
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
    none of whose fields changed.

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
    for feature in schema.features:
        name = feature.name
        changed = differs(x0[name], x1[name])
        moved[name] = changed
        at = np.flatnonzero(changed)
        if at.size:
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
    else:
        fine = np.full(len(values), feature.kind in LISTED)
    result: NDArray[np.bool_] = np.where(missing, feature.missing, fine).astype(bool)
    return result


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


def holds(rule: str, x: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether a row-wise rule is true of each row.

    Raises
    ------
    crenel.errors.UsageError
        Where it cannot be evaluated or does not give one truth value for each row.
    """
    try:
        truth = np.asarray(x.eval(rule, engine="python"), dtype=bool)
    except Exception as e:
        raise UsageError(
            f"the constraint {rule!r} cannot be evaluated on the table ({e}); "
            "write it over column names, as pandas.DataFrame.eval takes it"
        ) from e
    if truth.shape != (len(x),):
        raise UsageError(f"the constraint {rule!r} does not give one truth value for each row")
    return truth


def keeps(
    rule: str, x0: pd.DataFrame, x1: pd.DataFrame, moved: dict[str, NDArray[np.bool_]]
) -> NDArray[np.bool_]:
    """Whether a rule holds after the change, or was broken before and its fields are as before."""
    after = holds(rule, x1)
    if after.all():
        return after
    touched = np.zeros(len(x1), dtype=bool)
    for name in fields_of(rule, tuple(map(str, x1.columns))):
        touched |= moved.get(name, False)
    return after | (~touched & ~holds(rule, x0))


def fields_of(rule: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Columns that a rule speaks of, as identifiers or in backticks."""
    quoted = set(re.findall(r"`([^`]+)`", rule))
    words = set(re.findall(r"[^\W\d]\w*", re.sub(r"`[^`]*`|'[^']*'|\"[^\"]*\"", " ", rule)))
    return tuple(n for n in names if n in quoted or n in words)
