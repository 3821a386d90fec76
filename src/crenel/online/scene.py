"""The stream as an attack sees it: honest past, honest traffic to come, rows that are judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import Inconclusive, NotApplicable, SubjectError
from crenel.online.learners import Kind, Live, encode, take
from crenel.subject import Data, Learning, take_rows

#: Rows of the stream that are used at most, its latest ones.
MOST_ROWS = 3_000
FEWEST_ROWS = 60
_WARM, _HELD_EVERY, _SLICE_ROWS, _GROUP = 0.6, 3, 64, 5


@dataclass(frozen=True)
class Behaviour:
    """Decisions that must not be turned.

    Attributes
    ----------
    name : str
        "row 17", "slice age>60".
    rows : ndarray of int64
        Positions in the scene. The behaviour is turned when at least half of the decisions on
        them that were right before the attack are wrong.
    aim : ndarray of int64
        For each of them, the wrong class that the attacker wants.
    """

    name: str
    rows: NDArray[np.int64]
    aim: NDArray[np.int64]


@dataclass(frozen=True)
class Scene:
    """Rows of a stream by the part that they play; positions are int64 arrays.

    Attributes
    ----------
    x, y, ids
        Raw rows, class indices (n,), record ids (n,).
    rows : encoded rows
    k : int
        Number of classes.
    past : ndarray
        Learned before the attack, in order.
    traffic : ndarray
        Honest samples that arrive from then on, in order.
    held : ndarray
        Rows from the same time as the traffic that are only judged.
    protected : tuple of (str, ndarray)
        Behaviours named by the user, with their rows.
    """

    x: Any
    y: NDArray[np.int64]
    ids: NDArray[Any]
    rows: Any
    k: int
    past: NDArray[np.int64]
    traffic: NDArray[np.int64]
    held: NDArray[np.int64]
    protected: tuple[tuple[str, NDArray[np.int64]], ...]

    def right(self, live: Live, index: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the learner decides rows as they are labelled, shape of ``index``."""
        if not len(index):
            return np.zeros(0, dtype=bool)
        return np.asarray(live.decide(take(self.rows, index)) == self.y[index])

    def turned(self, live: Live, behaviour: Behaviour) -> bool:
        """Whether a behaviour is turned in this state of the learner."""
        return bool(self.right(live, behaviour.rows).mean() <= 0.5)


def scene_of(learning: Learning, kind: Kind) -> Scene:
    """Cut the latest part of a stream into past (60 %), traffic and held-out rows.

    Raises
    ------
    NotApplicable
        Where the labels are values, not classes.
    Inconclusive
        Where the stream is shorter than `FEWEST_ROWS` or holds one class only.
    SubjectError
        Where a protected behaviour names no row.
    """
    stream = learning.stream
    if stream.y.dtype.kind not in "iub":
        raise NotApplicable("the stream's labels are values; this measures decisions")
    n, k = len(stream), int(stream.y.max(initial=0)) + 1
    if n < FEWEST_ROWS or k < 2:
        raise Inconclusive(f"the stream has {n} rows of {k} classes; give {FEWEST_ROWS} of two")
    tail = np.arange(max(0, n - MOST_ROWS), n)
    named = [(name, _named_rows(stream, name)) for name in learning.protect]
    extra = np.setdiff1d(np.concatenate([r for _, r in named] or [tail[:0]]), tail)
    chosen = np.concatenate([tail, extra])
    place = {int(row): i for i, row in enumerate(chosen)}
    late = np.arange(int(_WARM * len(tail)), len(tail))
    is_held = np.arange(len(late)) % _HELD_EVERY == _HELD_EVERY - 1
    x = take_rows(stream.x, chosen)
    return Scene(
        x=x,
        y=stream.y[chosen].astype(np.int64),
        ids=stream.ids[chosen],
        rows=encode(x, kind),
        k=k,
        past=np.arange(late[0]),
        traffic=late[~is_held],
        held=late[is_held],
        protected=tuple(
            (name, np.array([place[int(r)] for r in rows], dtype=np.int64)) for name, rows in named
        ),
    )


def _named_rows(stream: Data, name: str) -> NDArray[np.int64]:
    """Positions in the stream of a protected behaviour, the latest ones of a large slice."""
    what, _, value = name.partition(":")
    if what == "row":
        found = np.flatnonzero(stream.ids.astype(str) == value.strip())[:1]
    elif what == "slice" and stream.is_table:
        try:
            found = np.flatnonzero(stream.x.eval(value).to_numpy(dtype=bool))
        except (ValueError, TypeError, SyntaxError, NameError, KeyError, AttributeError) as error:
            raise SubjectError(
                f"protect: {value!r} is not a condition on the stream's columns ({error}); "
                "write it as in pandas query: slice:age>60"
            ) from error
    else:
        raise SubjectError(f"protect: {name!r} is neither row:ID nor, on a table, slice:CONDITION")
    if not len(found):
        raise SubjectError(f"protect: {name!r} names no row of the stream")
    return found[-_SLICE_ROWS:].astype(np.int64)


def behaviours(scene: Scene, live: Live, rng: np.random.Generator, count: int) -> list[Behaviour]:
    """Choose what is attacked: the protected ones, the largest group, then random held-out rows.

    Parameters
    ----------
    scene : Scene
    live : Live
        In the state before the attack: only rows that it decides rightly are attacked.
    rng : numpy.random.Generator
    count : int
        How many behaviours at most.
    """
    space = coordinates(scene.x)
    names: list[tuple[str, NDArray[np.int64]]] = [
        (name.replace(":", " ", 1), rows) for name, rows in scene.protected
    ]
    group = largest_group(scene)
    if group is not None:
        names.append(group)
    names += [(f"row {scene.ids[i]}", np.array([i])) for i in rng.permutation(scene.held)]
    chosen: list[Behaviour] = []
    for name, rows in names:
        kept = rows[scene.right(live, rows)]
        # A group that is mostly wrong already is not a behaviour that could be turned.
        if len(kept) * 2 > len(rows):
            aim = np.array([_aim(scene, space, i) for i in kept.tolist()], dtype=np.int64)
            chosen.append(Behaviour(name, kept, aim))
        if len(chosen) >= count:
            break
    return chosen


def largest_group(scene: Scene) -> tuple[str, NDArray[np.int64]] | None:
    """The largest group of held-out rows that share a value of one column and are no majority.

    Where no column of a table has such a value, and on arrays, the rows of the most frequent
    class are the group.
    """
    best: tuple[int, str, NDArray[np.int64]] | None = None
    if hasattr(scene.x, "iloc"):
        held = scene.x.iloc[scene.held]
        for column in held.columns:
            counts = held[column].value_counts()
            counts = counts[counts <= len(held) / 2]
            if 0 < held[column].nunique() <= 20 and len(counts):
                value, size = counts.index[0], int(counts.iloc[0])
                if size > (best[0] if best else _GROUP - 1):
                    rows = scene.held[(held[column] == value).to_numpy(dtype=bool)]
                    best = (size, f"slice {column}={value}", rows)
    if best is None:
        label = int(np.bincount(scene.y[scene.held]).argmax())
        best = (0, f"class {label}", scene.held[scene.y[scene.held] == label])
    return (best[1], best[2][-_SLICE_ROWS:]) if len(best[2]) >= _GROUP else None


def _aim(scene: Scene, space: NDArray[np.float64], row: int) -> int:
    """The class of the nearest past row that is labelled otherwise."""
    other = scene.past[scene.y[scene.past] != scene.y[row]]
    if not len(other):
        return int((scene.y[row] + 1) % scene.k)
    return int(scene.y[other[nearest(space, row, other, 1)[0]]])


def nearest(
    space: NDArray[np.float64], row: int, among: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """Positions within ``among`` of the nearest rows, nearest first."""
    distance = np.abs(space[among] - space[row]).sum(axis=1)
    return np.argsort(distance, kind="stable")[:count]


def coordinates(x: Any) -> NDArray[np.float64]:
    """Rows as points (n, d): numbers standardised, missing at the mean, categories one-hot."""
    if not hasattr(x, "iloc"):
        return _standard(np.reshape(x, (len(x), -1)).astype(np.float64))
    import pandas as pd

    parts: list[NDArray[np.float64]] = []
    for column in x.columns:
        values = x[column]
        if values.dtype.kind in "biuf":
            parts.append(_standard(values.to_numpy(dtype=np.float64)[:, None]))
        else:
            codes = pd.factorize(values)[0]
            top = np.bincount(codes[codes >= 0]).argsort()[::-1][:50]
            parts.append((codes[:, None] == top).astype(np.float64))
    return np.concatenate(parts, axis=1)


def _standard(a: NDArray[np.float64]) -> NDArray[np.float64]:
    finite = np.where(np.isfinite(a), a, np.nan)
    known = np.isfinite(a).any(axis=0)
    centre = np.where(known, np.nanmean(np.where(known, finite, 0.0), axis=0), 0.0)
    spread = np.where(known, np.nanstd(np.where(known, finite, 0.0), axis=0), 1.0)
    return np.nan_to_num((finite - centre) / np.where(spread > 0, spread, 1.0))
