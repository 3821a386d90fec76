"""How many parts, which learner, which election: chosen on rows held out of the training data."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.model import Model
from crenel.poisoning.partition.curve import CertifiedCurve
from crenel.poisoning.partition.ensemble import ELECTIONS, elect
from crenel.poisoning.partition.members import Trainer, scores_of
from crenel.subject import Data
from crenel.training.folds import fold_numbers
from crenel.training.threads import side_by_side

#: Numbers of parts tried, fewest first; rows that a part must have at least.
PARTITIONS = (10, 25, 50, 100, 150, 200, 300, 500, 1000)
LEAST_ROWS = 12
#: Accuracy that may be lost at most, what is kept of it for noise, and where the walk ends.
MOST_LOST, SAFE, HOPELESS = 0.02, 0.005, 0.04
#: Rows below which each fifth judges in turn, and one fifth does otherwise.
FEW = 2500
#: Validation rows of a fold at most, and seconds of search at most.
JUDGED, SECONDS = 3000, 240.0


@dataclass(frozen=True)
class Candidate:
    """A way to train the members.

    Attributes
    ----------
    name : str
        "the model's own kind", "a linear model".
    model : Model
        With ``fit``.
    """

    name: str
    model: Model


@dataclass(frozen=True)
class Trial:
    """One setting, measured on validation rows.

    Attributes
    ----------
    candidate : Candidate
    partitions : int
    election : str
    curve : CertifiedCurve
    lost : float
        Accuracy of the single model less its own, in [-1, 1].
    error : float
        Standard error of that, rows taken as pairs.
    """

    candidate: Candidate
    partitions: int
    election: str
    curve: CertifiedCurve
    lost: float
    error: float

    @property
    def affordable(self) -> bool:
        """Whether it costs at most `MOST_LOST`, one standard error (`SAFE` at most) kept back."""
        return self.lost + min(self.error, SAFE) <= MOST_LOST

    @property
    def rank(self) -> tuple[float, float, float]:
        """More rows for half of the decisions, then for all, then accuracy."""
        return float(self.curve.median()), self.curve.mean, -self.lost


@dataclass(frozen=True)
class _Fold:
    """Rows to learn from, rows to judge, and what one model of the former has right of them."""

    rest: Data
    judge: Data
    right: NDArray[np.bool_]


@dataclass(frozen=True)
class Choice:
    """What was tried, and the best of it.

    Attributes
    ----------
    trials : tuple of Trial
    single : float
        Accuracy of the one model, trained on the same rows.
    best : Trial or None
        None where no setting is affordable and certifies half of the decisions.
    """

    trials: tuple[Trial, ...]
    single: float
    best: Trial | None


def choose(model: Model, train: Data, candidates: Sequence[Candidate], context: Context) -> Choice:
    """Walk along the accuracy-certificate curve of each candidate.

    A fifth of the training rows judges (each in turn, where there are few rows); the members
    learn from the others, and so does the single model that they are compared with. Of the
    settings that cost at most two points of accuracy the one that certifies half of the
    validation rows against most changes is taken. Test rows take no part.

    Parameters
    ----------
    model : Model
        The audited one, with ``fit``.
    train : Data
    candidates : sequence of Candidate
    context : Context
    """
    seed = context.derive_seed("choice")
    numbers = fold_numbers(train.y, 5, seed)
    folds = [_fold(model, train, numbers == i, seed) for i in range(5 if len(train) < FEW else 1)]
    trials: list[Trial] = []
    begun, seconds = time.monotonic(), min(SECONDS, 0.8 * context.time_left())
    for i, candidate in enumerate(candidates):
        until = begun + (i + 1) / len(candidates) * seconds
        for found in _walk(candidate, model, folds, seed, until, context):
            trials += found
        context.progress(0.8 * (i + 1) / len(candidates))
    worth = [t for t in trials if t.affordable and t.curve.median() > 0]
    best = max(worth, key=lambda t: t.rank, default=None)
    return Choice(tuple(trials), float(np.concatenate([f.right for f in folds]).mean()), best)


def _fold(model: Model, train: Data, held: NDArray[np.bool_], seed: int) -> _Fold:
    assert model.fit is not None
    judge, rest = train.take(np.flatnonzero(held)[:JUDGED]), train.take(~held)
    return _Fold(rest, judge, model.fit(rest.x, rest.y, seed).predict(judge.x) == judge.y)


def _walk(
    candidate: Candidate,
    model: Model,
    folds: list[_Fold],
    seed: int,
    until: float,
    context: Context,
) -> Iterator[list[Trial]]:
    """Ever more parts, until accuracy, rows or time run out."""
    assert candidate.model.fit is not None
    trainer = Trainer(candidate.model.fit, model.classes, candidate.model.native)
    elections = ELECTIONS if model.k > 2 else ELECTIONS[:1]  # of two classes both are one
    for k in PARTITIONS:
        begun = time.monotonic()
        if k > PARTITIONS[0] and len(folds[0].rest) < k * LEAST_ROWS:
            return
        scores = []
        for fold in folds:
            members = trainer.members(
                fold.rest.x, fold.rest.y, k, seed, lambda w, t: side_by_side(context, w, t, False)
            )
            trainer.kept.clear()
            scores.append(scores_of(members, fold.judge.x))
        found = [_trial(candidate, k, e, scores, folds) for e in elections]
        yield found
        spent = time.monotonic() - begun
        if min(t.lost - t.error for t in found) > HOPELESS or time.monotonic() + 2 * spent > until:
            return


def _trial(
    candidate: Candidate,
    partitions: int,
    election: str,
    scores: list[NDArray[np.float64]],
    folds: list[_Fold],
) -> Trial:
    elected = [elect(s, election) for s in scores]
    y = np.concatenate([f.judge.y for f in folds])
    right = np.concatenate([e[0] for e in elected]) == y
    curve = CertifiedCurve(right, np.concatenate([e[1] for e in elected]), y)
    change = np.concatenate([f.right for f in folds]).astype(float) - right
    error = float(change.std() / np.sqrt(max(1, len(change))))
    return Trial(candidate, partitions, election, curve, float(change.mean()), error)
