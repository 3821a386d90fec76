"""Transfer: rows that break networks taught by the model's answers are asked of the model first.

Papernot et al., "Practical black-box attacks against machine learning" (2017), with what is found
as the start of a search by queries, after Suya et al., "Hybrid batch attacks" (2020).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.blackbox.budget import Floats, Ledger, Rows
from crenel.evasion.blackbox.windows import Layout
from crenel.evasion.gradients.ball import Ball
from crenel.evasion.gradients.minimal import closest
from crenel.evasion.gradients.network import generator, torch
from crenel.evasion.gradients.sparse import fewest_numbers
from crenel.evasion.gradients.transferring import Surrogates, networks, pursue, teach

#: Rows that one lesson is made of at most.
MOST = 2000
#: Steps of the first lesson and of those after each round.
FIRST, AGAIN = 400, 60
#: Gradients on the surrogates: for how far a row is from them, and for each row to ask.
MEASURE, STEPS = 30, 20
#: Questions for each row at most; share of them that must turn for another.
ROUNDS, PAYS = 4, 0.1
#: Least deviation of a number that surrogates are taught with, as a share of the mean one.
SPREAD = 1.0
#: Share of labels that the model must confirm where it is asked; else the others go too.
AGREE = 0.5
#: One in so many of a row's queries may go to rows held.
SHARED = 4
#: The first radius in that of the surrogates, and its change where a row is turned or not.
BEYOND, NEARER, FARTHER = 1.5, 0.7, 1.5


def transfer(ledger: Ledger, rows: Rows, lessons: Lessons, most: float = math.inf) -> None:
    """Ask for rows that break the surrogates; what is turned stands in the ledger as a start.

    Each row is moved along the surrogates' gradients as far as a radius, and asked: where that
    turns it a nearer point follows, where not a farther one, with the surrogates taught by the
    answers in between. Where few rows turn it ends at once.

    Parameters
    ----------
    ledger : Ledger
        With ``heard`` kept.
    rows : ndarray of int64
    lessons : Lessons
    most : float
        Largest radius of interest; asked for first where a row is farther from the surrogates.
    """
    lessons.learn(AGAIN if lessons.taught else FIRST)
    failed = np.zeros(len(rows))
    first = np.minimum(BEYOND * lessons.distances(rows), most)
    for k in range(ROUNDS):
        live = np.flatnonzero(ledger.left(rows) > 0)
        if not live.size:
            return
        best, low = ledger.best[rows[live]], failed[live]
        between = np.sqrt(np.maximum(low, NEARER**2 * best) * best)
        radius = np.where(np.isfinite(best), between, np.where(low > 0, FARTHER * low, first[live]))
        if ledger.norm == 0:
            radius = np.maximum(np.round(radius), 1.0)
        turned, _ = ledger.ask(rows[live], lessons.beyond(rows[live], radius))
        failed[live] = np.where(turned, failed[live], radius)
        if k and turned.mean() < PAYS:
            return
        lessons.learn(AGAIN)


@dataclass
class Lessons:
    """What surrogates are taught, and the surrogates.

    Attributes
    ----------
    ledger : Ledger
    pool : ndarray, shape (p, d)
    labels : ndarray, shape (p,)
    classes : ndarray, shape (k,)
        The decisions that the columns of the surrogates stand for.
    seed : int
    """

    ledger: Ledger
    pool: Floats
    labels: NDArray[Any]
    classes: NDArray[Any]
    seed: int
    taught: bool = False
    nets: Any = field(init=False)
    draw: Any = field(init=False)

    @classmethod
    def of(cls, ledger: Ledger, pool: Floats, labels: NDArray[Any], seed: int) -> Lessons:
        """Some of the rows held that miss no number, and networks that know nothing yet."""
        whole = np.isfinite(pool).all(axis=1)
        pool, labels = pool[whole], np.asarray(labels)[whole]
        some = np.random.default_rng(seed).permutation(len(pool))[:MOST]
        classes = np.unique(np.concatenate([np.asarray(labels), ledger.y]))
        if ledger.scores is not None:  # columns of scores are classes
            classes = np.arange(max(int(classes.max()) + 1, _width(ledger)))
        return cls(ledger, pool[some], np.asarray(labels)[some], classes, seed)

    def __post_init__(self) -> None:
        self.draw = generator(self.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            nets = networks(self.tensor(self.pool), len(self.classes), SPREAD)
        self.nets = Surrogates(tuple(nets), math.nan, 0)

    def tensor(self, flat: Floats) -> Any:
        """Flat rows in the form of the networks."""
        layout = Layout.of(self.ledger.x.shape[1:])
        z = layout.shaped(flat) if layout.image else flat
        return torch.from_numpy(np.ascontiguousarray(z, dtype=np.float32))

    def flat(self, z: Any) -> Floats:
        """Rows of the networks as flat rows."""
        layout, found = Layout.of(self.ledger.x.shape[1:]), z.numpy().astype(np.float64)
        return layout.flat(found) if layout.image else found

    def buy(self, count: int, rows: Rows) -> None:
        """Ask for rows of the pool, whose labels no longer count; nor do others that are as wrong.

        Parameters
        ----------
        count : int
        rows : ndarray of int64
            Under attack; a part of their queries at most is spent.
        """
        share = int(self.ledger.left(rows).min()) // SHARED
        count = min(count, len(self.pool), share * len(rows))
        if count <= 0:
            return
        answers = self.ledger.consult(rows, self.pool[:count])
        decided = self.classes[self._shares(answers).argmax(axis=1)] if len(answers) else answers
        agree = float((decided == self.labels[: len(decided)]).mean()) if len(decided) else 1.0
        known = count if agree >= AGREE else len(self.pool)
        self.pool, self.labels = self.pool[known:], self.labels[known:]

    def learn(self, steps: int) -> None:
        """Teach the surrogates all that is known; half of it about the rows under attack."""
        self.taught = True
        heard = self.ledger.heard or []  # empty where time ran out before the first answer
        if not heard and not len(self.pool):
            return
        count = sum(len(p) for p, _ in heard)
        often = max(1, round(len(self.pool) / max(1, count)))
        points = [p for p, _ in heard] * often
        shares = [self._shares(a) for _, a in heard] * often
        x = self.tensor(np.concatenate([self.pool, *points]))
        y = torch.from_numpy(np.concatenate([self._shares(self.labels), *shares])).float()
        teach(list(self.nets.networks), x, y, steps, self.draw, self.ledger.deadline)

    def _shares(self, answers: NDArray[Any]) -> Floats:
        """Answers as shares of the classes: scores as they are, of decisions all for one."""
        if answers.ndim == 1:
            return np.asarray(answers[:, None] == self.classes[None, :], dtype=np.float64)
        if answers.min() < 0 or np.abs(answers.sum(axis=1) - 1).max() > 1e-3:
            answers = np.exp(answers - answers.max(axis=1, keepdims=True))
        wide = np.zeros((len(answers), len(self.classes)))
        wide[:, : answers.shape[1]] = answers / answers.sum(axis=1, keepdims=True)
        return wide

    def _box(self, rows: Rows, radius: Any) -> Ball:
        low, high = (self.tensor(b[rows]) for b in (self.ledger.low, self.ledger.high))
        return Ball(self.ledger.norm, radius, low, high)

    def _own(self, rows: Rows) -> tuple[Any, Any]:
        at = np.searchsorted(self.classes, self.ledger.y[rows])
        return self.tensor(self.ledger.origin[rows]), torch.from_numpy(at)

    def distances(self, rows: Rows) -> Floats:
        """How far each row is from being decided otherwise by the surrogates, about."""
        (x, y), ball, logits = self._own(rows), self._box(rows, 0.0), self.nets.logits
        if self.ledger.norm == 0:
            got, hit = fewest_numbers(logits, x, y, ball.low, ball.high, steps=MEASURE)
        else:
            got, hit = closest(logits, x, y, ball, steps=MEASURE)
        size, found = self.ledger.size(rows, self.flat(got)), hit.numpy()
        known = size[found & (size > 0)]
        usual = float(np.median(known)) if known.size else 1.0
        return np.where(found, np.maximum(size, usual / 4), usual)

    def beyond(self, rows: Rows, radius: Floats) -> Floats:
        """Points at a radius from each row that the surrogates decide otherwise most clearly."""
        x, y = self._own(rows)
        ball = self._box(rows, torch.from_numpy(radius).float())
        logits = self.nets.logits
        found = self.flat(pursue(logits, logits, x, y, ball, steps=STEPS, leave=False).x)
        return np.where(np.isfinite(found), found, self.ledger.origin[rows])


def _width(ledger: Ledger) -> int:
    return max((a.shape[1] for _, a in ledger.heard or [] if a.ndim == 2), default=0)
