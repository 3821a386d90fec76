"""What an attacker feeds: copies, near copies within the data's range, flips; or honest rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.online.learners import Kind, Live, Snapshot, encode, take
from crenel.online.scene import Behaviour, Scene, coordinates, nearest
from crenel.subject import take_rows

_NEIGHBOURS, _MIXED, _POOL = 10, 0.3, 32


@dataclass(frozen=True)
class Poison:
    """An endless supply of samples: a pool of encoded rows with labels, gone through in turn."""

    rows: Any
    y: NDArray[np.int64]

    def take(self, start: int, count: int) -> tuple[Any, NDArray[np.int64]]:
        """Samples number ``start`` to ``start + count - 1``."""
        index = (start + np.arange(count)) % len(self.y)
        return take(self.rows, index), self.y[index]


def copies(scene: Scene, behaviour: Behaviour) -> Poison:
    """The attacked rows themselves, wrongly labelled."""
    return Poison(take(scene.rows, behaviour.rows), behaviour.aim)


def near_copies(scene: Scene, behaviour: Behaviour, kind: Kind, rng: np.random.Generator) -> Poison:
    """Rows like the attacked ones with wrong labels: no two need be equal.

    Each takes about a third of its values from near honest rows of the past, column by column,
    so that every value is one that honest samples have.
    """
    index = np.resize(np.arange(len(behaviour.rows)), max(_POOL, len(behaviour.rows)))
    return Poison(encode(_mix(scene, behaviour.rows[index], rng), kind), behaviour.aim[index])


def far_copies(scene: Scene, behaviour: Behaviour, kind: Kind, rng: np.random.Generator) -> Poison:
    """Wrongly labelled copies with some values at the ends of the past rows' ranges.

    A step of a linear learner grows with its input, so that such rows weigh more than copies.
    """
    index = np.resize(np.arange(len(behaviour.rows)), _POOL)
    rows = take_rows(scene.x, behaviour.rows[index])
    change = rng.random((len(index), _width(rows))) < _MIXED
    past = take_rows(scene.x, scene.past)
    return Poison(encode(_to_ends(rows, past, change, rng), kind), behaviour.aim[index])


def flips(scene: Scene, rng: np.random.Generator, count: int) -> Poison:
    """Random honest rows of past and traffic, each with another class than its own."""
    index = rng.choice(np.concatenate([scene.past, scene.traffic]), max(1, count))
    wrong = (scene.y[index] + rng.integers(1, scene.k, len(index))) % scene.k
    return Poison(take(scene.rows, index), wrong)


def honest(scene: Scene, rng: np.random.Generator, count: int) -> Poison:
    """Random honest rows of past and traffic as they are: what the control feeds."""
    index = rng.choice(np.concatenate([scene.past, scene.traffic]), max(1, count))
    return Poison(take(scene.rows, index), scene.y[index])


def strongest(start: Snapshot, pools: list[Poison], scene: Scene, b: Behaviour) -> Poison:
    """Of many samples the one that lowers the score of the right classes most (greedy).

    Parameters
    ----------
    start : Snapshot
        The state in which each candidate is tried, fed once (a whole batch to batch learners).
    pools : list of Poison
        At most 16 samples of them are tried, evenly spaced.
    """
    sizes = [len(pool.y) for pool in pools]
    offered = [(pool, i) for pool, size in zip(pools, sizes, strict=True) for i in range(size)]
    tried = [
        offered[i] for i in np.linspace(0, len(offered) - 1, min(16, len(offered))).astype(int)
    ]
    count = 1 if start.kind == "river" else start.batch
    singles = [Poison(*pool.take(i, 1)) for pool, i in tried]
    left = []
    for single in singles:
        live = start.restore()
        live.learn(*single.take(0, count))
        left.append(_standing(live, scene, b))
    return singles[int(np.argmin(left))]


def _standing(live: Live, scene: Scene, b: Behaviour) -> float:
    """Mean score of the right class over the rows of a behaviour."""
    labels = scene.y[b.rows]
    return float(
        np.mean(
            [
                live.scores(take(scene.rows, b.rows[labels == label]), int(label)).mean()
                for label in np.unique(labels)
            ]
        )
    )


def _mix(scene: Scene, targets: NDArray[np.int64], rng: np.random.Generator) -> Any:
    """Raw copies of rows in which some values come from one of their near past rows."""
    space = coordinates(scene.x)
    donors = np.empty(len(targets), dtype=np.int64)
    for target in np.unique(targets):
        at = np.flatnonzero(targets == target)
        near = scene.past[nearest(space, int(target), scene.past, _NEIGHBOURS)]
        donors[at] = rng.choice(near, len(at))
    own, other = take_rows(scene.x, targets), take_rows(scene.x, donors)
    change = rng.random((len(targets), _width(own))) < _MIXED
    if hasattr(own, "iloc"):
        return own.mask(change, other)
    return np.where(change.reshape(own.shape), other, own)


def _to_ends(rows: Any, past: Any, change: NDArray[np.bool_], rng: np.random.Generator) -> Any:
    """Rows with the marked numeric values at an end of the past's range."""
    up = rng.random(change.shape) < 0.5
    if not hasattr(rows, "iloc"):
        low, high = np.nanmin(past, axis=0), np.nanmax(past, axis=0)
        return np.where(
            change.reshape(rows.shape), np.where(up.reshape(rows.shape), high, low), rows
        )
    out = rows.copy()
    for j, column in enumerate(rows.columns):
        if rows[column].dtype.kind in "iuf":
            ends = np.where(up[:, j], past[column].max(), past[column].min())
            out[column] = np.where(change[:, j], ends, rows[column])
    return out


def _width(rows: Any) -> int:
    return int(rows.shape[1]) if hasattr(rows, "iloc") else int(np.prod(rows.shape[1:]))
