"""Exact duplicates: rows with the same content, and whether their labels agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Probability below which duplicates contradict each other by more than chance.
ALPHA = 0.01


@dataclass(frozen=True)
class Contents:
    """The distinct contents of rows.

    Attributes
    ----------
    of : ndarray, shape (n,), int64
        Which content each row has.
    first : ndarray, shape (u,), int64
        The first row of each content.
    copies : ndarray, shape (u,), int64
        How many rows have it.
    """

    of: NDArray[np.int64]
    first: NDArray[np.int64]
    copies: NDArray[np.int64]

    @property
    def repeated(self) -> int:
        """Rows that repeat an earlier one."""
        return len(self.of) - len(self.first)


def distinct_contents(x: Any) -> Contents:
    """Which rows are equal in every column, by a 64-bit hash of each row.

    Parameters
    ----------
    x : DataFrame or ndarray, n rows
        Missing values are equal to each other.
    """
    _, first, of, copies = np.unique(
        row_hashes(x), return_index=True, return_inverse=True, return_counts=True
    )
    return Contents(of.ravel().astype(np.int64), first, copies)


def row_hashes(x: Any) -> NDArray[np.uint64]:
    """A 64-bit hash of each row's values, shape (n,), uint64; equal rows have equal ones."""
    from pandas import Categorical, Series
    from pandas.util import hash_array, hash_pandas_object

    total = np.full(len(x), 0x9E3779B97F4A7C15, dtype=np.uint64)
    odd = np.uint64(0x100000001B3)
    if hasattr(x, "iloc"):
        for i in range(x.shape[1]):
            column = x.iloc[:, i]
            if isinstance(column.dtype, type(Categorical([]).dtype)):
                column = column.astype(object)
            if column.dtype == object:
                column = Series(np.where(column.isna(), None, column.astype(str)))
            total = _mixed(total * odd ^ hash_pandas_object(column, index=False).to_numpy())
        return total
    flat = np.ascontiguousarray(np.asarray(x).reshape(len(x), -1))
    if flat.dtype.kind not in "biuf":
        flat = flat.astype(str)
        for j in range(flat.shape[1]):
            total = _mixed(total * odd ^ hash_array(flat[:, j].astype(object)))
        return total
    return _bytes_hashed(flat)


def _bytes_hashed(flat: NDArray[Any]) -> NDArray[np.uint64]:
    """Multilinear hash of rows of numbers (Carter and Wegman, 1979)."""
    if flat.dtype.kind == "f":
        flat = np.where(np.isnan(flat), np.asarray(np.nan, flat.dtype), flat + 0)  # one NaN, one 0
    raw = flat.view(np.uint8).reshape(len(flat), -1)
    width = -(-raw.shape[1] // 4) * 4
    factors = np.random.default_rng(1979).integers(1, 2**63, width // 4, dtype=np.uint64)
    out = np.empty(len(flat), dtype=np.uint64)
    size = max(1, 16_000_000 // max(1, width))
    for start in range(0, len(flat), size):
        part = np.zeros((len(raw[start : start + size]), width), dtype=np.uint8)
        part[:, : raw.shape[1]] = raw[start : start + size]
        words = part.view(np.uint32).astype(np.uint64)
        out[start : start + size] = ((words + np.uint64(1)) * factors).sum(axis=1, dtype=np.uint64)
    return _mixed(out)


def _mixed(h: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit of the result depends on every bit of the hash (finaliser of SplitMix64)."""
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@dataclass(frozen=True)
class Contradictions:
    """Equal rows with unequal labels.

    Attributes
    ----------
    groups : int
        Contents that occur more than once.
    conflicting : int
        Those of them with more than one label.
    expected : float
        How many would conflict if equal rows differed as often as nearest neighbours do.
    p : float
        Probability of so many conflicts or more then.
    rows : ndarray, shape (m,), int64
        The rows of the conflicting ones.
    """

    groups: int
    conflicting: int
    expected: float
    p: float
    rows: NDArray[np.int64]

    @property
    def beyond_chance(self) -> bool:
        """Whether there are more than neighbours explain, at 1 %."""
        return self.p <= ALPHA and self.conflicting > 1


def contradictions(contents: Contents, y: NDArray[np.int64], disagreement: float) -> Contradictions:
    """Whether equal rows contradict each other more than nearest neighbours do.

    Equal rows have every reason to agree at least as often as unequal neighbours. Where m rows
    are equal, that all agree has then at least the probability ``(1 - disagreement)**(m - 1)``;
    the number of conflicts is held against a binomial with the mean of these, whose tail is the
    heavier one (Hoeffding, 1956).

    Parameters
    ----------
    contents : Contents
    y : ndarray, shape (n,), int64
    disagreement : float
        Share of contents whose nearest other content has another label, in [0, 1].
    """
    from scipy.stats import binom

    least, most = (np.full(len(contents.first), v) for v in (np.iinfo(np.int64).max, -1))
    np.minimum.at(least, contents.of, y)
    np.maximum.at(most, contents.of, y)
    repeated, conflict = contents.copies > 1, least != most
    groups, count = int(repeated.sum()), int(conflict.sum())
    chance = 1 - (1 - disagreement) ** (contents.copies[repeated] - 1.0)
    mean = float(chance.mean()) if groups else 0.0
    p = float(binom.sf(count - 1, groups, mean)) if groups else 1.0
    return Contradictions(groups, count, mean * groups, p, np.flatnonzero(conflict[contents.of]))
