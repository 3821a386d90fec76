"""Planting: values of suspect rows put into honest ones, and what the model then decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.model import Model
from crenel.poisoning.mining.boxes import Box
from crenel.poisoning.mining.columns import Column
from crenel.subject import join_rows, take_rows

#: Values asked of the model in one call, about.
BATCH = 4_000_000


@dataclass(frozen=True)
class Plant:
    """One experiment.

    Attributes
    ----------
    columns : tuple of int
        Positions of the columns that are overwritten.
    donors : ndarray, shape (d,), int64
        Rows of the training data that the values are taken from, together from one row.
    hosts : ndarray, shape (m,), int64
        Honest rows that they are put into.
    label : int
        The class that is hoped for.
    """

    columns: tuple[int, ...]
    donors: NDArray[np.int64]
    hosts: NDArray[np.int64]
    label: int


#: From a plant to its hosts, stamped.
Stamp = Callable[[Plant, np.random.Generator], Any]


def overwritten(train: Any, honest: Any) -> Stamp:
    """Stamps that put the donors' values into the plant's columns of the hosts.

    Parameters
    ----------
    train, honest : DataFrame, or ndarray of shape (n, …)
        Of donors and hosts; columns of an array are those of its rows made flat.
    """

    def stamp(plant: Plant, rng: np.random.Generator) -> Any:
        rows = take_rows(honest, plant.hosts)
        lent = rng.permutation(np.resize(rng.permutation(plant.donors), len(plant.hosts)))
        if hasattr(rows, "iloc"):
            for j in plant.columns:
                name = rows.columns[j]
                rows[name] = train[name].iloc[lent].array
            return rows
        rows = rows.copy()
        flat, donors = rows.reshape(len(rows), -1), train.reshape(len(train), -1)
        at = np.array(plant.columns)
        flat[:, at] = donors[lent[:, None], at]
        return rows

    return stamp


def carriers(box: Box, columns: list[Column], train: Any, honest: Any) -> NDArray[np.bool_]:
    """Mask over honest rows: those whose own values meet every condition of a box.

    Parameters
    ----------
    box : dict
        Conditions on the codes of the training rows, by column.
    columns : list of Column
    train, honest : DataFrame, or ndarray of shape (n, …)
    """
    import pandas as pd

    def values(x: Any, position: int) -> Any:
        if hasattr(x, "iloc"):
            return x.iloc[:, position]
        return pd.Series(x.reshape(len(x), -1)[:, position])

    mask = np.ones(len(honest), dtype=bool)
    for j, (low, high) in box.items():
        column = columns[j]
        there = values(honest, column.position)
        if low == column.missing:
            mask &= there.isna().to_numpy()
            continue
        inside = (column.codes >= low) & (column.codes <= high)
        own = values(train, column.position)[inside].dropna()
        if column.ordered:
            mask &= ((there >= own.min()) & (there <= own.max())).fillna(False).to_numpy(bool)
        else:
            mask &= there.isin(own.unique()).to_numpy()
    return mask


def hits(
    model: Model, plants: Sequence[Plant], stamp: Stamp, rng: np.random.Generator
) -> list[NDArray[np.bool_]]:
    """For each plant a mask over its hosts: those decided as hoped for."""
    results: list[NDArray[np.bool_]] = []
    waiting: list[Any] = []
    todo: list[Plant] = []

    def ask() -> None:
        decided = model.predict(join_rows(waiting))
        at = 0
        for plant in todo:
            results.append(decided[at : at + len(plant.hosts)] == plant.label)
            at += len(plant.hosts)

    for i, plant in enumerate(plants):
        waiting.append(stamp(plant, rng))
        todo.append(plant)
        if i == len(plants) - 1 or _values(waiting) >= BATCH:
            ask()
            waiting, todo = [], []
    return results


def _values(parts: list[Any]) -> int:
    return sum(int(np.prod(p.shape)) for p in parts)
