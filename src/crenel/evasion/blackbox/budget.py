"""Every query of an attack goes through here: legal points only, counted, within the budgets."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import SubjectError
from crenel.evasion.lattice import Lattice

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]
#: Rows in one call of the model: large enough to be fast, small enough for wide rows.
BATCH = 4096
#: Numbers of points heard of that are kept: 80 MB.
HEARD = 20_000_000
#: Smallest probability told from 0, so that logarithms stay finite.
TINY = 1e-38


@dataclass
class Ledger:
    """The model as an attacker asks it, and the best that was found for each row.

    Points are flat and in units of ``scale``; what is asked is their legal neighbour in the
    user's own form, and what counts is the distance of that.

    Attributes
    ----------
    predict : callable
        Rows (m, …) to decisions (m,).
    scores : callable or None
        Rows to scores (m, k); None where decisions alone are seen.
    x : ndarray, shape (n, …)
        Rows as they are, in the user's own form.
    y : ndarray, shape (n,)
        The decisions to be turned.
    norm : float
        0, 1, 2 or inf.
    lattice : Lattice
        Which rows are legal.
    bounds : (low, high)
        Legal range, broadcast against ``x``: equal where a number is fixed.
    scale : ndarray, shape (d,)
        Unit of each number.
    most : int
        Queries for each row.
    total : int or None
        Queries in all.
    deadline : float or None
        On the monotonic clock.
    argmax : bool
        Whether the decision is the largest score, so that scores alone are enough.
    enough : float
        A row whose change is at most this is left alone.
    aside : int
        Rows asked beside the attack, which no row is charged with.
    heard : list of (points, answers) or None
        Latest answers, where a list is given: points (m, d), and scores (m, k) or decisions.

    Notes
    -----
    Where the budget, the time or the model ends, further points count as not turned: what was
    found before stays.
    """

    predict: Callable[[Any], Any]
    scores: Callable[[Any], Any] | None
    x: NDArray[Any]
    y: NDArray[Any]
    norm: float
    lattice: Lattice
    bounds: tuple[Any, Any]
    scale: Floats
    most: int
    total: int | None = None
    deadline: float | None = None
    argmax: bool = False
    enough: float = 0.0
    heard: list[tuple[NDArray[np.float32], NDArray[Any]]] | None = None
    origin: Floats = field(init=False)
    low: Floats = field(init=False)
    high: Floats = field(init=False)
    asked: Rows = field(init=False)
    best: Floats = field(init=False)
    point: Floats = field(init=False)
    witness: NDArray[Any] = field(init=False)
    calls: int = 0
    aside: int = 0
    seconds: float = 0.0
    stopped: str = ""
    trace: list[tuple[Rows, Rows, Floats]] = field(default_factory=list)

    def __post_init__(self) -> None:
        n = len(self.x)
        self.origin = self.x.reshape(n, -1).astype(np.float64) / self.scale
        low, high = (
            np.broadcast_to(np.asarray(b, dtype=np.float64), self.x.shape).reshape(n, -1)
            / self.scale
            for b in self.bounds
        )
        # a row that lies outside the range may stay where it is
        self.low, self.high = np.minimum(low, self.origin), np.maximum(high, self.origin)
        self.asked, self.best = np.zeros(n, dtype=np.int64), np.full(n, math.inf)
        self.point, self.witness = self.origin.copy(), self.x.copy()

    def left(self, rows: Rows) -> Rows:
        """Queries that each row may still ask; none once the attack has stopped."""
        own = np.maximum(self.most - self.asked[rows], 0) * (self.best[rows] > self.enough)
        spare = 0 if self.over else self._spare()
        left: Rows = np.minimum(own, spare)
        return left

    @property
    def coarseness(self) -> float:
        """Length in L2 of a probe that legal steps do not swallow: half a step everywhere."""
        step = np.asarray(self.lattice.step, dtype=np.float64)
        flat = np.broadcast_to(step, self.x.shape[1:]).ravel() / self.scale
        return float(np.linalg.norm(flat)) / 2

    @property
    def over(self) -> bool:
        """Whether time, total budget or the model has ended."""
        if not self.stopped and self.deadline is not None and time.monotonic() > self.deadline:
            self.stopped = "time ran out"
        if not self.stopped and self._spare() <= 0:
            self.stopped = "the total of queries is spent"
        return bool(self.stopped)

    def _spare(self) -> int:
        return 2**62 if self.total is None else self.total - int(self.asked.sum())

    def size(self, rows: Rows, points: Floats) -> Floats:
        """Distances of points from their rows, in the norm."""
        return distance(points - self.origin[rows], self.norm)

    def ask(self, rows: Rows, points: Floats, radius: Floats | None = None) -> tuple[Flags, Floats]:
        """Whether each point turns its row's decision, and by what margin the decision stands.

        Parameters
        ----------
        rows : ndarray of int64, shape (m,)
            May name a row several times.
        points : ndarray of float64, shape (m, d)
        radius : ndarray of float64, shape (m,), optional
            In L-inf, legal neighbours are rounded so that they stay within it.

        Returns
        -------
        turned : ndarray of bool, shape (m,)
        margin : ndarray of float64, shape (m,)
            Of scores: right class less the best other one (their logarithms where they are
            probabilities), negative where turned; of decisions 1 or -1. Infinite where not asked.
        """
        turned, margin = np.zeros(len(rows), dtype=bool), np.full(len(rows), math.inf)
        allowed = np.flatnonzero(self.asked[rows] + _rank(rows) < self.most)
        allowed = allowed[: max(0, self._spare())]
        for start in range(0, len(allowed), BATCH):
            if self.over:
                break
            part = allowed[start : start + BATCH]
            reach = None if radius is None else radius[part]
            turned[part], margin[part] = self._ask(rows[part], points[part], reach)
        return turned, margin

    def _ask(self, rows: Rows, points: Floats, radius: Floats | None) -> tuple[Flags, Floats]:
        legal = self.legal(rows, points, radius)
        begun = time.perf_counter()
        try:
            turned, margin = self._answers(rows, legal)
        except SubjectError as error:
            # what is known already stays; the reason is shown with the result
            self.stopped = f"the model stopped answering: {error}"
            return np.zeros(len(rows), dtype=bool), np.full(len(rows), math.inf)
        self.seconds += time.perf_counter() - begun
        self.calls += 1
        order = self.asked[rows] + _rank(rows) + 1
        np.add.at(self.asked, rows, 1)
        self._note(rows[turned], legal[turned], order[turned])
        return turned, margin

    def legal(self, rows: Rows, points: Floats, radius: Floats | None = None) -> NDArray[Any]:
        """The legal neighbours of points, in the user's own form, shape (m, …)."""
        shape = (len(rows), *self.x.shape[1:])
        moved = (np.clip(points, self.low[rows], self.high[rows]) * self.scale).reshape(shape)
        if self.lattice.free:
            same = (points == self.origin[rows]).reshape(shape)
            cast = np.where(same, self.x[rows], moved.astype(self.lattice.dtype))
            return cast if radius is None else self._within(rows, cast, radius)
        # the tolerance lets steps of float rows through that are at the radius up to rounding
        reach: Any = None
        if radius is not None:
            reach = ((radius * (1 + 1e-6))[:, None] * self.scale).reshape(shape)
        return self.lattice.project(self.x[rows], moved, norm=self.norm, epsilon=reach)

    def _within(self, rows: Rows, cast: NDArray[Any], radius: Floats) -> NDArray[Any]:
        """Numbers that the cast has rounded out of an L-inf ball, one float nearer."""
        if self.norm != math.inf:
            return cast
        own = self.x[rows]
        far = np.abs(cast.astype(np.float64) - own.astype(np.float64)).reshape(len(rows), -1)
        out = (far / self.scale > radius[:, None]).reshape(cast.shape)
        return np.where(out, np.nextafter(cast, own.astype(cast.dtype)), cast)

    def _answers(self, rows: Rows, legal: NDArray[Any]) -> tuple[Flags, Floats]:
        own = self.y[rows]
        if self.scores is None:
            decided = np.asarray(self.predict(legal))
            self._hear(legal, decided)
            turned = decided != own
            return turned, np.where(turned, -1.0, 1.0)
        answers = np.asarray(self.scores(legal), dtype=np.float64)
        self._hear(legal, answers)
        margin = margins(answers, own)
        if self.argmax:
            return margin < 0, margin
        turned = np.asarray(self.predict(legal)) != own
        return turned, margin

    def _hear(self, legal: NDArray[Any], answers: NDArray[Any]) -> None:
        if self.heard is None:
            return
        flat = legal.reshape(len(legal), -1).astype(np.float64) / self.scale
        self.heard.append((flat.astype(np.float32), answers))
        while len(self.heard) > 1 and sum(p.size for p, _ in self.heard) > HEARD:
            self.heard.pop(0)

    def consult(self, rows: Rows, points: Floats) -> NDArray[Any]:
        """Ask about points that are none of the rows'; the rows pay for the answers.

        Parameters
        ----------
        rows : ndarray of int64, shape (m,)
            Share the cost as evenly as can be, and must have as many queries left.
        points : ndarray of float64, shape (p, d)

        Returns
        -------
        ndarray
            Scores (p, k) or decisions (p,); of the first points alone where the model ends.
        """
        parts: list[NDArray[Any]] = []
        free, kind = self.lattice.free, self.lattice.dtype
        for start in range(0, len(points), BATCH):
            part = points[start : start + BATCH]
            moved = (part * self.scale).reshape((len(part), *self.x.shape[1:]))
            legal = moved.astype(kind) if free else self.lattice.project(moved, moved)
            try:
                parts.append(np.asarray((self.scores or self.predict)(legal)))
            except SubjectError as error:
                self.stopped = f"the model stopped answering: {error}"
                break
            self.calls += 1
            self._hear(legal, parts[-1])
            np.add.at(self.asked, rows[(start + np.arange(len(part))) % len(rows)], 1)
        return np.concatenate(parts) if parts else np.zeros(0)

    def _note(self, rows: Rows, legal: NDArray[Any], order: Rows) -> None:
        """Keep what is nearer than all before."""
        flat = legal.reshape(len(rows), self.origin.shape[1]).astype(np.float64) / self.scale
        size = distance(self._moved(flat - self.origin[rows]), self.norm)
        nearer = size < self.best[rows]
        if not nearer.any():
            return
        rows, flat, size, order = rows[nearer], flat[nearer], size[nearer], order[nearer]
        self.trace.append((rows, order, size))
        worst_first = np.argsort(-size, kind="stable")  # of several for one row the last one wins
        at = rows[worst_first]
        self.best[at], self.point[at] = size[worst_first], flat[worst_first]
        self.witness[at] = legal[nearer][worst_first]

    def _moved(self, delta: Floats) -> Floats:
        """Changes in whole steps, where rows of floats hold them up to rounding only.

        A change of 51 steps of 1 / 255 is within 0.2, whatever 32 bits make of it.
        """
        if not np.any(self.lattice.step):
            return delta
        step = np.broadcast_to(np.asarray(self.lattice.step, dtype=np.float64), self.x.shape[1:])
        unit = np.where(step > 0, step, 1.0).ravel() / self.scale
        steps, per = np.round(delta / unit), np.round(1 / unit)
        # dividing gives the very float that a user writes as 8 / 255
        even = np.abs(per * unit - 1) < 1e-9
        whole = np.where(even, steps / np.maximum(per, 1.0), steps * unit)
        near = (step.ravel() > 0) & (np.abs(whole - delta) < 1e-3 * unit)
        return np.where(near, whole, delta)

    def forget(self, rows: Rows) -> None:
        """Take back what was found for rows whose witness does not hold when asked again."""
        self.best[rows] = math.inf
        self.point[rows], self.witness[rows] = self.origin[rows], self.x[rows]
        kept = [~np.isin(r, rows) for r, _, _ in self.trace]
        self.trace = [(r[k], q[k], s[k]) for (r, q, s), k in zip(self.trace, kept)]


def distance(delta: Floats, norm: float) -> Floats:
    """Length of each row of an array (m, d) in the norm 0, 1, 2 or inf, shape (m,)."""
    if norm == 0:
        return np.asarray((delta != 0).sum(axis=1), dtype=np.float64)
    return np.asarray(np.linalg.norm(delta, ord=norm, axis=1), dtype=np.float64)


def margins(scores: Floats, y: NDArray[Any]) -> Floats:
    """Margin of class indices ``y`` (m,) in scores (m, k), negative where another one leads.

    Probabilities are taken as logarithms: where one class has nearly all, its probability moves
    by less than a float can hold and the others' logarithms still tell the way.
    """
    at = np.arange(len(y))
    first = scores.argmax(axis=1) == y
    if scores.min() >= 0 and np.abs(scores.sum(axis=1) - 1).max() < 1e-3:
        scores = np.log(np.maximum(scores, TINY))
    others = scores.copy()
    others[at, y] = -math.inf
    gap: Floats = scores[at, y] - others.max(axis=1)
    # ties fall as the decision does: the first of equal scores leads
    return np.where(first, np.maximum(gap, 0.0), np.minimum(gap, -1e-300))


def _rank(rows: Rows) -> Rows:
    """Position of each entry among the entries of the same row."""
    order = np.argsort(rows, kind="stable")
    ranked = rows[order]
    new = np.r_[True, ranked[1:] != ranked[:-1]] if len(rows) else np.zeros(0, dtype=bool)
    start = np.maximum.accumulate(np.where(new, np.arange(len(rows)), 0))
    rank = np.empty(len(rows), dtype=np.int64)
    rank[order] = np.arange(len(rows)) - start
    return rank
