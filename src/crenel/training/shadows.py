"""Shadow models: the user's own training run again on random halves of the records."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.subject import take_rows
from crenel.training.threads import one_core

if TYPE_CHECKING:
    from crenel.model import Model

#: Frameworks whose trainings take a seed of their own, so that two may run at once.
THREAD_SAFE = frozenset({"sklearn", "xgboost", "lightgbm"})


@dataclass(frozen=True)
class Shadows:
    """What r shadow models say of n records, each of which was seen by half of them.

    Attributes
    ----------
    inside : ndarray, shape (r, n), bool
        Whether the record was in the shadow's training set.
    p : ndarray, shape (r, n), float64
        Probability that the shadow gives the record's own label.
    correct : ndarray, shape (r, n), bool
        Whether the shadow decides on that label.
    queries : int
        Rows asked of the shadows (none of them of the audited model).
    seconds : float
    """

    inside: NDArray[np.bool_]
    p: NDArray[np.float64]
    correct: NDArray[np.bool_]
    queries: int
    seconds: float

    def __len__(self) -> int:
        return len(self.inside)

    def take(self, rows: NDArray[Any]) -> Shadows:
        """Only the shadows at these positions (integers, or a mask of shape (r,))."""
        return Shadows(
            self.inside[rows], self.p[rows], self.correct[rows], self.queries, self.seconds
        )


def complementary_pairs(y: NDArray[Any], pairs: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Random halves and their complements, each class split evenly.

    A record is inside exactly one shadow of every pair, so that one pair already shows how the
    model answers with the record and without it.

    Parameters
    ----------
    y : ndarray, shape (n,)
        Class indices.
    pairs : int
        At least 1.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (2 * pairs, n), bool
        Rows 2i and 2i + 1 are complements.
    """
    inside = np.zeros((2 * pairs, len(y)), dtype=bool)
    for i in range(pairs):
        order = rng.permutation(len(y))
        # Every other record of each class, in a random order, goes to the first half.
        order = order[np.argsort(y[order], kind="stable")]
        first = order[int(rng.integers(2)) :: 2]
        inside[2 * i, first] = True
        inside[2 * i + 1] = ~inside[2 * i]
    return inside


def true_label(model: Model, x: Any, y: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Probability of each row's own label, and whether the model decides on it.

    Returns
    -------
    tuple of ndarray, shapes (n,) and (n,), float64 and bool
    """
    p = model.probabilities(x)
    return p[np.arange(len(y)), y], p.argmax(axis=1) == y


def train_shadows(
    fit: Callable[[Any, NDArray[Any], int], Model],
    x: Any,
    y: NDArray[Any],
    inside: NDArray[np.bool_],
    context: Context,
    threads: bool = False,
) -> Shadows:
    """Train one shadow for each row of ``inside`` and ask it about every record.

    Stops before the deadline when the next pair would not finish by it; whole pairs only are
    returned, and the first pair always is.

    Parameters
    ----------
    fit : callable
        ``fit(x, y, seed) -> Model``.
    x : DataFrame or ndarray, n rows
    y : ndarray, shape (n,), int64
    inside : ndarray, shape (2 * pairs, n), bool
        From `complementary_pairs`.
    context : Context
        Seeds, deadline, progress.
    threads : bool
        Whether ``fit`` may run in two threads at once.
    """
    begun = time.monotonic()

    def one(shadow: int) -> tuple[NDArray[np.float64], NDArray[Any]]:
        rows = np.flatnonzero(inside[shadow])
        model = fit(take_rows(x, rows), y[rows], context.derive_seed("shadow", shadow))
        return true_label(model, x, y)

    def alone(shadow: int) -> tuple[NDArray[np.float64], NDArray[Any]]:
        with one_core():  # two trainings that each take every core stand in each other's way
            return one(shadow)

    answers: list[tuple[NDArray[np.float64], NDArray[Any]]] = []
    for pair in range(0, len(inside), 2):
        before = time.monotonic()
        both = range(pair, pair + 2)
        answers += _in_threads(alone, both) if threads and context.jobs > 1 else map(one, both)
        context.progress((pair + 2) / len(inside))
        if context.time_left() < 1.3 * (time.monotonic() - before):
            break
    done = len(answers)
    return Shadows(
        inside=inside[:done],
        p=np.array([a[0] for a in answers]),
        correct=np.array([a[1] for a in answers], dtype=bool),
        queries=done * len(y),
        seconds=time.monotonic() - begun,
    )


def _in_threads(one: Callable[[int], Any], shadows: range) -> list[Any]:
    from joblib import Parallel, delayed

    results: list[Any] = Parallel(n_jobs=2, prefer="threads")(delayed(one)(s) for s in shadows)
    return results
