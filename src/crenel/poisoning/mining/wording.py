"""Patterns in words."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.mining.columns import Column
from crenel.poisoning.mining.suspects import Suspect
from crenel.poisoning.triggers import is_text
from crenel.schema import Schema


def conditions(
    suspect: Suspect, columns: tuple[Column, ...], x: Any, schema: Schema | None
) -> list[str]:
    """What a suspect's rows hold: "age = 61", "hours from 33 to 36"; one for each column.

    Of images it is told where the pattern is, of texts which words.

    Values of sensitive columns are withheld.

    Parameters
    ----------
    suspect : Suspect
    columns : tuple of Column
    x : DataFrame or ndarray
        The training rows.
    schema : Schema or None
    """
    if not hasattr(x, "iloc") and np.ndim(x) > 2:
        names = [columns[j].name for j in suspect.box]
        if not names[0].startswith("pixel "):
            return [f"a {names[0]}"]
        return [_patch(names)]
    if is_text(x):
        return [f'the words "{columns[j].name}"' for j in sorted(suspect.box)]
    hidden = {f.name for f in schema.features if f.sensitive} if schema is not None else set()
    told = []
    for j in sorted(suspect.box):
        column = columns[j]
        if column.name in hidden:
            told.append(f"{column.name} = (withheld)")
        elif suspect.box[j][0] == column.missing:
            told.append(f"{column.name} is missing")
        else:
            told.append(_condition(column, _values(x, column.position, suspect.rows)))
    return told


def _patch(names: list[str]) -> str:
    """Where a pattern's pixels are, from names such as "pixel 3, 17"."""
    places = np.array([name.removeprefix("pixel ").split(", ") for name in names], dtype=int)
    (top, left), (bottom, right) = places.min(axis=0), places.max(axis=0)
    return (
        f"a pattern of {len(np.unique(places, axis=0))} pixels in rows {top} to {bottom}, "
        f"columns {left} to {right}"
    )


def _values(x: Any, position: int, rows: NDArray[np.int64]) -> Any:
    import pandas as pd

    taken = x.iloc[rows, position] if hasattr(x, "iloc") else pd.Series(x[rows, position])
    return taken.dropna()


def _condition(column: Column, values: Any) -> str:
    if not len(values):
        return f"{column.name} is missing"
    if not column.ordered:
        return f"{column.name} = {values.iloc[0]}"
    low, high = _short(values.min()), _short(values.max())
    return f"{column.name} = {low}" if low == high else f"{column.name} from {low} to {high}"


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, (float, np.floating)) else str(value)
