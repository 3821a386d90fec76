"""Rows of a table as integer codes, so that many thousand candidate changes are one array.

Column j of a search keeps one extended column: the rows under attack, then a pool of legal
values, then the values of donor rows. A candidate is one code for each column; its own row's
code means "unchanged". A one-hot group is one column of a search, and a derived column is written
anew where its inputs move. Frames are built from codes only to be asked of the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.fields.legality import (
    CHANGEABLE,
    derived_columns,
    groups_of,
    keeps,
    legal_values,
    on_step,
    order,
    repair,
    right_way,
)
from crenel.schema import LISTED, NUMERIC, Feature, Kind, Schema

if TYPE_CHECKING:
    import pandas as pd

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Column:
    """One column of a search space.

    Attributes
    ----------
    parts : tuple of pandas.Series
        Rows under attack, pool, donors, in the dtype of the table: one column, or the members of
        a one-hot group.
    identity, number : ndarray
        Equal values share an identity; numbers order them (NaN: no order).
    fine : ndarray of bool
        Whether the value is legal for a change.
    pool : ndarray of int64
        Codes of the pool; empty where the column cannot be changed.
    feature : Feature
    """

    parts: tuple[pd.Series[Any], ...]
    identity: Codes
    number: NDArray[np.float64]
    fine: NDArray[np.bool_]
    pool: Codes
    feature: Feature

    def __len__(self) -> int:
        return len(self.identity)


@dataclass(frozen=True)
class Space:
    """All candidate changes of n rows.

    Attributes
    ----------
    columns : tuple of Column, length d
    n, donors : int
        Numbers of rows under attack and of donor rows.
    schema : Schema
    repairs : bool
        Whether the schema has derived columns.
    """

    columns: tuple[Column, ...]
    n: int
    donors: int
    schema: Schema
    repairs: bool = False

    @property
    def d(self) -> int:
        """Number of columns."""
        return len(self.columns)

    @property
    def free(self) -> list[int]:
        """Positions of the columns that can be changed."""
        return [j for j, c in enumerate(self.columns) if c.pool.size]

    def moves(self) -> Codes:
        """Every single change as rows (column, code), shape (m, 2)."""
        pairs = [
            np.column_stack([np.full(c.pool.size, j), c.pool])
            for j, c in enumerate(self.columns)
            if c.pool.size
        ]
        return np.concatenate(pairs) if pairs else np.empty((0, 2), dtype=np.int64)

    def donor_codes(self, donor: Codes) -> Codes:
        """Candidates, shape (m, d), that take over whole donor rows."""
        offsets = np.array([len(c) - self.donors for c in self.columns], dtype=np.int64)
        return np.asarray(offsets[None, :] + donor[:, None], dtype=np.int64)

    def frame(self, rows: Codes, codes: Codes) -> pd.DataFrame:
        """The rows that candidates stand for, derived columns repaired."""
        made = self._taken(codes)
        if not self.repairs:
            return made
        return repair(self._taken(np.repeat(rows[:, None], self.d, axis=1)), made, self.schema)

    def _taken(self, codes: Codes) -> pd.DataFrame:
        import pandas as pd

        data = {
            part.name: part.take(codes[:, j]).reset_index(drop=True)
            for j, c in enumerate(self.columns)
            for part in c.parts
        }
        return pd.DataFrame({name: data[name] for name in self.schema.names})

    def tidy(self, rows: Codes, codes: Codes) -> Codes:
        """Candidates with every code of an equal or illegal value turned to "unchanged"."""
        out = codes.copy()
        for j in range(self.d):
            keep = ~self._changes(j, rows, codes[:, j]) | ~self._fine(j, rows, codes[:, j])
            out[keep, j] = rows[keep]
        return out

    def legal(self, rows: Codes, codes: Codes) -> NDArray[np.bool_]:
        """Whether tidy candidates keep every row-wise constraint of the schema."""
        ok = np.ones(len(rows), dtype=bool)
        if not self.schema.constraints or not len(rows):
            return ok
        own = np.repeat(rows[:, None], self.d, axis=1)
        before, after = self._taken(own), self.frame(rows, codes)
        moved = {p.name: codes[:, j] != rows for j, c in enumerate(self.columns) for p in c.parts}
        formulas = derived_columns(self.schema)
        for name, formula in formulas.items():
            moved[name] = np.any([moved[i] for i in formula.inputs(self.schema.names)], axis=0)
            if not self.schema[name].missing:
                ok &= ~(moved[name] & after[name].isna().to_numpy())
        for rule in self.schema.constraints:
            ok &= keeps(rule, before, after, moved)
        return ok

    def cost(self, rows: Codes, codes: Codes) -> NDArray[np.float64]:
        """Cost of candidates: a category costs its cost, a number its cost for each ``scale``."""
        total = np.zeros(len(rows))
        for j, c in enumerate(self.columns):
            changed = codes[:, j] != rows
            if changed.any():
                step = np.abs(c.number[codes[changed, j]] - c.number[rows[changed]])
                total[changed] += price(step, c.feature)
        return total

    def _changes(self, j: int, rows: Codes, codes: Codes) -> NDArray[np.bool_]:
        identity = self.columns[j].identity
        return np.asarray(identity[codes] != identity[rows], dtype=bool)

    def _fine(self, j: int, rows: Codes, codes: Codes) -> NDArray[np.bool_]:
        c = self.columns[j]
        if not c.pool.size:
            return np.zeros(len(rows), dtype=bool)
        way = right_way(c.number[rows], c.number[codes], c.feature)
        return np.asarray(c.fine[codes] & way, dtype=bool)


def price(step: NDArray[np.float64], feature: Feature) -> NDArray[np.float64]:
    """Cost of moving one feature by steps; a change without distance costs as one scale."""
    if feature.kind not in NUMERIC:
        return np.full(step.shape, feature.cost)
    return feature.cost * np.where(np.isnan(step), 1.0, step / feature.scale)


def build_space(
    x: pd.DataFrame, donors: pd.DataFrame, reference: pd.DataFrame, schema: Schema, size: int
) -> Space:
    """The search space of the rows ``x``.

    Parameters
    ----------
    x, donors, reference : pandas.DataFrame
        Rows under attack, whole rows to borrow from, and rows whose values are realistic.
    schema : Schema
        Its features are the columns, in order.
    size : int
        Most values in the pool of one column, at least 2; listed values are all taken up to it.
    """
    formulas, grouped = derived_columns(schema), groups_of(schema)
    members = {m for g in grouped for m in g}
    columns = [_group(g, x, donors, schema) for g in grouped]
    for feature in schema.features:
        if feature.name in members:
            continue
        own = x[feature.name].reset_index(drop=True)
        fixed = own.iloc[:0] if feature.name in formulas else None
        pool = _pool(own, reference[feature.name], feature, size) if fixed is None else fixed
        values = _stack([own, pool, donors[feature.name]])
        columns.append(_column(values, len(own), len(pool), feature))
    return Space(tuple(columns), len(x), len(donors), schema, bool(formulas))


def _column(values: pd.Series[Any], n: int, pool: int, feature: Feature) -> Column:
    return Column(
        parts=(values.rename(feature.name),),
        identity=_identity(values),
        number=order(values, feature),
        fine=legal_values(values, feature),
        pool=np.arange(n, n + pool, dtype=np.int64),
        feature=feature,
    )


def _identity(values: pd.Series[Any]) -> Codes:
    import pandas as pd

    return np.asarray(pd.factorize(values.astype(object))[0], dtype=np.int64)


def _group(
    members: tuple[str, ...], x: pd.DataFrame, donors: pd.DataFrame, schema: Schema
) -> Column:
    """A one-hot group as one category whose values are the names of its members."""
    import pandas as pd

    features = [schema[m] for m in members]
    free = all(f.mutable for f in features)
    k = len(members) if free else 0
    parts = []
    for i, name in enumerate(members):
        hot = pd.Series(np.eye(len(members), dtype=np.int64)[:k, i])
        parts.append(_stack([x[name].reset_index(drop=True), hot, donors[name]]).rename(name))
    held = np.column_stack([np.asarray(p == 1, dtype=bool) for p in parts])
    place = np.where(held.sum(axis=1) == 1, held.argmax(axis=1), -1)
    named = Feature(
        name=" | ".join(members), kind=Kind.CATEGORY, values=members, mutable=free,
        cost=max(f.cost for f in features),
    )  # fmt: skip
    return Column(
        parts=tuple(parts),
        identity=place.astype(np.int64),
        number=np.full(len(place), np.nan),
        fine=(place >= 0) & free,
        pool=np.arange(len(x), len(x) + k, dtype=np.int64),
        feature=named,
    )


def _stack(parts: list[pd.Series[Any]]) -> pd.Series[Any]:
    """Columns one below the other in the dtype of the first."""
    import pandas as pd

    first, rest = parts[0], [p for p in parts[1:] if len(p)]
    try:
        cast = [first, *(p.astype(first.dtype) for p in rest)]
    except (TypeError, ValueError):  # say, whole numbers here and missing values among donors
        cast = [first, *rest]
    return pd.concat(cast, ignore_index=True)


def _pool(
    own: pd.Series[Any], reference: pd.Series[Any], feature: Feature, size: int
) -> pd.Series[Any]:
    """Legal values worth trying in a column, in its dtype."""
    import pandas as pd

    if not feature.mutable or feature.kind not in CHANGEABLE:
        return own.iloc[:0]
    if feature.kind in LISTED:
        candidates = _listed(reference, feature, size)
    else:
        candidates = _numbers(reference, feature, size)
    if feature.missing:
        candidates = [*candidates, None]
    pool = _cast(pd.Series(candidates, dtype=object), own)
    pool = pool[legal_values(pool, feature)]
    return pool[~pool.astype(object).duplicated()].reset_index(drop=True)


def _cast(values: pd.Series[Any], own: pd.Series[Any]) -> pd.Series[Any]:
    """Values in a column's dtype, without those that it cannot hold."""
    try:
        return values.astype(own.dtype)
    except (TypeError, ValueError):  # an integer or Boolean column cannot hold a missing value
        return values.dropna().astype(own.dtype)


def _listed(reference: pd.Series[Any], feature: Feature, size: int) -> list[Any]:
    """Listed values, the frequent ones first where there are more than ``size``."""
    counts = reference.astype(object).value_counts()
    values = list(feature.values) or sorted(counts.index, key=str)
    if len(values) <= size:
        return values
    return sorted(values, key=lambda v: (-int(counts.get(v, 0)), str(v)))[:size]


def _numbers(reference: pd.Series[Any], feature: Feature, size: int) -> list[Any]:
    """Bounds, quantiles and frequent values of a numeric feature."""
    import pandas as pd

    seen = np.asarray(pd.to_numeric(reference, errors="coerce"), dtype=np.float64)
    seen = seen[np.isfinite(seen)]
    bounds = [b for b in (feature.min, feature.max) if b is not None and np.isfinite(b)]
    distinct, counts = np.unique(seen, return_counts=True)
    if len(distinct) <= size:
        picked = distinct
    else:  # real values at evenly spread ranks, and those that many rows share
        spread = np.quantile(seen, np.linspace(0, 1, max(2, size * 3 // 4)), method="nearest")
        picked = np.concatenate([spread, distinct[np.argsort(-counts, kind="stable")][: size // 4]])
    numbers = np.unique(np.concatenate([picked, bounds]))
    step = feature.step or (1.0 if feature.kind is Kind.INTEGER else None)
    if step is not None:
        off = ~on_step(numbers, step)
        numbers[off] = stepped(numbers[off], step)
        numbers = np.unique(numbers)
    return list(numbers)


def stepped(numbers: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """The nearest multiples of a step, written as short decimals where they are."""
    return np.asarray(np.round(np.round(numbers / step) * step, 12))
