"""Sources: who supplied the training rows, what theirs do, and what they could do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.model import Model
from crenel.poisoning.dose.response import difference
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
    before = None if base.score is None else cross_entropy(base.probabilities(test.x), test.y)

    def one(name: str) -> Effect:
        own = of == name
        without, gained = _train(base, train, ~own, seed), None
        if without is None:
            removal = against = Interval(0.0, -1.0, 1.0)
        else:
            there = Asked.of(without, test)
            removal = difference((wrong.astype(float) - there.wrong)[None])
            against = excess(Asked.of(without, train.take(own)), there)
            if before is not None and there.p is not None:
                gained = before - cross_entropy(there.p, test.y)
        flipped = loss(base, turned(train, [name], base.k), test, wrong, seed)
        return Effect(name, int(own.sum()), float(own.mean()), removal, against, flipped, gained)

    return side_by_side(context, one, names)


def cross_entropy(p: NDArray[np.float64], y: NDArray[np.int64]) -> float:
    """Mean loss of probabilities (n, k) on labels (n,), in nats."""
    return float(-np.log(np.maximum(p[np.arange(len(y)), y], 1e-12)).mean())


@dataclass(frozen=True)
class Asked:
    """What a model says of labelled rows.

    Attributes
    ----------
    wrong : ndarray, shape (n,), bool
        Decisions that are not the label.
    p : ndarray, shape (n, k), float64, or None
        Probabilities; None where the model shows none.
    """

    wrong: NDArray[np.bool_]
    p: NDArray[np.float64] | None

    @classmethod
    def of(cls, model: Model, data: Data) -> Asked:
        """Of some rows."""
        p = None if model.score is None else model.probabilities(data.x)
        return cls(model.predict(data.x) != data.y, p)


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
    return excess(Asked.of(without, own), Asked.of(without, test))


def excess(own: Asked, test: Asked) -> Interval:
    """The same from what the model says of the source's rows and of test rows."""
    errors, missed = int(own.wrong.sum()), int(test.wrong.sum())
    observed, usual = proportion(errors, len(own.wrong)), proportion(missed, len(test.wrong))
    hardness = 1.0
    if own.p is not None and test.p is not None:
        here, there = (1 - p.max(axis=1).mean() for p in (own.p, test.p))
        hardness = float(here / there) if there > 1e-9 else 1.0
    expected = min(1.0, hardness * (missed + 1) / (len(test.wrong) + 2))
    value, wide = observed.value - expected, hardness * (usual.high - usual.low) / 2
    below = float(np.hypot(observed.value - observed.low, wide))
    above = float(np.hypot(observed.high - observed.value, wide))
    return Interval(value, max(-1.0, value - below), min(1.0, value + above))


def representation(x: Any, width: int, seed: int) -> NDArray[np.float64]:
    """Rows as standardised numbers (n, d), at most ``width`` wide.

    Wider ones are projected at random (Johnson and Lindenstrauss, 1984).
    """
    from crenel.poisoning.labels.neighbours import numbers

    z = numbers(x)
    if z.shape[1] <= width:
        return z
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((z.shape[1], width)) / np.sqrt(width)
    return np.asarray(z @ directions)
