"""What an attacker who sees decisions only learns from them: a model that ranks candidates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.text.asking import Guide

_WORDS = re.compile(r"\w\w+")
#: Lengths of the runs of characters, and pieces known at most.
RUNS, PIECES = (2, 3, 4), 20_000


def surrogate(
    texts: Sequence[str], decided: NDArray[np.int64], y: NDArray[np.int64], k: int, seed: int
) -> Guide | None:
    """A guide learnt from the model's decisions on texts like those under attack.

    A substitute model (Papernot et al., "Practical black-box attacks against machine learning",
    2017): a logistic regression on words and runs of two to four characters, weighted by inverse
    document frequency. It is a sum over the words of a text, so that each word is weighed once.

    Parameters
    ----------
    texts : sequence of str
    decided : ndarray of int64, shape (n,)
        The model's decisions on them.
    y : ndarray of int64
        The decision to be turned, for each row under attack.
    k : int
        Number of classes.
    seed : int

    Returns
    -------
    callable or None
        None where all texts are decided alike.
    """
    present = np.unique(decided)
    if len(present) < 2:
        return None
    weigh = _Weights(texts, decided, seed)

    def guide(rows: NDArray[np.int64], edited: Sequence[Sequence[str]]) -> NDArray[np.float64]:
        known = np.full((len(rows), k), -np.inf)
        known[:, present] = [weigh(" ".join(parts)) for parts in edited]
        at, own = np.arange(len(rows)), y[rows]
        right = np.maximum(known[at, own], -1e9)
        known[at, own] = -np.inf
        margin: NDArray[np.float64] = right - known.max(axis=1)
        return margin

    return guide


class _Weights:
    """Logits of a text as the sum of those of its words, each computed once."""

    def __init__(self, texts: Sequence[str], decided: NDArray[np.int64], seed: int) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        table = TfidfVectorizer(analyzer=_pieces_of, norm=None, max_features=PIECES)
        x = table.fit_transform(list(texts)).multiply(
            np.array([_scale(len(t.split())) for t in texts])[:, None]
        )
        fitted = LogisticRegression(C=0.1, max_iter=100, random_state=seed % 2**31)
        fitted.fit(x.tocsr(), decided)
        coefficients = fitted.coef_ * table.idf_
        bias = fitted.intercept_
        if len(coefficients) == 1:  # two classes
            coefficients = np.concatenate([-coefficients / 2, coefficients / 2])
            bias = np.array([-bias[0] / 2, bias[0] / 2])
        self.bias, self.columns = bias, coefficients.T
        self.index: dict[str, int] = table.vocabulary_
        self.known: dict[str, Any] = {}

    def __call__(self, text: str) -> NDArray[np.float64]:
        words = text.split()
        total = np.sum([self._of(w) for w in words], axis=0) if words else 0.0
        logits: NDArray[np.float64] = self.bias + _scale(len(words)) * total
        return logits

    def _of(self, word: str) -> Any:
        if word not in self.known:
            at = [i for p in _pieces(word) if (i := self.index.get(p)) is not None]
            self.known[word] = self.columns[at].sum(axis=0)
        return self.known[word]


def _scale(words: int) -> float:
    """Longer texts weigh no more than short ones do."""
    return float(max(1, words) ** -0.5)


def _pieces_of(text: str) -> list[str]:
    return [p for word in text.split() for p in _pieces(word)]


def _pieces(word: str) -> list[str]:
    """The words within a run of characters between spaces, and its own runs."""
    padded = f" {word} "
    runs = [padded[i : i + n] for n in RUNS for i in range(len(padded) - n + 1)]
    return [f"\x00{w}" for w in _WORDS.findall(word.lower())] + runs
