"""Columns as codes: every value that is met often by itself, the others in narrow bins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Narrow bins of a numeric column; values that keep a code of their own; rows that earn one.
BINS, SPIKES, SPIKE_ROWS = 128, 128, 6
#: Share of the rows in a wide bin.
WIDE = 1 / 24
#: Codes of a column of names; rarer names share the last one.
NAMES = 250


@dataclass(frozen=True)
class Column:
    """One column of n rows.

    Attributes
    ----------
    name : str
    position : int
        Among the columns of the rows.
    codes : ndarray, shape (n,), of integers
        In [0, count); in the order of the values where ``ordered``, the missing ones last.
    count : int
        Codes.
    ordered : bool
    missing : int or None
        Code of missing values.
    wide : tuple of ndarray, shape (count,), uint16
        From a code to its wide bin, once and once more shifted by half a bin; empty for names.
    line : int
        Of the array that its codes share with other columns', where they do.
    """

    name: str
    position: int
    codes: NDArray[np.integer[Any]]
    count: int
    ordered: bool
    missing: int | None
    wide: tuple[NDArray[np.integer[Any]], ...]
    line: int = -1

    def take(self, rows: NDArray[Any]) -> Column:
        """The same column of some rows."""
        return replace(self, codes=self.codes[rows])


def side_by_side(columns: list[Column]) -> list[Column]:
    """The same columns with their codes in one array, which `common` gives back."""
    whole = stacked(columns)
    return [replace(c, codes=whole[i], line=i) for i, c in enumerate(columns)]


def common(columns: list[Column]) -> NDArray[np.uint16] | None:
    """The one array (d, n) that holds the codes of all columns in their order; None without."""
    whole: NDArray[np.uint16] | None = columns[0].codes.base
    if whole is None or whole.shape != (len(columns), len(columns[0].codes)):
        return None
    same = all(c.line == i and c.codes.base is whole for i, c in enumerate(columns))
    return whole if same and whole.dtype == np.uint16 else None


def stacked(columns: list[Column]) -> NDArray[np.uint16]:
    """Codes of all columns (d, n): their common array where they have one, else a copy."""
    whole = common(columns)
    if whole is not None:
        return whole
    return np.stack([c.codes for c in columns]).astype(np.uint16, copy=False)


def coded(x: Any) -> list[Column]:
    """Columns that hold more than one value, as codes.

    Parameters
    ----------
    x : DataFrame or ndarray, shape (n, d)
    """
    if hasattr(x, "iloc"):
        columns = [_coded(str(c), j, x.iloc[:, j]) for j, c in enumerate(x.columns)]
    else:
        import pandas as pd

        columns = [_coded(str(j), j, pd.Series(x[:, j])) for j in range(x.shape[1])]
    return [c for c in columns if c.count > 1]


def recoded(columns: list[Column], x: Any, others: Any) -> list[NDArray[np.float64]]:
    """Codes that other rows would have, by column; ``count`` where their value has none.

    A number between two codes' values lies between the codes: within intervals that hold both.

    Parameters
    ----------
    columns : list of Column
        Of the rows ``x``.
    x, others : DataFrame or ndarray, of the same columns
    """
    import pandas as pd

    def values(of: Any, j: int) -> Any:
        return of.iloc[:, j] if hasattr(of, "iloc") else pd.Series(of[:, j])

    return [_known(c, values(x, c.position), values(others, c.position)) for c in columns]


def _known(column: Column, own: Any, other: Any) -> NDArray[np.float64]:
    import pandas as pd

    known = own.notna().to_numpy()
    codes = np.full(len(other), column.count, dtype=np.float64)
    if column.ordered:
        numbers, wanted = _numbers(own), _numbers(other)
        distinct, first = np.unique(numbers[np.isfinite(numbers)], return_index=True)
        of_value = column.codes[np.isfinite(numbers)][first].astype(np.float64)
        at = np.searchsorted(distinct, wanted).clip(0, len(distinct) - 1)
        below = np.maximum(at - 1, 0)
        hit = np.isfinite(wanted)
        hit[hit] = (wanted[hit] >= distinct[0]) & (wanted[hit] <= distinct[-1])
        # The value itself, or half way between its neighbours' codes, which may be the same.
        found = np.where(distinct[at] == wanted, of_value[at], (of_value[at] + of_value[below]) / 2)
        codes[hit] = found[hit]
        gone = ~np.isfinite(wanted)
    else:
        # Names are looked up once each, not once a row.
        number, names = pd.factorize(own[known].astype(str))
        first = np.unique(number, return_index=True)[1]
        of_name = dict(zip(names.tolist(), column.codes[known][first].tolist(), strict=True))
        gone = other.isna().to_numpy()
        number, names = pd.factorize(other.astype(str))
        found = np.array(
            [of_name.get(v, column.count) for v in names] + [column.count], dtype=float
        )
        codes = found[number]
    if column.missing is not None:
        codes[gone] = column.missing
    return codes


def _numbers(series: Any) -> NDArray[np.float64]:
    if series.dtype.kind == "M":
        series = series.astype("int64").where(series.notna())
    numbers: NDArray[np.float64] = series.to_numpy(dtype=float, na_value=np.nan)
    return numbers


def _coded(name: str, position: int, series: Any) -> Column:
    from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype

    if is_datetime64_any_dtype(series):
        series = series.astype("int64").where(series.notna())
    if is_numeric_dtype(series) and not is_bool_dtype(series):
        return _numeric(name, position, series.to_numpy(dtype=float, na_value=np.nan))
    return _named(name, position, series)


def _numeric(name: str, position: int, values: NDArray[np.float64]) -> Column:
    known = np.isfinite(values)
    distinct, inverse, counts = np.unique(values[known], return_inverse=True, return_counts=True)
    of_value = _bins(counts)
    codes = np.full(len(values), -1, dtype=np.int32)
    codes[known] = of_value[inverse]
    count = int(of_value[-1]) + 1 if len(distinct) else 0
    mass = np.bincount(codes[known], minlength=count)
    wide = [_wider(mass, shift) for shift in (0.0, 0.5)]
    missing = None
    if not known.all():
        missing, count = count, count + 1
        codes[~known] = missing
        wide = [np.append(w, (w[-1] if len(w) else -1) + 1) for w in wide]
    narrow = codes.astype(np.uint16)
    return Column(
        name, position, narrow, count, True, missing, tuple(w.astype(np.uint16) for w in wide)
    )


def _bins(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """A bin for each distinct value, in their order: values met often have one to themselves."""
    if len(counts) <= BINS + SPIKES:
        return np.arange(len(counts))
    often = np.zeros(len(counts), dtype=bool)
    often[np.argsort(-counts, kind="stable")[:SPIKES]] = True
    often &= counts >= SPIKE_ROWS
    rest = np.where(often, 0, counts)
    share = (np.cumsum(rest) - rest) * BINS // max(1, int(rest.sum()))
    begins = np.ones(len(counts), dtype=bool)
    begins[1:] = (share[1:] != share[:-1]) | often[1:] | often[:-1]
    return np.cumsum(begins) - 1


def _wider(mass: NDArray[np.int64], shift: float) -> NDArray[np.int64]:
    """Narrow bins joined until each holds its share of the rows, a heavy one by itself."""
    size = WIDE * max(1, int(mass.sum()))
    wide = np.zeros(len(mass), dtype=np.int64)
    number, held = 0, shift * size
    for i, m in enumerate(mass):
        if i and (held + m > size) and held > 0:
            number, held = number + 1, 0.0
        wide[i] = number
        held += m
    return wide


def _named(name: str, position: int, series: Any) -> Column:
    import pandas as pd

    text = series.astype("string") if series.dtype != "category" else series.astype(str)
    codes, distinct = pd.factorize(text, use_na_sentinel=True)
    codes = codes.astype(np.int32)
    known = codes >= 0
    counts = np.bincount(codes[known], minlength=len(distinct))
    if len(distinct) > NAMES:
        order = np.argsort(-counts, kind="stable")
        of_name = np.full(len(distinct), NAMES - 1, dtype=np.int32)
        of_name[order[: NAMES - 1]] = np.arange(NAMES - 1)
        codes[known] = of_name[codes[known]]
    count = min(len(distinct), NAMES)
    missing = None
    if not known.all():
        missing, count = count, count + 1
        codes[~known] = missing
    return Column(name, position, codes.astype(np.uint16), count, False, missing, ())
