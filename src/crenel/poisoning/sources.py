"""Sources: who supplied the training rows, what theirs do, and what they could do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.model import Model
from crenel.poisoning.dose import difference
from crenel.statistics import Interval, proportion
from crenel.subject import Data
from crenel.training.threads import side_by_side


@dataclass(frozen=True)
class Concentration:
    """How much of the data comes from how few.

    Attributes
    ----------
    largest : str
        The source with most rows.
    share : float
        Its share of the rows.
    herfindahl : float
        Sum of squared shares (Hirschman, 1945): 1 for a single source, 1/s for s equal ones.
    """

    largest: str
    share: float
    herfindahl: float


def concentration(source: NDArray[Any]) -> Concentration:
    """How much of the data comes from how few sources; ``source`` names one for each row."""
    names, counts = np.unique(source.astype(str), return_counts=True)
    shares = counts / counts.sum()
    return Concentration(str(names[counts.argmax()]), float(shares.max()), float((shares**2).sum()))


def label_mix(y: NDArray[np.int64], codes: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """p-value of each source's label counts against those of all others.

    Chi-square test of a 2 × k table, Bonferroni-corrected for the number of sources.

    Parameters
    ----------
    y, codes : ndarray, shape (n,), int64
        Class indices; source numbers in [0, s).

    Returns
    -------
    ndarray, shape (s,), float64
        1 for a source whose table cannot be tested.
    """
    from scipy.stats import chi2

    s = int(codes.max()) + 1
    table = np.bincount(codes * k + y, minlength=s * k).reshape(s, k).astype(float)
    table = table[:, table.sum(axis=0) > 0]
    rest = table.sum(axis=0) - table
    own, other = table.sum(axis=1, keepdims=True), rest.sum(axis=1, keepdims=True)
    total = (table + rest) / (own + other)
    expected, against = total * own, total * other
    with np.errstate(divide="ignore", invalid="ignore"):
        squares = (table - expected) ** 2 / expected + (rest - against) ** 2 / against
    statistic = np.nan_to_num(squares.sum(axis=1))
    p: NDArray[np.float64] = np.minimum(1.0, s * chi2.sf(statistic, max(1, table.shape[1] - 1)))
    return np.where(other[:, 0] > 0, p, 1.0)


@dataclass(frozen=True)
class Effect:
    """What one source's rows do, and could do.

    Attributes
    ----------
    name : str
    rows : int
    share : float
        Of all training rows.
    removal : Interval
        Accuracy gained on test rows by training without the source; above 0 its rows harm.
    conflict : Interval
        Share of its labels that contradict what all other sources teach, beyond what the model
        trained without it expects to get wrong on these rows.
    flipped : Interval
        Accuracy lost if it turned all its labels, or those that it would choose where that was
        tried and is worse.
    tries : int
        Ways of turning labels that were tried.
    loss : float or None
        Cross-entropy (nats a test row) taken off by training without the source; None where the
        model shows no scores.
    """

    name: str
    rows: int
    share: float
    removal: Interval
    conflict: Interval
    flipped: Interval
    loss: float | None = None
    tries: int = 1


def source_effects(
    base: Model, train: Data, test: Data, names: list[str], seed: int, context: Context
) -> list[Effect]:
    """Train without each of some sources, and with each of them turned against the model.

    Parameters
    ----------
    base : Model
        Trained on ``train`` with this seed, and with ``fit``.
    train : Data
        With ``source``.
    test : Data
    names : list of str
        Sources to try, the most important first.
    seed : int
        Of every training, so that two differ by their rows alone.
    context : Context
        Its deadline cuts the last sources.

    Returns
    -------
    list of Effect
        In the order of the names, those reached in time.
    """
    assert train.source is not None
    of = train.source.astype(str)
    wrong = base.predict(test.x) != test.y

    def one(name: str) -> Effect:
        own = of == name
        without, gained = _train(base, train, ~own, seed), None
        if without is None:
            removal = against = Interval(0.0, -1.0, 1.0)
        else:
            after = without.predict(test.x) != test.y
            removal = difference((wrong.astype(float) - after)[None])
            against = conflict(without, train.take(own), test)
            if base.score is not None and without.score is not None:
                gained = cross_entropy(base, test) - cross_entropy(without, test)
        flipped = loss(base, turned(train, [name], base.k), test, wrong, seed)
        return Effect(name, int(own.sum()), float(own.mean()), removal, against, flipped, gained)

    return side_by_side(context, one, names)


def cross_entropy(model: Model, data: Data) -> float:
    """Mean loss of a model on rows, in nats."""
    p = model.probabilities(data.x)[np.arange(len(data)), data.y]
    return float(-np.log(np.maximum(p, 1e-12)).mean())


def _train(base: Model, train: Data, rows: NDArray[np.bool_], seed: int) -> Model | None:
    """The model trained on some rows; None where those are of one class."""
    assert base.fit is not None
    kept = train.take(rows)
    return base.fit(kept.x, kept.y, seed) if len(np.unique(kept.y)) > 1 else None


def turned(train: Data, names: list[str], k: int) -> Data:
    """The training data with every label of some sources moved to the next class."""
    assert train.source is not None
    own = np.isin(train.source.astype(str), names)
    return replace(train, y=np.where(own, (train.y + 1) % k, train.y))


def loss(base: Model, bad: Data, test: Data, wrong: NDArray[np.bool_], seed: int) -> Interval:
    """Accuracy lost by training on poisoned data, with a 95 % interval.

    ``wrong`` is the mask of test rows that the model trained on the data as they are gets wrong.
    """
    assert base.fit is not None
    fitted = base.fit(bad.x, bad.y, seed)
    return difference(((fitted.predict(test.x) != test.y) - wrong.astype(float))[None])


def conflict(without: Model, own: Data, test: Data) -> Interval:
    """Errors of a model on a source that it has not seen, beyond those to be expected there.

    Expected is the error on test rows, scaled by how much less sure the model is of the source's
    rows, so that a source of harder records is not blamed.

    Returns
    -------
    Interval
        In [-1, 1]: observed minus expected share of errors.
    """
    errors = int((without.predict(own.x) != own.y).sum())
    missed = int((without.predict(test.x) != test.y).sum())
    observed, usual = proportion(errors, len(own)), proportion(missed, len(test))
    hardness = 1.0
    if without.score is not None:
        here, there = (1 - without.probabilities(d.x).max(axis=1).mean() for d in (own, test))
        hardness = float(here / there) if there > 1e-9 else 1.0
    expected = min(1.0, hardness * (missed + 1) / (len(test) + 2))
    excess, wide = observed.value - expected, hardness * (usual.high - usual.low) / 2
    below = float(np.hypot(observed.value - observed.low, wide))
    above = float(np.hypot(observed.high - observed.value, wide))
    return Interval(excess, max(-1.0, excess - below), min(1.0, excess + above))


def representation(x: Any, width: int, seed: int) -> NDArray[np.float64]:
    """Rows as standardised numbers (n, d), at most ``width`` wide.

    Wider ones are projected at random (Johnson and Lindenstrauss, 1984).
    """
    from crenel.poisoning.neighbours import numbers

    z = numbers(x)
    if z.shape[1] <= width:
        return z
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((z.shape[1], width)) / np.sqrt(width)
    return np.asarray(z @ directions)
