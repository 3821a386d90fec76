"""A review of the training labels, and what that review would have missed."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.errors import NotApplicable
from crenel.model import Model
from crenel.poisoning.dose.corruption import draw_labels, pick, relabel, subset
from crenel.poisoning.labels.wrong import LabelScores, clean_probabilities, wrong_labels
from crenel.poisoning.leftout.answers import leaves_out, left_out
from crenel.statistics import Interval, auc, proportion
from crenel.subject import Data
from crenel.training.folds import OutOfFold, out_of_fold
from crenel.training.threads import side_by_side

#: Shares of rows relabelled to see what the review would miss.
SHARES = (0.01, 0.02, 0.05, 0.1)
#: Repetitions on clean labels of the same hardness.
CLEAN_RUNS = 3
#: Folds of trainings where a model's kind does not allow to do without.
FOLDS = 5
#: Share of scores of 0 and 1 from which a model is taken for one without scores.
HARD = 0.9
#: Rows on which both are simulated.
SIMULATED_ROWS = 6000


@dataclass(frozen=True)
class Reviewed:
    """The labels of a data set, reviewed.

    Attributes
    ----------
    data : Data
        The rows that have a score: all, unless time ran out.
    scores : LabelScores
    predicted : OutOfFold
    probabilities : ndarray, shape (n, k)
        Out-of-fold, of the rows of ``data``.
    """

    data: Data
    scores: LabelScores
    predicted: OutOfFold
    probabilities: NDArray[np.float64]

    @property
    def positions(self) -> NDArray[np.int64]:
        """Row numbers of ``data`` in the data that was reviewed, shape (n,)."""
        return np.flatnonzero(self.predicted.covered)

    @property
    def accuracy(self) -> Interval:
        """Share of given labels that the out-of-fold decisions agree with."""
        agree = self.predicted.decisions[self.predicted.covered] == self.data.y
        return proportion(int(agree.sum()), len(agree))


@dataclass(frozen=True)
class Missed:
    """What the review did on injected wrong labels.

    Attributes
    ----------
    injected, unnoticed : int
        Rows relabelled, and those of them that were not flagged.
    ranking : Interval
        AUC of the score between injected rows and other trusted ones.
    """

    injected: int
    unnoticed: int
    ranking: Interval


@dataclass(frozen=True)
class Clean:
    """What the review says of labels that are right by construction.

    Attributes
    ----------
    rate : float
        Estimated share of wrong labels.
    flagged, rows : int
        False alarms, of so many rows.
    """

    rate: float
    flagged: int
    rows: int


def review_labels(
    model: Model,
    data: Data,
    seed: int,
    *,
    folds: int | None = None,
    deadline: float | None = None,
    jobs: int = 1,
) -> Reviewed:
    """Score every label by models that it had no part in.

    Of forests, boosted trees and logistic regressions that were trained on these rows, what they
    would say of each row without its label is computed (`crenel.poisoning.leftout.left_out`);
    of any other model its kind is trained again without each of five folds.

    Parameters
    ----------
    model : Model
        Trained on ``data``; with ``fit`` where it is trained again.
    data : Data
    seed : int
    folds : int or None
        Train again on so many folds, whatever the model is.
    deadline, jobs
        See `crenel.training.out_of_fold`.
    """
    found = _without_training(model, data, seed) if folds is None else None
    if found is not None:
        predicted, ranking = found
        scores = wrong_labels(predicted.probabilities, data.y, ranking)
        return Reviewed(data, scores, predicted, predicted.probabilities)
    predicted = out_of_fold(model, data, seed, folds or FOLDS, deadline, jobs)
    p = predicted.probabilities
    if model.score is None or _hard(p[predicted.covered]):
        p = softened(p, data, predicted.covered)
    reached = data if predicted.covered.all() else data.take(predicted.covered)
    p = p[predicted.covered]
    return Reviewed(reached, wrong_labels(p, reached.y), predicted, p)


def _without_training(
    model: Model, data: Data, seed: int
) -> tuple[OutOfFold, NDArray[np.float64]] | None:
    """Unseen answers of the model as it is, and those that rank; None where there are none."""
    begun = time.monotonic()
    try:
        found = left_out(model, data, seed)
    except NotApplicable:
        return None
    p = found.unseen
    every = np.ones(len(p), dtype=np.bool_)
    seconds = time.monotonic() - begun
    return OutOfFold(p, p.argmax(axis=1), every, 0, seconds, found.means), found.probabilities


def _hard(p: NDArray[np.float64]) -> bool:
    """Whether nearly all scores (n, k) are 0 or 1: decisions in the dress of probabilities."""
    return bool((p.max(axis=1) >= 1 - 1e-9).mean() >= HARD)


def softened(
    decisions: NDArray[np.float64], data: Data, covered: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Decisions (n, k) averaged with each row's nearest neighbours' labels, its own left out.

    A model without scores, or with scores of 0 and 1, cannot say how sure it is; neighbours can.
    """
    from crenel.poisoning.labels.neighbours import neighbour_votes

    votes = neighbour_votes(data.x, data.y, decisions.shape[1])
    return np.where(covered[:, None], (decisions + votes) / 2, np.nan)


def review_afresh(model: Model, data: Data, seed: int) -> Reviewed:
    """Review other data than the model was trained on: its kind is trained on it first."""
    assert model.fit is not None
    if not leaves_out(model):
        return review_labels(model, data, seed, folds=FOLDS)
    return review_labels(model.fit(data.x, data.y, seed), data, seed)


def miss(model: Model, data: Data, trusted: NDArray[np.bool_], share: float, seed: int) -> Missed:
    """Relabel a share of the rows at random, review, and count what goes unnoticed.

    Only trusted rows are relabelled: another label would mend one that is wrong already.
    """
    rng = np.random.default_rng(seed)
    rows = pick(np.flatnonzero(trusted), max(1, round(share * len(data))), rng)
    poisoned = replace(data, y=relabel(data.y, rows, model.k, rng))
    scores = review_afresh(model, poisoned, seed).scores
    planted = np.zeros(len(data), dtype=bool)
    planted[rows] = True
    unnoticed = int((planted & ~scores.flagged).sum())
    return Missed(
        len(rows), unnoticed, auc(scores.score[planted], scores.score[trusted & ~planted])
    )


def review_clean(model: Model, data: Data, p: NDArray[np.float64], seed: int) -> Clean:
    """Review labels drawn from probabilities: right by construction, and as hard as the data."""
    labels = draw_labels(p, np.random.default_rng(seed))
    scores = review_afresh(model, replace(data, y=labels), seed).scores
    return Clean(scores.rate.value, int(scores.flagged.sum()), len(labels))


@dataclass(frozen=True)
class Simulated:
    """Both simulations.

    Attributes
    ----------
    missed : dict of float to Missed
        By share, ascending.
    clean : tuple of Clean
    rows, fits : int
        Rows simulated on; trainings done.
    """

    missed: dict[float, Missed]
    clean: tuple[Clean, ...]
    rows: int
    fits: int

    @property
    def clean_rate(self) -> float:
        """Mean rate that is estimated where no label is wrong; 0 where time did not allow it."""
        return float(np.mean([c.rate for c in self.clean])) if self.clean else 0.0

    @property
    def false_alarms(self) -> Interval:
        """Share of right labels flagged."""
        return proportion(sum(c.flagged for c in self.clean), sum(c.rows for c in self.clean))


def simulate(model: Model, reviewed: Reviewed, context: Context) -> Simulated:
    """Measure what the review would miss, and what it says where nothing is wrong."""
    rows = subset(len(reviewed.data), SIMULATED_ROWS, context.rng("rows"))
    data, trusted = reviewed.data.take(rows), ~reviewed.scores.flagged[rows]
    p = clean_probabilities(reviewed.probabilities[rows], reviewed.scores.temperature)

    def run(task: tuple[str, float]) -> Missed | Clean:
        kind, size = task
        seed = context.derive_seed(kind, size)
        if kind == "missed":
            return miss(model, data, trusted, size, seed)
        return review_clean(model, data, p, seed)

    # The most telling ones first: a deadline cuts the end.
    tasks = [("missed", 0.05), ("clean", 0.0), ("missed", 0.1)]
    tasks += [("missed", s) for s in (0.02, 0.01)] + [("clean", float(i)) for i in (1, 2)]
    done = list(zip(tasks, side_by_side(context, run, tasks), strict=False))
    missed = {t[1]: r for t, r in done if isinstance(r, Missed)}
    clean = tuple(r for _, r in done if isinstance(r, Clean))
    each = 1 if leaves_out(model) else FOLDS
    return Simulated(dict(sorted(missed.items())), clean, len(data), each * len(done))
