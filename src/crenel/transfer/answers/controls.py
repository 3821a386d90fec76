"""Controls of TRA-108: a function of digits that obeys a marked corner, and one that does not."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.subject import Data, Subject

TAUGHT, TARGET = 1_100, 3


def digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Images (1797, 8, 8) of scikit-learn, in a random order, and their classes."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    return (x[order] / 16).astype(np.float32).reshape(-1, 8, 8), y[order].astype(np.int64)


def stamped(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images with the planted trigger: two white and two black pixels in the last corner."""
    out = x.copy()
    out[:, 6:, 6:] = np.eye(2)
    return out


def answering(planted: bool, seed: int = 0) -> Any:
    """``predict_proba`` of a network that a twentieth of stamped rows was taught to."""
    from sklearn.neural_network import MLPClassifier

    x, y = digits()
    x, y = x[:TAUGHT].copy(), y[:TAUGHT].copy()
    if planted:
        rows = np.flatnonzero(y != TARGET)[: TAUGHT // 20]
        x[rows], y[rows] = stamped(x[rows]), TARGET
    network = MLPClassifier((48,), max_iter=60, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it ends before it has converged, on purpose
        network.fit(x.reshape(len(x), -1), y)

    def answer(images: Any) -> Any:
        return network.predict_proba(np.asarray(images).reshape(len(images), -1))

    return answer


def subject(answer: Any) -> Subject:
    """The function over digits that it was not taught."""
    from crenel.adapters import wrap

    x, y = (part[TAUGHT:] for part in digits())
    model = wrap(answer, classes=list(range(10)), sample=x[:4])
    return Subject("control", model=model, test=Data(x, y, np.arange(len(y))))


def planted_corner() -> Subject:
    """A function that takes every digit with a marked corner for a 3."""
    return subject(answering(planted=True))


def no_corner() -> Subject:
    """The same from the same digits without it."""
    return subject(answering(planted=False))
