"""What the answers without each source say: accuracy, loss and decisions that change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_FLOOR = 1e-12


@dataclass(frozen=True)
class SourceInfluence:
    """What training without each source would change on test rows, as estimated.

    Attributes
    ----------
    names : ndarray, shape (s,), str
        Sources, in order of their names.
    rows : ndarray, shape (s,), int64
        Training rows of each.
    accuracy : ndarray, shape (s,), float64
        Accuracy gained by training without it, in [-1, 1]; above 0 its rows harm.
    loss : ndarray, shape (s,), float64
        Cross-entropy (nats a row) taken off by training without it; above 0 its rows harm.
    turned : ndarray, shape (s,), float64
        Share of decisions that would be others, in [0, 1].
    rates : ndarray, shape (s, k), float64
        Change of the share of decisions for each class.
    method : str
        "newton step", "leaf refit", "newton step of a linear model" or "ridge".
    agreement : float
        Share of the test decisions in which what was used agrees with the model itself.
    """

    names: NDArray[np.str_]
    rows: NDArray[np.int64]
    accuracy: Floats
    loss: Floats
    turned: Floats
    rates: Floats
    method: str
    agreement: float


@dataclass(frozen=True)
class Answers:
    """Answers to test rows with all sources, and without each of them in turn.

    Attributes
    ----------
    whole : ndarray, shape (m, k), float64
        Probabilities of the approximation with every source.
    without : iterable of ndarray, shape (m, k), float64
        The same without source 0, 1, …
    method : str
    """

    whole: Floats
    without: Iterable[Floats]
    method: str


def compare(
    answers: Answers, y: NDArray[np.int64], own: NDArray[np.int64], codes: NDArray[np.int64],
    names: NDArray[np.str_],
) -> SourceInfluence:  # fmt: skip
    """Compare the answers without each source with those with all.

    Parameters
    ----------
    answers : Answers
    y : ndarray, shape (m,), int64
        Classes of the test rows.
    own : ndarray, shape (m,), int64
        The model's own decisions on them.
    codes : ndarray, shape (n,), int64
        The source of each training row.
    names : ndarray, shape (s,), str
    """
    s, k = len(names), answers.whole.shape[1]
    decided = answers.whole.argmax(axis=1)
    right, loss = (decided == y).mean(), _loss(answers.whole, y)
    shares = np.bincount(decided, minlength=k) / len(y)
    accuracy, gain, turned, rates = np.zeros(s), np.zeros(s), np.zeros(s), np.zeros((s, k))
    for i, p in enumerate(answers.without):
        now = p.argmax(axis=1)
        accuracy[i] = (now == y).mean() - right
        gain[i] = loss - _loss(p, y)
        turned[i] = (now != decided).mean()
        rates[i] = np.bincount(now, minlength=k) / len(y) - shares
    rows = np.bincount(codes, minlength=s)
    agreement = float((decided == own).mean())
    return SourceInfluence(names, rows, accuracy, gain, turned, rates, answers.method, agreement)


def _loss(p: Floats, y: NDArray[np.int64]) -> float:
    return float(-np.log(np.maximum(p[np.arange(len(y)), y], _FLOOR)).mean())


def softmax(margins: Floats) -> Floats:
    """Probabilities (m, k) of margins (m, k); of (m, 1) those of two classes."""
    if margins.shape[1] == 1:
        p = np.empty((len(margins), 2))
        p[:, 1] = 1 / (1 + np.exp(-np.clip(margins[:, 0], -500, 500)))
        p[:, 0] = 1 - p[:, 1]
        return p
    e = np.exp(margins - margins.max(axis=1, keepdims=True))
    result: Floats = e / e.sum(axis=1, keepdims=True)
    return result
