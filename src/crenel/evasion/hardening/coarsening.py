"""Columns taken from a model, or told to it in few steps: a transformer for any Pipeline."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin


class CoarseFields(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Replaces columns by one constant, or by the middle of the bucket that a number falls into.

    Parameters
    ----------
    removed : tuple of str
        Columns that take one and the same value: the median, or the most frequent value.
    bucketed : tuple of str
        Columns of numbers that take one of at most ``buckets`` values, parted at quantiles.
    buckets : int
        At least 2.
    """

    def __init__(
        self, removed: tuple[str, ...] = (), bucketed: tuple[str, ...] = (), buckets: int = 4
    ) -> None:
        self.removed, self.bucketed, self.buckets = removed, bucketed, buckets

    def fit(self, x: Any, y: Any = None) -> CoarseFields:
        """Learn constants and buckets from a frame."""
        self.feature_names_in_ = np.asarray([str(c) for c in x.columns], dtype=object)
        self.n_features_in_ = len(x.columns)
        self.constants_ = {name: constant_of(x[name]) for name in self.removed}
        self.steps_ = {name: buckets_of(x[name], self.buckets) for name in self.bucketed}
        return self

    def transform(self, x: Any) -> Any:
        """The frame with those columns replaced; missing numbers stay missing."""
        changed = x.copy()
        for name, value in self.constants_.items():
            changed[name] = _filled(x[name], value)
        for name, (edges, middles) in self.steps_.items():
            values = x[name].to_numpy(dtype=np.float64, na_value=np.nan)
            stepped = middles[np.searchsorted(edges, values, side="left").clip(max=len(edges))]
            changed[name] = np.where(np.isnan(values), np.nan, stepped)
        return changed


def constant_of(column: Any) -> Any:
    """The median of numbers (one that occurs), the most frequent of other values."""
    known = column.dropna()
    if getattr(column.dtype, "kind", "O") in "iuf" and len(known):
        return known.sort_values().iloc[len(known) // 2]
    return known.mode().iloc[0] if len(known) else None


def buckets_of(column: Any, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Edges between buckets of about as many rows, and the median in each bucket."""
    values = column.dropna().to_numpy(dtype=np.float64)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, count + 1)[1:-1]))
    inside = np.searchsorted(edges, values, side="left")
    kept = np.unique(inside)
    middles = np.array([np.median(values[inside == k]) for k in kept])
    return edges[kept[:-1]], middles


def _filled(column: Any, value: Any) -> Any:
    import pandas as pd

    return pd.Series([value] * len(column), index=column.index, name=column.name).astype(
        column.dtype
    )
