"""The legal lattice: the numbers that a row can really hold once it is stored and read again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Numbers = NDArray[np.floating[Any]]
#: Steps of stored images that are looked for in data.
PIXEL = 1 / 255
#: Values looked at to recognise a step.
LOOKED_AT = 20_000


@dataclass(frozen=True)
class Lattice:
    """Bounds, steps and groups of the numbers of a row.

    Attributes
    ----------
    low, high : float or ndarray, broadcast against rows
        Legal range.
    step : float or ndarray, broadcast against rows
        Distance of legal values, counted from 0; 0 where every number is legal.
    groups : tuple of tuple of int
        Positions of one-hot groups in the flattened row: exactly one is 1.
    dtype : numpy dtype
        Of the user's rows.
    """

    low: Any
    high: Any
    step: Any = 0.0
    groups: tuple[tuple[int, ...], ...] = ()
    dtype: Any = np.float32

    @property
    def free(self) -> bool:
        """Whether every number within the bounds is legal."""
        return not self.groups and not np.any(self.step) and np.dtype(self.dtype).kind == "f"

    def project(
        self, x0: Numbers, x: Numbers, *, norm: float = math.inf, epsilon: Any = None
    ) -> NDArray[Any]:
        """The nearest legal rows, in the user's dtype; within the ball where it has any.

        Parameters
        ----------
        x0, x : ndarray, shape (n, …)
            Rows as they were, and changed.
        norm, epsilon : float
            In L-inf steps are rounded towards ``x0`` where rounding away would leave the ball.

        Returns
        -------
        ndarray, shape (n, …)
            Values that were not changed stay exactly as they were, legal or not.
        """
        before = np.asarray(x0, dtype=np.float64)
        after = np.clip(np.asarray(x, dtype=np.float64), self.low, self.high)
        step = np.broadcast_to(np.asarray(self.step, dtype=np.float64), before.shape)
        stepped = step > 0
        unit = np.where(stepped, step, 1.0)
        snapped = np.round(after / unit) * unit
        if epsilon is not None and norm == math.inf:
            over = np.abs(snapped - before) > epsilon * (1 + 1e-9)
            inward = np.where(snapped > before, snapped - unit, snapped + unit)
            snapped = np.where(over, inward, snapped)
        legal = np.where(stepped, np.clip(snapped, self.low, self.high), after)
        legal = self._one_hot(legal)
        return self._stored(before, legal, np.asarray(x0))

    def _one_hot(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The largest of each group becomes 1 and the others 0."""
        if not self.groups:
            return x
        flat = x.reshape(len(x), -1).copy()
        for group in self.groups:
            columns = np.asarray(group)
            first = flat[:, columns].argmax(axis=1)
            flat[:, columns] = 0.0
            flat[np.arange(len(flat)), columns[first]] = 1.0
        return flat.reshape(x.shape)

    def _stored(
        self, before: NDArray[np.float64], after: NDArray[np.float64], own: NDArray[Any]
    ) -> NDArray[Any]:
        kind = np.dtype(self.dtype)
        stored = np.round(after).astype(kind) if kind.kind in "iub" else after.astype(kind)
        return np.where(after == before, own.astype(kind), stored)


def lattice_of(x: ArrayLike, low: Any, high: Any) -> Lattice:
    """The lattice that rows show: whole numbers, 8-bit pixels scaled to [0, 1], one-hot groups.

    Parameters
    ----------
    x : ndarray, shape (n, …)
        Rows in the user's own dtype; more rows tell more.
    low, high : float or ndarray
        Legal range.
    """
    rows = np.asarray(x)
    if rows.dtype.kind in "iub":
        return Lattice(low, high, 1.0, one_hot_groups(rows), rows.dtype)
    if rows.ndim > 2:
        pixels = rows.ravel()
        step = PIXEL if _stepped(pixels, PIXEL) else 0.0
        # whole numbers are multiples of 1 / 255 too; 0 and 1 alone may be black and white pixels
        if _stepped(pixels, 1.0) and np.nanmax(np.abs(pixels)) > 1:
            step = 1.0
        return Lattice(low, high, step, (), rows.dtype)
    flat = rows.reshape(len(rows), -1)
    steps = np.array([1.0 if _stepped(c, 1.0) else 0.0 for c in flat.T])
    # a column with one or two whole values may hold any number: nothing shows a step
    varied = np.array([len(np.unique(c[:LOOKED_AT])) > 2 for c in flat.T])
    groups = one_hot_groups(flat)
    grouped = np.isin(np.arange(flat.shape[1]), [j for g in groups for j in g])
    return Lattice(low, high, np.where(varied & ~grouped, steps, 0.0), groups, rows.dtype)


def _stepped(values: NDArray[Any], step: float) -> bool:
    """Whether all values are multiples of a step, up to the rounding of floats."""
    some = values[:: max(1, len(values) // LOOKED_AT)].astype(np.float64) / step
    some = some[np.isfinite(some)]
    return bool(some.size) and bool(np.abs(some - np.round(some)).max() < 1e-3)


def one_hot_groups(x: NDArray[Any], most: int = 64) -> tuple[tuple[int, ...], ...]:
    """Runs of neighbouring 0/1 columns of which exactly one is 1 in every row.

    Parameters
    ----------
    x : ndarray, shape (n, d)
    most : int
        Columns of a group at most.

    Notes
    -----
    Looks at the running total over neighbouring columns, as an encoder puts them side by side;
    a group needs at least three columns and each must be 1 somewhere, so that two complementary
    flags or constant columns are not taken for one.
    """
    if x.ndim != 2 or len(x) < 2:
        return ()
    binary = np.isin(x, (0, 1)).all(axis=0) & (x == 1).any(axis=0)
    groups, j, d = [], 0, x.shape[1]
    while j < d:
        end = _group_end(x, binary, j, min(d, j + most))
        if end - j >= 3:
            groups.append(tuple(range(j, end)))
            j = end
        else:
            j += 1
    return tuple(groups)


def _group_end(x: NDArray[Any], binary: NDArray[np.bool_], start: int, stop: int) -> int:
    """End of the group that begins at a column; the start itself where there is none."""
    total = np.zeros(len(x))
    for j in range(start, stop):
        if not binary[j]:
            return start
        total += x[:, j]
        if (total > 1).any():
            return start
        if (total == 1).all():
            return j + 1
    return start
