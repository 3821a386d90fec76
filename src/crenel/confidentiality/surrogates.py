"""Copies of a model, trained on nothing but its answers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.confidentiality.encoding import Encoder, encoder
from crenel.training.threads import one_core

Floats = NDArray[np.float64]

#: Probabilities below this are left out of the soft labels that a copy is trained on.
FAINT = 0.02


@dataclass(frozen=True)
class Surrogate:
    """A copy: it scores and decides as the model that it was trained on would.

    Attributes
    ----------
    encode : Encoder
    estimator : object or None
        A scikit-learn classifier of class indices; None where all answers were the same.
    k : int
        Number of classes.
    only : int
        The one answer there was.
    kind : str
        "boosting", "linear", "network" or "constant".
    """

    encode: Encoder
    estimator: Any
    k: int
    only: int
    kind: str

    def scores(self, x: Any) -> Floats:
        """Probabilities (n, k)."""
        out = np.zeros((len(x), self.k))
        if self.estimator is None:
            out[:, self.only] = 1.0
            return out
        with one_core():
            out[:, self.estimator.classes_] = self.estimator.predict_proba(self.encode(x))
        return out

    def predict(self, x: Any) -> NDArray[np.int64]:
        """Class indices (n,)."""
        decided: NDArray[np.int64] = self.scores(x).argmax(axis=1)
        return decided


def copy_model(x: Any, answers: Floats, rng: np.random.Generator, share: float = 0.25) -> Surrogate:
    """Train the copy that agrees best with held-back answers.

    Parameters
    ----------
    x : DataFrame or ndarray, n rows
        What was asked.
    answers : ndarray, shape (n, k)
        Probabilities, or one-hot decisions: the copy's soft labels.
    rng : numpy.random.Generator
    share : float
        Of the answers that are held back for the choice of the family, in (0, 1).
    """
    encode, decided = encoder(x), answers.argmax(axis=1)
    k = answers.shape[1]
    if len(np.unique(decided)) < 2:
        return Surrogate(encode, None, k, int(decided[0]), "constant")
    matrix = encode(x)
    held = np.zeros(len(matrix), dtype=bool)
    held[rng.permutation(len(matrix))[: int(share * len(matrix))]] = True
    seed = int(rng.integers(2**31))
    families = _families(encode, len(matrix), seed)
    agreement: dict[str, float] = {}
    for kind, make in families.items():
        trained = _train(make, matrix[~held], answers[~held])
        with one_core():
            agrees = trained is not None and trained.predict(matrix[held]) == decided[held]
        agreement[kind] = float(np.mean(agrees))
    best = max(agreement, key=lambda kind: agreement[kind])
    return Surrogate(encode, _train(families[best], matrix, answers), k, int(decided[0]), best)


def _families(encode: Encoder, n: int, seed: int) -> dict[str, Callable[[], Any]]:
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if encode.columns:
        return {"boosting": lambda: _boosting(encode, n, seed), "linear": lambda: _linear(encode)}
    return {
        "network": lambda: make_pipeline(
            StandardScaler(), MLPClassifier((64,), max_iter=60, random_state=seed)
        ),
        "linear": lambda: _linear(encode),
    }


class Bins:
    """Numbers as the ranks of their quantile bins, as boosting sees them anyway.

    Boosting would find the bins itself, but under sample weights it sorts a column once for each.

    Parameters
    ----------
    skip : ndarray, shape (d,), bool
        Columns of codes, left alone.
    """

    def __init__(self, skip: NDArray[np.bool_]) -> None:
        self.skip = skip
        self.edges: list[Floats] = []

    def fit(self, x: Floats, y: Any = None) -> Bins:
        """Learn at most 254 edges for each column of (n, d)."""
        grid = np.linspace(0, 1, 256)[1:-1]
        self.edges = []
        for column in x.T:
            known = column[~np.isnan(column)]
            self.edges.append(np.unique(np.quantile(known, grid)) if len(known) else known)
        return self

    def transform(self, x: Floats) -> Floats:
        """Ranks (n, d); NaN stays."""
        out = x.copy()
        for j in np.flatnonzero(~self.skip):
            ranks = np.searchsorted(self.edges[j], x[:, j], side="left").astype(float)
            out[:, j] = np.where(np.isnan(x[:, j]), np.nan, ranks)
        return out


def _boosting(encode: Encoder, n: int, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import Pipeline

    trees = HistGradientBoostingClassifier(
        max_iter=100,
        min_samples_leaf=5 if n < 1000 else 20,
        categorical_features=encode.categorical,
        early_stopping=False,
        random_state=seed,
    )
    return Pipeline([("bins", Bins(encode.categorical)), ("trees", trees)])


def _linear(encode: Encoder) -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())
    if encode.columns:
        codes = np.flatnonzero(encode.categorical)
        plain = np.flatnonzero(~encode.categorical)
        numbers = make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), codes), (numbers, plain)
        )
    return make_pipeline(numbers, LogisticRegression(C=10.0, max_iter=300))


def _train(make: Callable[[], Any], matrix: Floats, answers: Floats) -> Any:
    """Fit on every plausible class of every row, weighted by its probability; None: one class."""
    rows, classes = np.nonzero(answers > FAINT)
    weight = answers[rows, classes]
    if len(np.unique(classes)) < 2:
        return None
    estimator = make()
    last = estimator.steps[-1][0]
    with warnings.catch_warnings(), one_core():
        # A copy that is stopped early is a weaker copy, which its measured agreement shows.
        warnings.simplefilter("ignore")
        estimator.fit(matrix[rows], classes, **{f"{last}__sample_weight": weight})
    return estimator
