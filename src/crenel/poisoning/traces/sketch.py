"""Rows of any kind as short vectors whose distances are about those of the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Length of a row's vector: distances are right to about an eighth.
WIDTH = 32
#: Numbers that are converted at a time.
NUMBERS = 4_000_000
#: Rows from which the scales of columns are estimated.
SCALE_ROWS = 20_000
#: Texts longer than this on average, or of more words, are compared by their words.
TEXT_CHARACTERS, TEXT_WORDS = 40, 4


def sketch(x: Any, seed: int = 0) -> NDArray[np.float32]:
    """Rows as vectors whose Euclidean distances are about those of the rows.

    Numbers are centred at their median, scaled by their interquartile range (by their standard
    deviation where that is 0) and compressed by asinh, so that no heavy tail rules the distance;
    of arrays with more than two axes all numbers share one scale. Two categories are at the
    distance 1, and so are missing and present. Long texts are compared by their words. Everything
    is projected at random (Johnson and Lindenstrauss, 1984), a category by a random vector of its
    own, so that the width of a one-hot table never arises. Equal rows have equal vectors.

    Parameters
    ----------
    x : DataFrame or ndarray, n rows
    seed : int
        Of the projection.

    Returns
    -------
    ndarray, shape (n, 32), float32
    """
    rng = np.random.default_rng(seed)
    if not hasattr(x, "iloc"):
        flat = np.asarray(x).reshape(len(x), -1)
        return _numbers(lambda rows: flat[rows], flat.shape, rng, one_scale=np.ndim(x) > 2)
    kinds = [_kind(x.iloc[:, i]) for i in range(x.shape[1])]
    numeric = x.iloc[:, [i for i, kind in enumerate(kinds) if kind == "number"]]
    out = _numbers(lambda rows: numeric.iloc[rows].to_numpy(np.float64), numeric.shape, rng)
    for i, kind in enumerate(kinds):
        if kind == "text":
            out += _texts(x.iloc[:, i], rng)
        elif kind == "category":
            codes, values = _codes(x.iloc[:, i])
            vectors = rng.standard_normal((len(values) + 1, WIDTH)).astype(np.float32)
            out += (vectors / np.float32((2 * WIDTH) ** 0.5))[codes]
    return out


def _numbers(
    take: Any, shape: tuple[int, ...], rng: np.random.Generator, one_scale: bool = False
) -> NDArray[np.float32]:
    """Columns of numbers, projected chunk by chunk; ``take`` gives the rows of a slice."""
    n, d = shape
    out = np.zeros((n, WIDTH), dtype=np.float32)
    if not d or not n:
        return out
    directions, absent = (
        rng.standard_normal((d, WIDTH)).astype(np.float32) / np.float32(WIDTH**0.5) for _ in "ab"
    )
    centre, scale = _scales(take(slice(0, n, n // SCALE_ROWS + 1)), one_scale)
    size = max(1, NUMBERS // d)
    for start in range(0, n, size):
        rows = slice(start, start + size)
        part = (np.asarray(take(rows), dtype=np.float32) - centre) / scale
        missing = ~np.isfinite(part)
        if missing.any():
            out[rows] = missing.astype(np.float32) @ absent
            part[missing] = 0.0
        out[rows] += (part if one_scale else np.arcsinh(part)) @ directions
    return out


def _scales(some: NDArray[Any], one_scale: bool) -> tuple[Any, Any]:
    """Centre and scale of each column, or of all numbers at once, shapes (d,) or ()."""
    some = np.asarray(some, dtype=np.float64)
    some = np.where(np.isfinite(some), some, np.nan)
    if one_scale:
        return np.float32(np.nanmean(some)), np.float32(np.nanstd(some) or 1.0)
    some = np.where(np.isnan(some).all(axis=0), 0.0, some)
    low, centre, high = np.nanpercentile(some, [25, 50, 75], axis=0)
    scale, spread = (high - low) / 1.349, np.nanstd(some, axis=0)
    scale = np.where(scale > 0, scale, np.where(spread > 0, spread, 1.0))
    return centre.astype(np.float32), scale.astype(np.float32)


def _kind(column: Any) -> str:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    if is_numeric_dtype(column.dtype) and not is_bool_dtype(column.dtype):
        return "number"
    if column.dtype.kind == "b" or column.dtype.kind in "mM" or hasattr(column, "cat"):
        return "number" if column.dtype.kind in "mM" else "category"
    some = column.iloc[:: len(column) // 2000 + 1].dropna().astype(str)
    if not len(some) or some.nunique() <= 0.5 * len(some):
        return "category"
    long = some.str.len().mean() > TEXT_CHARACTERS
    wordy = some.str.count(r"\s+").mean() + 1 >= TEXT_WORDS
    return "text" if long or wordy else "category"


def _codes(column: Any) -> tuple[NDArray[np.int64], Any]:
    """Codes of a column's values, and the values; the last code is for missing ones."""
    import pandas as pd

    if hasattr(column, "cat"):
        codes, values = column.cat.codes.to_numpy(), column.cat.categories
    else:
        codes, values = pd.factorize(column)
    return np.where(codes < 0, len(values), codes), values


def _texts(column: Any, rng: np.random.Generator) -> NDArray[np.float32]:
    """Bags of words, in lower case, of length 1: without a word in common at the distance 1.4."""
    from sklearn.feature_extraction.text import HashingVectorizer

    words = HashingVectorizer(n_features=2**15, alternate_sign=False)
    directions = rng.standard_normal((2**15, WIDTH)).astype(np.float32) / np.float32(WIDTH**0.5)
    out = np.empty((len(column), WIDTH), dtype=np.float32)
    for start in range(0, len(column), 20_000):
        part = column.iloc[start : start + 20_000]
        out[start : start + 20_000] = words.transform(part.fillna("").astype(str)) @ directions
    return out
