"""Out-of-fold predictions: what the user's kind of model says of rows it has not seen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.errors import NotApplicable
from crenel.model import Model
from crenel.statistics import derive_seed
from crenel.subject import Data, take_rows
from crenel.training.threads import side_by_side


@dataclass(frozen=True)
class OutOfFold:
    """Predictions of models that have not seen the row.

    Attributes
    ----------
    probabilities : ndarray, shape (n, k), float64
        One-hot decisions where the model shows no scores; NaN for rows not reached in time.
    decisions : ndarray, shape (n,), int64
        -1 for rows not reached in time.
    covered : ndarray, shape (n,), bool
        Rows that have a prediction.
    fits : int
        Trainings done.
    seconds : float
        Wall time.
    means : str
        Which models they are, in words.
    """

    probabilities: NDArray[np.float64]
    decisions: NDArray[np.int64]
    covered: NDArray[np.bool_]
    fits: int
    seconds: float
    means: str = "models of the same kind, trained without the row's fold"


def fold_numbers(y: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """A fold in [0, folds) for each row, the classes spread evenly over the folds.

    Parameters
    ----------
    y : ndarray, shape (n,), int64
        Class indices.

    Returns
    -------
    ndarray, shape (n,), int64
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    by_class = order[np.argsort(y[order], kind="stable")]
    result = np.empty(len(y), dtype=np.int64)
    result[by_class] = np.arange(len(y)) % folds
    return result


def out_of_fold(
    model: Model,
    data: Data,
    seed: int,
    folds: int = 5,
    deadline: float | None = None,
    jobs: int = 1,
    assignment: NDArray[np.int64] | None = None,
) -> OutOfFold:
    """Predict each row by a model trained without its fold (Stone, 1974).

    Parameters
    ----------
    model : Model
        With ``fit``; its kind is trained again, itself it is not asked.
    data : Data
    seed : int
    folds : int
        At least 2; fewer where there are fewer rows.
    deadline : float or None
        On `time.monotonic`'s clock: folds not begun by then are left out, the first never.
    jobs : int
        Threads; each training then keeps to one core.
    assignment : ndarray, shape (n,), int64, or None
        The fold of each row, in place of a stratified draw: sources, for instance.

    Raises
    ------
    NotApplicable
        Where the model cannot be trained again.
    """
    if model.fit is None:
        raise NotApplicable("the model cannot be trained again (no fit given)")
    begun, y = time.monotonic(), data.y
    fold = fold_numbers(y, min(folds, len(y)), seed) if assignment is None else assignment
    p = np.full((len(y), model.k), np.nan)
    decided = np.full(len(y), -1, dtype=np.int64)
    fits = 0
    work = partial(_one_fold, model.fit, data, fold, seed)
    for held, scores, decisions in _until(work, np.unique(fold).tolist(), deadline, jobs):
        p[held], decided[held] = scores, decisions
        fits += 1
    return OutOfFold(p, decided, decided >= 0, fits, time.monotonic() - begun)


Fold = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]


def _one_fold(
    fit: Callable[[Any, NDArray[Any], int], Model],
    data: Data,
    fold: NDArray[np.int64],
    seed: int,
    number: int,
) -> Fold:
    held, rest = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
    fitted = fit(take_rows(data.x, rest), data.y[rest], derive_seed(seed, "fold", number))
    rows = take_rows(data.x, held)
    if fitted.score is None:
        decided = np.asarray(fitted.predict(rows), dtype=np.int64)
        return held, np.eye(fitted.k)[decided], decided
    p = fitted.probabilities(rows)
    return held, p, p.argmax(axis=1)


def _until(
    work: Callable[[int], Fold], numbers: list[int], deadline: float | None, jobs: int
) -> list[Fold]:
    context = Context("folds", deadline=deadline, jobs=jobs)
    if jobs == 1:
        return context.map(work, numbers)
    return side_by_side(context, work, numbers)
