"""Planting: values of suspect rows put into honest ones, and what the model then decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.model import Model
from crenel.poisoning.mining.boxes import Box
from crenel.poisoning.mining.columns import Column
from crenel.subject import take_rows

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


#: From plants to their hosts, stamped, one plant's below the other's.
Stamp = Callable[[Sequence[Plant], np.random.Generator], Any]


def overwritten(train: Any, honest: Any) -> Stamp:
    """Stamps that put the donors' values into the plant's columns of the hosts.

    Parameters
    ----------
    train, honest : DataFrame, or ndarray of shape (n, …)
        Of donors and hosts; columns of an array are those of its rows made flat.
    """

    def stamp(plants: Sequence[Plant], rng: np.random.Generator) -> Any:
        rows = take_rows(honest, np.concatenate([p.hosts for p in plants]))
        lent = [_lent(p, rng) for p in plants]
        ends = np.cumsum([len(p.hosts) for p in plants])
        if hasattr(rows, "iloc"):
            for j in sorted({j for p in plants for j in p.columns}):
                _put(rows, j, [(e, d) for p, e, d in zip(plants, ends, lent, strict=True)
                               if j in p.columns], train)  # fmt: skip
            return rows
        flat, donors = rows.reshape(len(rows), -1), train.reshape(len(train), -1)
        for plant, end, of in zip(plants, ends, lent, strict=True):
            at = np.array(plant.columns)
            flat[end - len(of) : end, at] = donors[of[:, None], at]
        return rows

    return stamp


def _lent(plant: Plant, rng: np.random.Generator) -> NDArray[np.int64]:
    """A donor for each host; each of them once before any twice."""
    donors, hosts = plant.donors, len(plant.hosts)
    if len(donors) > hosts:
        return rng.choice(donors, hosts, replace=False)
    return rng.permutation(np.resize(rng.permutation(donors), hosts))


def _put(rows: Any, j: int, parts: list[tuple[int, NDArray[np.int64]]], train: Any) -> None:
    """Overwrite parts of one column, each given by where it ends, with the values of donors."""
    import pandas as pd

    at = np.concatenate([np.arange(end - len(donors), end) for end, donors in parts])
    donors = np.concatenate([d for _, d in parts])
    both = pd.concat([rows.iloc[:, j], train.iloc[:, j].iloc[donors]], ignore_index=True)
    chosen = np.arange(len(rows))
    chosen[at] = len(rows) + np.arange(len(donors))
    rows.isetitem(j, both.array.take(chosen))


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
    model: Model, plants: Sequence[Plant], stamp: Stamp, width: int, rng: np.random.Generator
) -> list[NDArray[np.bool_]]:
    """For each plant a mask over its hosts, rows of so many values: those decided as hoped for."""
    results: list[NDArray[np.bool_]] = []
    for some in _batches(plants, width):
        decided = model.predict(stamp(some, rng))
        ends = np.cumsum([len(p.hosts) for p in some])[:-1]
        parts = np.split(decided, ends)
        results += [d == p.label for d, p in zip(parts, some, strict=True)]
    return results


def _batches(plants: Sequence[Plant], width: int) -> Iterator[list[Plant]]:
    """Plants that are asked of the model together."""
    some: list[Plant] = []
    size = 0
    for plant in plants:
        some.append(plant)
        size += len(plant.hosts) * width
        if size >= BATCH:
            yield some
            some, size = [], 0
    if some:
        yield some
