"""Poison of our own, planted in this very data: how much of it goes unnoticed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.poisoning.traces.planting import Numbers, collisions, noisy_copies
from crenel.poisoning.traces.search import Crowding, crowding
from crenel.subject import Data, join_rows, take_rows

#: Copies of one row, or collisions with one target.
COPIES = (2, 4, 6, 10, 20, 50)
#: Clusters of each size and kind, over all rounds.
WANTED = 30
#: Share of the rows that may be planted at once: more would hide itself among itself.
MOST = 0.015
#: Rounds at most: up to so many rows, up to more, and beyond.
ROUNDS, SMALL, LARGE = (24, 3, 1), 20_000, 50_000
#: Random halves that are searched, and rows of one at most.
HALVES, HALF_ROWS = 10, 100_000

KINDS = ("copies", "collisions")


@dataclass
class Tally:
    """Planted and unnoticed clusters.

    Attributes
    ----------
    planted, unnoticed : dict of (kind, copies) to int
        A cluster is noticed where half of its rows or more are blamed.
    rows, alarms : int
        Rows that were blamed in all rounds, and those of them that nobody planted and that are
        not blamed without the plants.
    rounds : int
    """

    planted: dict[tuple[str, int], int] = field(default_factory=dict)
    unnoticed: dict[tuple[str, int], int] = field(default_factory=dict)
    rows: int = 0
    alarms: int = 0
    rounds: int = 0


def probe(data: Data, y: NDArray[np.int64], clean: Crowding, context: Context) -> Tally:
    """Plant noisy copies and collisions again and again, search, and count.

    Parameters
    ----------
    data : Data
    y : ndarray, shape (n,), int64
    clean : Crowding
        Of the data as they are.
    context : Context
        Its deadline ends the rounds; one is always done.
    """
    tally = Tally()
    rounds = ROUNDS[(len(y) > SMALL) + (len(y) > LARGE)]
    already = set(clean.blamed.tolist())
    for i in range(rounds):
        if i and (context.expired or _enough(tally)):
            break
        rng = context.rng("probe", i)
        planted, labels, cluster, names = plant(data, y, clean, tally, rng)
        found = crowding(planted, labels, context.derive_seed("crowding")).blamed
        _count(tally, cluster, names, found, already)
        context.progress(0.3 + 0.7 * (i + 1) / rounds)
    return tally


def _enough(tally: Tally) -> bool:
    return all(tally.planted.get((kind, m), 0) >= WANTED for kind in KINDS for m in COPIES)


def plant(
    data: Data,
    y: NDArray[np.int64],
    clean: Crowding,
    tally: Tally,
    rng: np.random.Generator,
) -> tuple[Data, NDArray[np.int64], NDArray[np.int64], list[tuple[str, int]]]:
    """The data with clusters added: first of what was planted least so far.

    Returns
    -------
    data : Data
    y : ndarray, shape (n + m,), int64
    cluster : ndarray, shape (n + m,), int64
        Which of the clusters each row is in; -1 for the rows that were there.
    names : list of (kind, copies)
    """
    n = len(y)
    room = max(round(MOST * n), 2 * max(4, min(COPIES)))
    parts, labels, sizes = [data.x], [y], []
    names: list[tuple[str, int]] = []
    numbers = Numbers.of(data.x) if data.is_table else None
    sizes_that_fit = [m for m in COPIES if m <= room] or [min(COPIES)]
    while room > 0 and len(names) < 2 * WANTED * len(COPIES):
        open_ = [(k, m) for k in KINDS for m in sizes_that_fit if m <= room]
        counts = [tally.planted.get(key, 0) + names.count(key) for key in open_]
        if not open_ or min(counts) >= WANTED:
            break
        kind, m = open_[int(np.argmin(counts))]
        rows, label = _cluster(data, y, clean, kind, m, rng, numbers)
        parts.append(rows)
        labels.append(np.full(m, label))
        names.append((kind, m))
        sizes.append(m)
        room -= m
    cluster = np.append(np.full(n, -1), np.repeat(np.arange(len(sizes)), sizes)).astype(np.int64)
    together = np.concatenate(labels).astype(np.int64)
    ids = np.arange(len(together))
    return Data(join_rows(parts), together, ids), together, cluster, names


def _cluster(
    data: Data,
    y: NDArray[np.int64],
    clean: Crowding,
    kind: str,
    m: int,
    rng: np.random.Generator,
    numbers: Numbers | None,
) -> tuple[Any, int]:
    """Rows of one cluster and their label."""
    row = _decided(clean, y, rng)
    k = int(y.max()) + 1
    label = int((y[row] + rng.integers(1, k)) % k)
    if kind == "copies" or not (y == label).any():
        return noisy_copies(data.x, row, m, rng, numbers=numbers), label
    target = take_rows(data.x, np.array([row]))
    bases = rng.choice(np.flatnonzero(y == label), m)
    return collisions(data.x, bases, target, numbers=numbers), label


def _decided(clean: Crowding, y: NDArray[np.int64], rng: np.random.Generator) -> int:
    """A row whose nearest neighbours mostly share its label: one that a model would decide."""
    dense, contents = clean.density, clean.contents
    for _ in range(50):
        row = int(rng.integers(len(y)))
        if dense is None:
            break
        near = dense.neighbours[contents.of[row]]
        near = contents.first[near[near >= 0]]
        if (y[near] == y[row]).mean() > 0.5:
            return row
    return row


def _count(
    tally: Tally,
    cluster: NDArray[np.int64],
    names: list[tuple[str, int]],
    found: NDArray[np.int64],
    already: set[int],
) -> None:
    blamed = np.zeros(len(cluster), dtype=bool)
    blamed[found] = True
    for i, key in enumerate(names):
        tally.planted[key] = tally.planted.get(key, 0) + 1
        missed = blamed[cluster == i].mean() < 0.5
        tally.unnoticed[key] = tally.unnoticed.get(key, 0) + int(missed)
    tally.rows += len(found)
    tally.alarms += len(set(found[cluster[found] < 0].tolist()) - already)
    tally.rounds += 1


def halves(data: Data, y: NDArray[np.int64], clean: Crowding, context: Context) -> tuple[int, int]:
    """Search random halves of the data: how often something new is found, and of how many."""
    times = HALVES if len(y) <= SMALL else 2
    already = set(clean.blamed.tolist())
    alarms = done = 0
    for i in range(times):
        if i and context.expired:
            break
        size = min(len(y) // 2, HALF_ROWS)
        rows = np.sort(context.rng("half", i).permutation(len(y))[:size])
        found = crowding(data.take(rows), y[rows], context.derive_seed("half", i)).blamed
        alarms += not already.issuperset(rows[found].tolist())
        done += 1
    return alarms, done
