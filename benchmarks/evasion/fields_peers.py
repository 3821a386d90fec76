"""ART's HopSkipJump and ZOO on the numeric columns of a table, counted in every reading.

Each peer runs to its end with its settings below; every row that it asks is noted in order, so
that it can also be judged by its first flip (HopSkipJump begins with random points of the box,
which often flip within a few queries), and by its first flip that is a legal row once whole
numbers are rounded for it.

HopSkipJump halves its step until the next point flips: for ever where its direction is no number
or where the point that it steps from has ceased to flip by rounding. Such a run is ended once it
asks the same point, or what is no number, again and again; the latest point that flipped counts as
what it returns, and what was asked until then as what it spent.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fields_tables import Seen, Table, seen_in, valid

#: Queries for each row within which a flip counts in the second reading.
BUDGET = 100
#: Points in succession that say nothing new after which a peer's run is ended.
NOTHING_NEW = 10


class Endless(Exception):
    """The peer asks the same again and again."""


@dataclass
class Box:
    """The changeable numeric columns of one row, scaled to [0, 1], and all that was asked."""

    table: Table
    model: Any
    row: Any
    y: int
    known: Any
    seen: dict[str, Seen]
    names: list[str]
    halves: bool
    asked: list[Any] = field(default_factory=list)
    turned: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.low = np.array([self.seen[c].low for c in self.names], dtype=float)
        high = np.array([self.seen[c].high for c in self.names], dtype=float)
        self.span = np.where(high > self.low, high - self.low, 1.0)
        own = self.row[self.names].to_numpy(float)
        self.start = ((own - self.low) / self.span).astype(np.float32)
        (_, scale, numbers) = self.model[0].transformers_[1]
        self.scale, self.numbers = scale, list(numbers)
        self.held = self.model[0].transform(self.row)[:, : -len(self.numbers)]
        self.own = self.row[self.numbers].to_numpy(float)
        self.moved = [c in self.numbers for c in self.names]
        self.at = [self.numbers.index(c) for c in self.names if c in self.numbers]
        self.nothing_new = 0

    def rows(self, z: Any, whole: bool = False) -> Any:
        """Rows of the table for points of the box."""
        frame = self.row.iloc[np.zeros(len(z), dtype=int)].reset_index(drop=True)
        numbers, put = self.values(z), {}
        for j, c in enumerate(self.names):
            v = numbers[:, j]
            put[c] = np.round(v) if whole and self.known[c].dtype.kind in "iu" else v
        return frame.assign(**put)

    def values(self, z: Any) -> np.ndarray:
        """Numbers of the table for points of the box."""
        z = z.reshape(len(z), -1)
        z = np.where(np.isnan(z), self.start, z)  # what is no number, as peers ask, changes nothing
        return np.clip(z, 0, 1) * self.span + self.low

    def ask(self, z: Any) -> Any:
        """What the peer sees: scores, each row counted."""
        z = np.asarray(z)
        scores = self.scores(z)
        self._stop_if_endless(z.reshape(len(z), -1))
        self.asked.append(z.reshape(len(z), -1).copy())
        self.turned.append(scores.argmax(axis=1) != self.y)
        return scores

    def _stop_if_endless(self, z: np.ndarray) -> None:
        """Points asked one by one that are no numbers, or the ones just asked."""
        same = bool(self.asked) and np.array_equal(self.asked[-1], z)
        self.nothing_new = (
            self.nothing_new + 1 if len(z) == 1 and (same or np.isnan(z).any()) else 0
        )
        if self.halves and self.nothing_new > NOTHING_NEW:
            raise Endless

    def latest(self) -> Any:
        """The latest point that flipped; where the run began if none did."""
        flips = np.concatenate(self.asked)[np.concatenate(self.turned)]
        return flips[-1:] if len(flips) else self.start

    def scores(self, z: Any) -> Any:
        """The Pipeline's scores of points; held columns are encoded once, frames avoided."""
        every = np.repeat(self.own, len(z), axis=0)
        every[:, self.at] = self.values(z)[:, self.moved]
        moved = self.scale.transform(every)
        held = np.repeat(self.held, len(z), axis=0)
        return self.model[-1].predict_proba(np.hstack([held, moved]))

    def legal(self, z: Any, whole: bool) -> Any:
        """Which points flip as legal rows, asked again and not counted."""
        rows = self.rows(z, whole)
        out = self.model.predict_proba(rows).argmax(axis=1) != self.y
        at = np.flatnonzero(out)
        before = self.row.iloc[np.zeros(len(at), dtype=int)].reset_index(drop=True)
        out[at] = valid(self.table, before, rows.iloc[at].reset_index(drop=True), self.seen)
        return out

    def firsts(self) -> tuple[float, float]:
        """Queries to the first flip, and to the first that is legal once rounded."""
        flips, z = np.concatenate(self.turned), np.concatenate(self.asked)
        chunks = (z[k : k + BUDGET] for k in range(0, len(z), BUDGET))
        places = (k * BUDGET + _place(self.legal(c, whole=True)) for k, c in enumerate(chunks))
        return _place(flips), next((p for p in places if np.isfinite(p)), float("inf"))


def _place(flags: Any) -> float:
    return float(flags.argmax() + 1) if flags.any() else float("inf")


def peers(t: Table, model: Any, x: Any, y: Any, quick: bool) -> list[dict[str, Any]]:
    """Figures of both peers over the rows ``x``; empty where ART is not installed."""
    try:
        import art  # noqa: F401
    except ImportError as error:
        print(f"ART is not installed ({error}): our figures alone")
        return []
    import pandas as pd

    known = pd.concat([t.train, t.test], ignore_index=True)
    names = [c for c in x if x[c].dtype.kind in "iuf" and c not in t.held]
    return [_figures(a, t, model, x, y, known, names, quick) for a in ("HopSkipJump", "ZOO")]


def _figures(
    attack: str, t: Table, model: Any, x: Any, y: Any, known: Any, names: list[str], quick: bool
) -> dict[str, Any]:
    begun, n, seen = time.process_time(), len(x), seen_in(known)
    ends, firsts, spent = [], [], []
    for i in range(n):
        box = Box(t, model, x.iloc[[i]].reset_index(drop=True), int(y[i]), known, seen, names,
                  attack == "HopSkipJump")  # fmt: skip
        found = _generated(attack, box, quick)
        scores = model.predict_proba(box.rows(found))
        np.testing.assert_allclose(scores, box.scores(found))  # as the whole Pipeline says
        flips = bool(scores.argmax(axis=1)[0] != y[i])
        ends.append((flips, *(bool(box.legal(found, whole)[0]) for whole in (False, True))))
        firsts.append(box.firsts())
        spent.append(sum(len(z) for z in box.asked))
    flipped, legal, rounded = np.array(ends).mean(axis=0)
    first, asked = np.array(firsts), np.array(spent)
    stopped = np.minimum(first, asked[:, None]).sum(axis=0)
    return {
        "attack": f"ART {attack}",
        "rows": n,
        "flipped in the box": round(float(flipped), 3),
        "legal as returned": round(float(legal), 3),
        "legal when rounded": round(float(rounded), 3),
        "queries a row": round(float(asked.mean()), 1),
        "median queries to the first": float(np.median(first[:, 0])),
        "per 100 queries": round(float(100 * n * flipped / asked.sum()), 4),
        "per 100 queries, legal when rounded": round(float(100 * n * rounded / asked.sum()), 4),
        "within 100 queries": round(float((first[:, 0] <= BUDGET).mean()), 3),
        "within 100 queries, legal when rounded": round(float((first[:, 1] <= BUDGET).mean()), 3),
        "per 100 queries to the first": round(
            100 * float(np.isfinite(first[:, 0]).sum() / stopped[0]), 4
        ),
        "per 100 queries to the first, legal when rounded": round(
            100 * float(np.isfinite(first[:, 1]).sum() / stopped[1]), 4
        ),
        "cpu_s": round(time.process_time() - begun, 2),
    }


def _generated(attack: str, box: Box, quick: bool) -> Any:
    from art.attacks.evasion import HopSkipJump, ZooAttack
    from art.estimators.classification import BlackBoxClassifierNeuralNetwork

    size = len(box.names)
    wrapped = BlackBoxClassifierNeuralNetwork(
        box.ask, (size,), 2, clip_values=(0.0, 1.0), channels_first=False
    )
    if attack == "HopSkipJump":
        steps, most = (2, 300) if quick else (10, 1000)
        run = HopSkipJump(wrapped, max_iter=steps, max_eval=most, verbose=False)
    else:
        run = ZooAttack(
            wrapped, max_iter=20 if quick else 100, nb_parallel=min(5, size), use_resize=False,
            use_importance=False, variable_h=0.1, learning_rate=0.1, verbose=False,
        )  # fmt: skip
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002  # the peers draw from the global generator
    try:
        found = run.generate(box.start)
    except Endless:
        found = box.latest()
    np.random.set_state(state)  # noqa: NPY002
    return found
