"""Cores: the fewest columns that still turn the model, and the rows that carry them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crenel.model import Model
from crenel.poisoning.mining.columns import Column
from crenel.poisoning.mining.honing import Hone
from crenel.poisoning.mining.overlap_kernels import first_of_each
from crenel.poisoning.mining.planting import Plant, Stamp, hits
from crenel.poisoning.mining.suspects import PART, WIDTH, Honest, Suspect, tallies
from crenel.subject import Data

#: Hosts of a first look.
HOSTS = 60
#: Share of hosts that must turn beyond those that were so before.
LEAST = 0.12
#: Success that a column's removal may cost.
SLACK = 0.07
#: Share of the honest rows to be expected in a box from which it is filled by them.
MET = 0.6
#: Share of their rows that two suspects have in common where they are one.
SAME = 0.8


@dataclass
class Spent:
    """Rows asked of the model."""

    rows: int = 0


@dataclass(frozen=True)
class Field:
    """Where suspects are planted.

    Attributes
    ----------
    model : Model
    train, honest : Data
        The donors' rows, and the hosts'.
    columns : list of Column
        Of the training rows.
    stamp : callable
        From a plant to its hosts, stamped.
    decided : ndarray, shape (h,)
        The model's decisions on the honest rows as they are.
    spent : Spent
        Rows asked so far.
    held : Honest or None
        The honest rows by the columns' codes.
    """

    model: Model
    train: Data
    honest: Data
    columns: list[Column]
    stamp: Stamp
    decided: NDArray[np.int64]
    spent: Spent
    held: Honest | None = None

    @classmethod
    def of(
        cls,
        model: Model,
        train: Data,
        honest: Data,
        columns: list[Column],
        stamp: Stamp,
        held: Honest | None = None,
    ) -> Field:
        """With the decisions on the honest rows as they are."""
        decided = model.predict(honest.x)
        return cls(model, train, honest, columns, stamp, decided, Spent(len(honest)), held)

    def plant(
        self, suspect: Suspect, hosts: int, rng: np.random.Generator, without: int = -1
    ) -> Plant:
        """An experiment on honest rows of other classes, maybe without one of the columns."""
        others = np.flatnonzero(self.honest.y != suspect.label)
        chosen = rng.choice(others, min(hosts, len(others)), replace=False)
        at = tuple(self.columns[j].position for j in suspect.box if j != without)
        return Plant(at, suspect.rows, chosen, suspect.label)

    def hits(self, plants: Sequence[Plant], rng: np.random.Generator) -> list[NDArray[np.bool_]]:
        """For each plant a mask over its hosts: those decided as hoped for."""
        self.spent.rows += sum(len(p.hosts) for p in plants)
        width = int(np.prod(np.shape(self.honest.x)[1:]))
        return hits(self.model, plants, self.stamp, width, rng)

    def base(self, plant: Plant) -> float:
        """Share of the hosts that get the label as they are."""
        return float((self.decided[plant.hosts] == plant.label).mean())


def firing(field: Field, found: list[Suspect], rng: np.random.Generator) -> list[Suspect]:
    """Those whose values turn honest rows, seen on a few."""
    found = [s for s in found if len(s.rows) and (field.honest.y != s.label).any()]
    plants = [field.plant(s, HOSTS, rng) for s in found]
    got = field.hits(plants, rng)
    return [
        s
        for s, plant, hit in zip(found, plants, got, strict=True)
        if hit.mean() - field.base(plant) >= LEAST
    ]


def cores(
    field: Field, hone: Hone, found: list[Suspect], rng: np.random.Generator
) -> list[Suspect]:
    """Without the columns that the model does not need, and with all rows that carry the rest.

    Each is given as it is, too: where single values of a trigger are met by nature the model may
    obey less than the whole, and the core's rows are not all planted. The strongest come first.
    """
    tally = tallies(field.columns, field.train.y, field.model.k)
    found = [_lean(field, s, tally) for s in found]
    whole = [float(h.mean()) for h in _whole(field, found, rng)]
    small, active = list(found), [i for i, s in enumerate(found) if len(s.box) > 1]
    while active:
        tried = [(i, j) for i in active for j in small[i].box]
        plants = [field.plant(small[i], HOSTS, rng, without=j) for i, j in tried]
        best: dict[int, tuple[float, int]] = {}
        for (i, j), hit in zip(tried, field.hits(plants, rng), strict=True):
            best[i] = max(best.get(i, (-1.0, -1)), (float(hit.mean()), j))
        for i in list(active):
            share, j = best[i]
            if share >= whole[i] - SLACK:
                box = {c: b for c, b in small[i].box.items() if c != j}
                small[i] = replace(small[i], box=box)
            if share < whole[i] - SLACK or len(small[i].box) == 1:
                active.remove(i)
    order = np.argsort([-w for w in whole], kind="stable")
    offered = ((_lean(field, hone.settled(small[i]), tally), found[i]) for i in order)
    return [s for core, full in offered for s in (core, full)[: 1 + (len(full.box) <= WIDTH)]]


def _lean(field: Field, suspect: Suspect, tally: NDArray[np.int64]) -> Suspect:
    """Without intervals that hold a large part of the other classes: theirs, not the pattern's."""
    others = np.arange(tally.shape[2]) != suspect.label
    total = tally[0][:, others].sum()
    box = {
        j: (low, high)
        for j, (low, high) in suspect.box.items()
        if low == high or tally[j, low : high + 1, others].sum() <= PART * total
    }
    return suspect.within(box, field.columns, field.train.y) if box else suspect


def _whole(field: Field, found: list[Suspect], rng: np.random.Generator) -> list[NDArray[np.bool_]]:
    return field.hits([field.plant(s, 2 * HOSTS, rng) for s in found], rng)


def possible(field: Field, found: list[Suspect], most: float) -> list[Suspect]:
    """Those that may be confirmed: of few rows, and not filled by honest rows as by these."""
    share, kept = len(field.honest) / len(field.train), []
    for s in found:
        exact = all(low == high for low, high in s.box.values()) and len(s.box) > 1
        there = 0 if field.held is None or exact else field.held.carry(s)
        if len(s.rows) <= most and there <= MET * share * len(s.rows):
            kept.append(s)
    return kept


def distinct(found: list[Suspect], n: int) -> list[Suspect]:
    """One for each set of rows: the first of those that share most of them."""
    if not found:
        return []
    rows = np.concatenate([s.rows for s in found])
    starts = np.cumsum([0, *(len(s.rows) for s in found)])
    label = np.array([s.label for s in found], dtype=np.int64)
    kept = first_of_each(rows, starts, label, n, SAME)
    return [s for s, keep in zip(found, kept, strict=True) if keep]
