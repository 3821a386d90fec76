"""What an attacker asks a model in order to copy it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.data.constraints import truth
from crenel.schema import Schema
from crenel.subject import join_rows, take_rows


def make_queries(known: Any, n: int, rng: np.random.Generator, schema: Schema | None = None) -> Any:
    """Rows to ask: those that the attacker has, then ever more that are made of them.

    Of the made rows of a table, half take each column from either of two known rows, and half
    take every column from a row of its own: realistic values, in realistic and in unseen
    combinations. Rows that break a rule of the schema are left out. Arrays such as images are
    mixed of two known ones, with a share drawn evenly from [0, 1].

    Parameters
    ----------
    known : DataFrame or ndarray, m rows
        Rows like those that the model is used on, that the attacker has.
    n : int
        Number of rows wanted.
    rng : numpy.random.Generator
    schema : Schema, optional
        Row-wise rules of a table.

    Returns
    -------
    DataFrame or ndarray
        At most n rows; fewer where the rules leave too few.
    """
    own = take_rows(known, rng.permutation(len(known))[:n])
    missing = n - len(own)
    if missing <= 0:
        return own
    made = _crossed(own, missing, rng) if hasattr(own, "iloc") else _mixed(own, missing, rng)
    if schema is not None and schema.constraints:
        made = take_rows(made, np.flatnonzero(_legal(made, schema)))
    return join_rows([own, made])


def _crossed(known: Any, n: int, rng: np.random.Generator) -> Any:
    """New rows of a table, column by column from known ones."""
    parents = rng.integers(0, len(known), (n, 2))
    free = rng.random(n) < 0.5
    columns = {}
    for j, name in enumerate(known.columns):
        side = rng.integers(0, 2, n)
        donor = np.where(free, rng.integers(0, len(known), n), parents[np.arange(n), side])
        columns[name] = known.iloc[:, j].iloc[donor].reset_index(drop=True)
    import pandas as pd

    return pd.DataFrame(columns)


def _mixed(known: NDArray[Any], n: int, rng: np.random.Generator) -> NDArray[Any]:
    """New arrays between two known ones."""
    one, two = known[rng.integers(0, len(known), n)], known[rng.integers(0, len(known), n)]
    share = rng.random((n,) + (1,) * (known.ndim - 1))
    mixed: NDArray[Any] = (share * one + (1 - share) * two).astype(known.dtype)
    return mixed


def _legal(rows: Any, schema: Schema) -> NDArray[np.bool_]:
    """Which rows of a table keep every rule."""
    ok = np.ones(len(rows), dtype=bool)
    for rule in schema.constraints:
        ok &= truth(rule, rows)
    return ok
